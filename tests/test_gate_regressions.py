"""The gate and `npu-e2e compare` name the same slow waits and new warnings, and pass over what each run names anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gateworld import judged, results

from gate.compare import changes

POD = "pod npu-7f9c5d6b84-x2x4z Ready"


def world(wait: tuple[str, float], warning: tuple[str, str] = ("", ""), run: str = "aaaa0001") -> dict[str, Any]:
    """A run with a wait of these words and seconds, and a Warning event of this reason and object."""
    content = results(run)
    content["waits"][0].update(what=wait[0], seconds=wait[1])
    reason, of = warning
    if reason:
        content["warnings"] = [{"reason": reason, "of": of, "message": "No.", "count": 1, "check": ""}]
    return content


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (world((POD, 5)), world(("pod npu-6d5b84f9c7-b7kqp Ready", 50)), {"slow-wait"}),
        (world((POD, 5)), world(("pod npu-6d5b84f9c7-b7kqp Ready", 9)), set()),
        (
            world((POD, 5), ("FailedMount", "Pod npu-e2e-1a2b3c4d-0f9e8d7c/p")),
            world((POD, 5), ("FailedMount", "Pod npu-e2e-deadbeef-abcdefab/p")),
            set(),
        ),
        (
            world((POD, 5), ("FailedMount", "Pod npu-e2e-1a2b3c4d-0f9e8d7c/p")),
            world((POD, 5), ("FailedMount", "Pod kube-system/npu-device-plugin")),
            {"new-warning"},
        ),
    ],
    ids=["a pod of another run waits long", "not so long", "a warning of each run's namespace", "of another pod"],
)
def test_gate_and_comparison_agree(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], expected: set[str]
) -> None:
    before["run"]["id"] = "bbbb0001"
    decision = judged(tmp_path, after, baseline=[before])
    told = [finding for finding in decision.findings if finding.code in ("slow-wait", "new-warning")]
    assert {finding.code for finding in told} == expected
    found = changes(decision.baseline, decision.results)
    assert [(one.kind, one.sentence, one.check) for one in found] == [
        (finding.code, finding.sentence, finding.check) for finding in told
    ]
