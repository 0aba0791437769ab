"""The screen in docs/release-gate.md: what the gate prints for an example of six runs. `python tests/gatescreen.py`."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from gateworld import IMAGES, TOP_1, check, keep, of, results, write  # noqa: E402 - the path is set above

from gate.judge import decide  # noqa: E402
from gate.policy import policy_file, read_policy  # noqa: E402
from gate.screen import screen_lines  # noqa: E402

PAGE = ROOT / "docs" / "release-gate.md"
RENEW = "python tests/gatescreen.py"
SCREEN = re.compile(r"(?<=```\n)FAIL: .*?(?=```)", re.DOTALL)
BEGAN = 1_795_517_700.0
"""2026-11-24 10:55 UTC."""
CHECKS = (
    ("flow-completed", "must", "documented"), ("flow-one-npu", "must", "documented"),
    ("flow-training-complete", "must", "documented"), ("flow-accuracy", "must", "documented"),
    ("flow-throughput", "must", "documented"), ("alloc-exclusive", "must", "conformance"),
    ("alloc-released", "must", "conformance"), ("pull-anonymous", "should", "conformance"),
)  # fmt: skip
NPU = "aliyun.com/npu"
REFUSED = f"0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient {NPU}."
OBJECTS: dict[str, Any] = {
    "resource": NPU,
    "at": BEGAN + 400,
    "pods": [
        {
            "metadata": {"namespace": "npu-e2e-7", "name": "p2", "uid": "u2"},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {NPU: "1"}}}]},
            "status": {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": REFUSED}
                ],
            },
        }
    ],
    "nodes": [
        {
            "metadata": {"name": f"worker-{number}"},
            "status": {"capacity": {NPU: "4"}, "allocatable": {NPU: "4"}},
        }
        for number in (1, 2)
    ],
    "holders": [
        {
            "metadata": {"namespace": "team-a", "name": f"train-{number}", "uid": f"t{number}"},
            "spec": {
                "nodeName": f"worker-{number}",
                "containers": [{"name": "c", "resources": {"requests": {NPU: "4"}}}],
            },
            "status": {"phase": "Running"},
        }
        for number in (1, 2)
    ],
}


def of_this_day(content: Any, moved: float) -> Any:
    """`content` with all that is a time of day `moved` by so many seconds."""
    if isinstance(content, dict):
        return {key: of_this_day(value, moved) for key, value in content.items()}
    if isinstance(content, list):
        return [of_this_day(value, moved) for value in content]
    return content + moved if isinstance(content, float) and content > 1e9 else content


def example(name: str, number: int, top_1: int) -> dict[str, Any]:
    """A run of the example, an hour after the one before it."""
    content = results(f"{name}{number:04}", top_1=top_1, rate=3.66 + number / 200)
    measured = {one["id"]: one["measured"] for one in content["checks"]}
    content["checks"] = [check(*one) | {"measured": measured.get(one[0], [])} for one in CHECKS]
    spread = of_this_day(content, BEGAN + 3600 * number - content["run"]["began"])
    return dict(spread)


def screen() -> str:
    """What the gate prints of the example, with the policy that ships."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        shutil.copy(policy_file("release"), "release.toml")
        entries = [
            {"id": name, "level": level, "claim": f"{name} holds.", "profile": profile, "needs": []}
            for name, level, profile in CHECKS
        ]
        for number in range(6):
            content = example("aaaa", number, TOP_1 - IMAGES // 110)
            bad = of(content, "alloc-exclusive")
            bad.update(outcome="failed", reason="Pod npu-e2e-7/p2 is Pending.")
            content["run"]["exit_code"], content["verdict"]["result"] = 1, "fail"
            keep(content, Path(f"candidate/{number}"), "objects.json", json.dumps(OBJECTS).encode(), bad["id"])
            write(Path(f"candidate/{number}"), content, entries)
            before = example("bbbb", number, TOP_1)
            for node in [node for subject in before["subject"].values() for node in subject["nodes"]]:
                node["image"] = "sha256:" + "4" * 64
            write(Path(f"accepted/{number}"), before, entries)
        candidate, accepted = (sorted(Path(top).iterdir()) for top in ("candidate", "accepted"))
        rules = read_policy(Path("release.toml"))
        decision = decide(candidate, rules, now=BEGAN + 36_000, baseline=accepted)
        return "".join(f"{line}\n" for line in screen_lines(decision))


def shown_in(page: str) -> str:
    """The screen that the page shows; empty when it shows none."""
    found = SCREEN.search(page)
    return found[0] if found else ""


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text.replace(shown_in(text), screen(), 1), encoding="utf-8")
