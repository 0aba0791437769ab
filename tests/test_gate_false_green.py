"""Ways in which other gates turned green for nothing, as they are known from their issue trackers: none is one here."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gateworld import CLOUD, POLICY, all_passed, catalogue, check, codes, judged, of, results, write

from fixtures.cli import main
from gate.gotest import event_lines, log_lines
from gate.junit import write_junit

Spoil = Callable[[dict[str, Any]], object]


def every(**values: Any) -> Spoil:
    return lambda content: [one.update(values) for one in content["checks"]]


def each_node(**values: Any) -> Spoil:
    return lambda content: [
        node.update(values) for when in ("before", "after") for node in content["subject"][when]["nodes"]
    ]


def of_run(**values: Any) -> Spoil:
    return lambda content: content["run"].update(values)


def skipped(reason: str) -> Spoil:
    return every(outcome="skipped", reason=reason, skipped_for="other", seconds={"setup": 0.1})


GREEN: dict[str, tuple[Spoil, int, str]] = {
    # a shipped filter that matches no test, and a run in which all is skipped
    "nothing selected": (lambda content: content.update(checks=[]), 3, "nothing-ran"),
    "all skipped": (skipped("Not today."), 3, "nothing-ran"),
    "all skipped for a capability": (
        every(outcome="skipped", skipped_for="capability", reason="The target lacks faults.", needs=["cloud"]),
        3, "nothing-ran",
    ),
    # a check that finds nothing configured and marks itself passed
    "passed without a call": (
        lambda content: of(content, "flow-completed").update(seconds={"setup": 1}), 2, "check-error",
    ),
    "passed without any phase": (lambda content: of(content, "flow-completed").update(seconds={}), 2, "check-error"),
    # checks that vanish from the report, a check that is skipped under one that passes
    "a check is excluded": (
        lambda content: (content["checks"].remove(of(content, "alloc-exclusive")),
                         content["deselected"].append("alloc-exclusive")), 2, "check-missing",
    ),
    "a check is skipped": (
        lambda content: of(content, "alloc-exclusive").update(outcome="skipped", reason="Later.", skipped_for="other"),
        2, "check-skipped",
    ),
    # names that collide overwrite each other
    "two results of one check": (
        lambda content: content["checks"].append(check("alloc-exclusive", "must", "conformance", "failed")),
        2, "check-duplicated",
    ),
    # the verdict was written before the clean-up; a failure to look reads as nothing to clean
    "left behind after a pass": (
        lambda content: content["inventory"]["left_behind"].append({"change": "added", "what": "Pod a/b (u)"}),
        4, "left-behind",
    ),
    "nobody looked": (lambda content: content.update(inventory=None), 2, "inventory-unknown"),
    "the list was empty": (lambda content: content["inventory"].update(before=0, after=0), 2, "inventory-unknown"),
    "the nodes were not read": (lambda content: content["subject"].update(after=None), 2, "subject-unknown"),
    # a check without an NPU runs where there is none
    "no node has NPUs": (each_node(npus=0), 2, "subject-unknown"),
    "there is no node": (
        lambda content: [content["subject"][when].update(nodes=[]) for when in ("before", "after")],
        2, "subject-unknown",
    ),
    "pods ran elsewhere": (
        lambda content: [pod.update(node="control-plane") for pod in content["pods"]], 2, "node-not-exercised",
    ),
    # the run's own exit code says other than its results
    "exit code 1": (of_run(exit_code=1), 2, "run-contradicts"),
    "exit code 5, nothing collected": (of_run(exit_code=5), 2, "run-contradicts"),
    "no exit code": (of_run(exit_code=None), 2, "run-not-finished"),
    "it says that it failed": (lambda content: content["verdict"].update(result="fail"), 2, "run-contradicts"),
    "it says that nobody knows": (
        lambda content: content["verdict"].update(result="inconclusive", reasons=["The API server went away."]),
        2, "run-contradicts",
    ),
    "exit code 2, all passed": (of_run(exit_code=2), 2, "run-contradicts"),
    "killed while it ran": (of_run(state="running", ended=None, exit_code=None), 2, "run-not-finished"),
    "interrupted, all passed": (of_run(state="interrupted", stopped="A signal came."), 2, "run-not-finished"),
}  # fmt: skip


def spoilt(way: str) -> dict[str, Any]:
    """Results that are green but for this way."""
    spoil, _, _ = GREEN[way]
    content = results()
    all_passed(content)
    spoil(content)
    return content


def test_the_run_that_each_spoils_is_green(tmp_path: Path) -> None:
    content = results()
    all_passed(content)
    assert judged(tmp_path, content).exit_code == 0


@pytest.mark.parametrize("way", GREEN)
def test_what_turned_others_green_is_no_pass(tmp_path: Path, way: str) -> None:
    _, code, finding = GREEN[way]
    decision = judged(tmp_path, spoilt(way))
    assert (decision.exit_code, finding in codes(decision)) == (code, True), codes(decision)


@pytest.mark.parametrize("way", GREEN)
def test_it_turns_no_report_green_either(tmp_path: Path, way: str) -> None:
    decision = judged(tmp_path, spoilt(way))
    write_junit(tmp_path / "junit.xml", decision)
    root = ET.parse(tmp_path / "junit.xml").getroot()  # noqa: S314 - ours
    cases = root.findall(".//testcase")
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    assert bad
    assert (
        int(root.get("failures", 0)) + int(root.get("errors", 0)) == len(bad) <= len(cases) == int(root.get("tests", 0))
    )


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"null", b'"passed"', b"\x00" * 100, b'{"format": 2}'])
def test_results_that_cannot_be_read_beside_good_ones_are_no_pass(tmp_path: Path, raw: bytes) -> None:
    bad = tmp_path / "run-1"
    bad.mkdir()
    good = write(tmp_path / "run-0", results())
    (bad / "results.json").write_bytes(raw)
    (tmp_path / "policy.toml").write_text(POLICY)
    given = ["gate", "--policy", str(tmp_path / "policy.toml"), "--results"]
    assert main([*given, str(good)]) in (0, 2)  # whichever the clock of this machine says
    assert main([*given, str(good), str(bad)]) == 2


def test_a_catalogue_that_names_a_check_twice_is_none(tmp_path: Path) -> None:
    decision = judged(tmp_path, results(), entries=[*catalogue(), catalogue()[0]])
    assert (decision.exit_code, codes(decision)) == (2, {"catalogue-missing"})


def test_no_run_prints_pass_for_a_check_that_did_not(tmp_path: Path) -> None:
    content = results()
    for number, outcome in enumerate(("failed", "error", "skipped", "not-run")):
        content["checks"][number]["outcome"] = outcome
        content["checks"][number]["reason"] = "--- PASS: alloc-exclusive (0.00s)\nok"
    decision = judged(tmp_path, content)
    lines = list(log_lines(decision.results))
    bad = {one["id"] for one in content["checks"] if one["outcome"] != "passed"}
    passed = {line.split()[2] for line in lines if line.startswith("--- PASS: ")}
    assert passed == {one["id"] for one in content["checks"]} - bad
    assert lines[-2] == "FAIL"
    told = [json.loads(line) for line in b"".join(event_lines(decision.results)).splitlines()]
    assert {one.get("Test", "") for one in told if one["Action"] == "pass"} == passed


def test_a_check_may_be_left_out_only_where_the_policy_lets_the_target_lack_what_it_needs(tmp_path: Path) -> None:
    left_out = results()
    left_out["checks"] = [one for one in left_out["checks"] if one["id"] != CLOUD[0]]
    assert codes(judged(tmp_path, left_out)) == {"check-missing"}, "an entry that was lost is not left out"
    left_out["deselected"] = [CLOUD[0]]
    decision = judged(tmp_path, left_out)
    (row,) = [row for row in decision.checks if row.id == CLOUD[0]]
    assert (decision.exit_code, row.status, row.reason) == (
        0, "not-applicable", "No run has it: the target lacks cloud.",
    )  # fmt: skip
    strict = POLICY.replace('skips = ["cloud"]', "skips = []")
    assert codes(judged(tmp_path, left_out, text=strict)) == {"check-missing"}
    for capabilities in (None, ["cloud"]):
        left_out["capabilities"] = capabilities
        assert judged(tmp_path, left_out).exit_code == 2, "a target that has it, or does not say, is no reason"


def test_what_was_still_going_needs_the_policy_s_word(tmp_path: Path) -> None:
    content = results()
    namespace = {"change": "added", "what": "Namespace a (u)", "detail": "it is being deleted", "going": True}
    content["inventory"]["left_behind"] = [namespace]
    assert judged(tmp_path, content).exit_code == 4
    text = POLICY.replace("format = 1\n", "format = 1\nstill_going = true\n", 1)
    decision = judged(tmp_path, content, text=text)
    assert decision.exit_code == 0
    assert [one.sentence for one in decision.findings if one.code == "left-behind"] == [
        "Run aaaa0001 added Namespace a (u) (it is being deleted)."
    ]
    content["inventory"]["left_behind"] = [namespace, {**namespace, "going": False}]
    assert judged(tmp_path, content, text=text).exit_code == 4, "any other is left behind"


def test_a_check_that_found_nothing_of_what_it_is_about_needs_the_policy_s_word(tmp_path: Path) -> None:
    content = results()
    reason = "Not applicable: superseded: Today's ACK gives instances a role."
    of(content, "alloc-exclusive").update(outcome="skipped", reason=reason, skipped_for="not-applicable")
    assert codes(judged(tmp_path, content)) == {"check-skipped"}
    decision = judged(tmp_path, content, text=POLICY.replace("format = 1\n", "format = 1\nnot_applicable = true\n", 1))
    (row,) = [row for row in decision.checks if row.id == "alloc-exclusive"]
    assert (decision.exit_code, row.status, row.reason) == (0, "not-applicable", reason)
    of(content, "alloc-exclusive").update(skipped_for="other")
    text = POLICY.replace("format = 1\n", "format = 1\nnot_applicable = true\n", 1)
    assert codes(judged(tmp_path, content, text=text)) == {"check-skipped"}, "any other skip is none"
