"""The gate and `npu-e2e compare` name the same slow waits and new warnings, and pass over what each run names anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gateworld import POLICY, catalogue, check, codes, judged, of, results

from gate.compare import changes
from gate.policy import policy_file, read_policy

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


BLOCKS = '\n[baseline]\nblocks = ["new-failure", "new-skip", "lost-check", "weakened-check"]\n'


def told(tmp_path: Path, after: dict[str, Any], *before: dict[str, Any], **more: Any) -> set[tuple[str, str]]:
    """Kind and check of every difference."""
    found = judged(tmp_path, after, baseline=before, **more).findings
    kinds = ("new-failure", "new-skip", "lost-check", "weakened-check")
    return {(finding.code, finding.check) for finding in found if finding.code in kinds}


@pytest.mark.parametrize(
    ("were", "now", "kind"),
    [
        (["passed"], "failed", "new-failure"),
        (["passed"], "error", "new-failure"),
        (["passed"], "known-upstream", "new-failure"),
        (["passed", "failed"], "failed", "new-failure"),
        (["known-upstream"], "known-upstream", ""),
        (["known-upstream"], "failed", "new-failure"),
        (["failed"], "failed", ""),
        (["passed"], "skipped", "new-skip"),
        (["passed"], "not-run", "lost-check"),
        (["skipped"], "skipped", ""),
        (["not-run"], "skipped", ""),
    ],
)
def test_gate_and_comparison_name_the_same_checks(tmp_path: Path, were: list[str], now: str, kind: str) -> None:
    after, before = results(), [results(f"bbbb000{number}") for number in range(len(were))]
    of(after, "alloc-exclusive").update(outcome=now, reason="x")
    for content, was in zip(before, were, strict=True):
        of(content, "alloc-exclusive").update(outcome=was, reason="x")
    decision = judged(tmp_path, after, baseline=before, text=POLICY + BLOCKS)
    compared = {(one.kind, one.check) for one in changes(decision.baseline, decision.results)}
    assert compared == ({(kind, "alloc-exclusive")} if kind else set())
    assert told(tmp_path, after, *before) == compared
    assert bool({kind} & codes(decision)) is bool(kind)


def test_a_check_that_the_policys_profile_does_not_hold_is_not_lost(tmp_path: Path) -> None:
    before = results("bbbb0001")
    before["checks"] += [check("lw-error-later", "must", "slow"), check("lw-gone", "must", "slow")]
    assert told(tmp_path, results(), before) == set()
    before["checks"].append(check("alloc-gone", "must", "conformance"))
    assert told(tmp_path, results(), before) == {("lost-check", "alloc-gone")}


@pytest.mark.parametrize("weaker", [{"level": "should"}, {"profile": "slow"}])
def test_a_check_that_counts_for_less_than_in_the_baseline_is_named(tmp_path: Path, weaker: dict[str, str]) -> None:
    entries, after, before = catalogue(), results(), results("bbbb0001")
    next(one for one in entries if one["id"] == "alloc-exclusive").update(weaker)
    of(after, "alloc-exclusive").update(weaker)
    assert told(tmp_path, after, before, entries=entries) == {("weakened-check", "alloc-exclusive")}
    if "profile" in weaker:
        after["checks"].remove(of(after, "alloc-exclusive"))
        assert told(tmp_path, after, before, entries=entries) == {("weakened-check", "alloc-exclusive")}
    decision = judged(tmp_path, after, baseline=[before], entries=entries, text=POLICY + BLOCKS)
    assert codes(decision) == {"weakened-check"}
    assert told(tmp_path, results(), after) == set()


@pytest.mark.parametrize("name", ["release", "ack"])
def test_the_shipped_policies_do_not_pass_over_a_weakened_check(name: str) -> None:
    assert "weakened-check" in read_policy(policy_file(name)).baseline.blocks


def test_a_run_of_the_baseline_that_is_given_twice_is_no_repeat(tmp_path: Path) -> None:
    decision = judged(tmp_path, results(), baseline=[results("bbbb0001"), results("bbbb0001")])
    assert codes(decision) == {"run-twice"}
    assert "of the baseline is given twice" in decision.reasons[0]
    assert not codes(judged(tmp_path, results(), baseline=[results("bbbb0001"), results("bbbb0002")]))


@pytest.mark.parametrize("other", ["", "image", "kernel", "containerd", "plugin"])
def test_a_baseline_of_the_very_candidate_is_named(tmp_path: Path, other: str) -> None:
    before = [results("bbbb0001"), results("bbbb0002")]
    for content in before:
        after = content["subject"]["after"]
        if other == "plugin":
            after["images"][0]["digest"] = "sha256:" + "9" * 64
        elif other:
            for node in after["nodes"]:
                node[other] = "another"
    found = [one.effect for one in judged(tmp_path, results(), baseline=before).findings
             if one.code == "baseline-is-the-candidate"]  # fmt: skip
    assert found == ([] if other else ["warning"])


def test_of_images_that_nobody_knows_none_is_said_to_be_the_candidates(tmp_path: Path) -> None:
    after, before = results(), results("bbbb0001")
    for content in (after, before):
        for subject in content["subject"].values():
            for node in subject["nodes"]:
                node["image"] = ""
    codes_told = {one.code for one in judged(tmp_path, after, baseline=[before]).findings}
    assert "baseline-is-the-candidate" not in codes_told
