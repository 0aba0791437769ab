"""Results folders for tests of the gate: one that passes, to be spoilt in one place at a time."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from gate.beside import beside
from gate.decision import Decision
from gate.judge import decide
from gate.policy import Policy, read_policy
from gate.report.page import html
from gate.report.views import charts_of

NOW = time.mktime((2026, 11, 24, 12, 0, 0, 0, 0, 0)) // 1
IMAGES = 49_664
TOP_1, TOP_5 = 37_150, 45_911
CHECKS = (
    ("flow-completed", "must", "documented"),
    ("flow-accuracy", "must", "documented"),
    ("flow-throughput", "must", "documented"),
    ("alloc-exclusive", "must", "conformance"),
    ("pull-anonymous", "should", "conformance"),
    ("lw-error-later", "must", "slow"),
)
"""Id, level, profile."""
CLOUD = ("cloud-route-per-node", "must", "conformance")
POLICY = """
format = 1
profile = "conformance"
skips = ["cloud"]
[required]
checks = ["flow-completed"]
[accuracy]
images = 49664
[accuracy.top_1]
at_least = 0.748
visible_drop = 0.0125
[accuracy.top_5]
at_least = 0.924
visible_drop = 0.008
"""
Spoil = Callable[[dict[str, Any]], None]


def catalogue() -> list[dict[str, Any]]:
    entries = [
        {"id": name, "level": level, "claim": f"{name} holds.", "profile": profile, "needs": [], "source": "document"}
        for name, level, profile in CHECKS
    ]
    name, level, profile = CLOUD
    return [*entries, {"id": name, "level": level, "claim": "Routes.", "profile": profile, "needs": ["cloud"]}]


def catalogue_of(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What `npu-e2e catalogue --format json` prints of these checks."""
    return {"format": 1, "checks": list(entries), "not_checked": []}


def subject(at: float) -> dict[str, Any]:
    def node(name: str, npus: int) -> dict[str, Any]:
        return {
            "name": name,
            "uid": f"uid-{name}",
            "image": "sha256:" + "1" * 64,
            "os_image": "Alibaba Cloud Linux 3",
            "kernel": "5.10.134-17.al8.x86_64",
            "containerd": "containerd://2.1.4",
            "boot_id": f"boot-{name}",
            "kubelet": "v1.37.2",
            "npus": npus,
        }

    return {
        "at": at,
        "kubernetes": "v1.37.2",
        "nodes": [node("control-plane", 0), node("worker-1", 4), node("worker-2", 4)],
        "images": [
            {"role": "plugin", "image": "plugin:1", "digest": "sha256:" + "2" * 64},
            {"role": "workload", "image": "resnet:1", "digest": "sha256:" + "3" * 64},
        ],
    }


def check(name: str, level: str = "must", profile: str = "documented", outcome: str = "passed") -> dict[str, Any]:
    return {
        "id": name,
        "level": level,
        "claim": f"{name} holds.",
        "profile": profile,
        "needs": [],
        "nodeid": f"e2e/test_it.py::test_{name.replace('-', '_')}",
        "outcome": outcome,
        "tries": 1,
        "reason": "" if outcome == "passed" else f"It is {outcome}.",
        "remedy": "",
        "detail": "",
        "seconds": {"setup": 0.1, "call": 2.0, "teardown": 0.1},
        "evidence": [],
        "notes": [],
        "measured": [],
    }


def results(run: str = "aaaa0001", top_1: int = TOP_1, top_5: int = TOP_5, rate: float = 3.67) -> dict[str, Any]:
    """The content of a results file of a run in which all went well; `cloud` is what its target lacks."""
    checks = [check(name, level, profile) for name, level, profile in CHECKS if profile != "slow"]
    name, level, profile = CLOUD
    cloud = check(name, level, profile, "skipped")
    cloud |= {"needs": ["cloud"], "skipped_for": "capability", "seconds": {"setup": 0.1}}
    by_id = {one["id"]: one for one in checks}
    by_id["flow-accuracy"]["measured"] = [
        {"name": "top_1", "value": top_1 / IMAGES, "unit": "fraction"},
        {"name": "top_5", "value": top_5 / IMAGES, "unit": "fraction"},
    ]
    by_id["flow-throughput"]["measured"] = [{"name": "rate", "value": rate, "unit": "it/s"}]
    began = NOW - 4000
    pod = {"namespace": "npu", "name": "p", "uid": "u", "phase": "Succeeded", "npus": 1, "check": "flow-completed"}
    times = {
        "created": began + 20,
        "scheduled": began + 20,
        "pulled": None,
        "started": began + 22,
        "finished": began + 50,
    }
    return {
        "format": 2,
        "run": {
            "id": run,
            "state": "finished",
            "began": began,
            "ended": began + 600,
            "exit_code": 0,
            "command": ["pytest", "e2e"],
            "stopped": "",
            "troubles": [],
            "shard": None,
        },
        "verdict": {"result": "pass", "reasons": []},
        "settings": {"target": "kind", "profile": "conformance"},
        "target": {"target": "kind"},
        "capabilities": ["faults", "podresources"],
        "catalogue": {"file": "catalogue.json", "sha256": ""},
        "subject": {"before": subject(began + 10), "after": subject(began + 590)},
        "inventory": {"before": 80, "after": 80, "left_behind": []},
        "checks": [*checks, cloud],
        "deselected": [],
        "steps": [{"name": "a cluster", "began": began, "seconds": 9.0, "outcome": "done"}],
        "waits": [
            {
                "what": "pod Succeeded",
                "began": began + 20,
                "seconds": 30.0,
                "outcome": "met",
                "states": [[0.1, "Running"]],
                "check": "flow-completed",
            }
        ],
        "retries": [],
        "pods": [{**pod, "node": node, **times} for node in ("worker-1", "worker-2")],
        "series": [],
        "warnings": [],
    }


def write(folder: Path, content: dict[str, Any], entries: Sequence[dict[str, Any]] | None = None) -> Path:
    """Write `content` and the catalogue as a results folder, with the evidence that it names as empty files."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in content["checks"]:
        if one["outcome"] in ("failed", "error", "known-upstream") and not one["evidence"] and not one["notes"]:
            one["notes"] = ["evidence: none is kept of what this check uses."]  # as the harness says it
    raw = json.dumps(catalogue_of(catalogue() if entries is None else entries)).encode()
    (folder / "catalogue.json").write_bytes(raw)
    if content.get("catalogue") and not content["catalogue"]["sha256"]:
        content["catalogue"]["sha256"] = hashlib.sha256(raw).hexdigest()
    (folder / "results.json").write_text(json.dumps(content))
    return folder


def keep(content: dict[str, Any], folder: Path, name: str, data: bytes, identity: str = "flow-completed") -> None:
    """Write evidence of a check and name it in `content`."""
    file = folder / "evidence" / identity / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    entry = {"file": f"evidence/{identity}/{name}", "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    of(content, identity)["evidence"].append(entry)


def of(content: dict[str, Any], identity: str) -> dict[str, Any]:
    """The entry of the check `identity`."""
    found: dict[str, Any] = next(one for one in content["checks"] if one["id"] == identity)
    return found


def all_passed(content: dict[str, Any]) -> None:
    """The target has a cloud too, so that no check is skipped."""
    content["capabilities"].append("cloud")
    of(content, "cloud-route-per-node").update(outcome="passed", skipped_for="", reason="", seconds={"call": 1.0})


def policy(folder: Path, text: str = POLICY) -> Policy:
    file = folder / "policy.toml"
    file.write_text(text)
    return read_policy(file)


def judged(
    folder: Path,
    *contents: dict[str, Any],
    text: str = POLICY,
    baseline: Iterable[dict[str, Any]] = (),
    entries: Sequence[dict[str, Any]] | None = None,
    now: float = NOW,
    catalogue: Path | None = None,
) -> Decision:
    """The decision on runs with these contents."""
    ours = [write(folder / f"run-{number}", content, entries) for number, content in enumerate(contents)]
    theirs = [write(folder / f"base-{number}", content, entries) for number, content in enumerate(baseline)]
    return decide(ours, policy(folder, text), now=now, baseline=theirs, catalogue=catalogue)


def codes(decision: Decision) -> set[str]:
    """The kinds of what stands against a release."""
    return {finding.code for finding in decision.findings if finding.effect not in ("warning", "note")}


def page_of(decision: Decision) -> str:
    """The report, as text."""
    with beside(1) as pool:
        return html(decision, charts_of(decision, pool))
