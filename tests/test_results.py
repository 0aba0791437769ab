"""Results: one outcome a check, one verdict a run, files that are whole, and a screen that is one screen."""

from __future__ import annotations

import io
import itertools
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xmlschema
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from fixtures import junit
from fixtures.checks import NOT_APPLICABLE, Check
from fixtures.errors import ExitCode, HarnessError
from fixtures.record import Record, Retry, Wait
from fixtures.results import ORDER, CheckResult, Outcome, Phase, Run, without_secrets
from fixtures.resultsfolder import evidence_folder, take_over, write_whole
from fixtures.steps import Steps
from fixtures.summary import SCREEN, summary_lines
from fixtures.verdicts import blames_product, exit_code, verdict_of


def run_of(*outcomes: str, level: str = "must", ended: bool = True, **fields: Any) -> Run:
    """A run with one check for each outcome, which may end in `?` for a should."""
    run = Run(["pytest"], {"target": "kind"}, Steps(io.StringIO()), Record(), **fields)
    for number, word in enumerate(outcomes):
        outcome: Outcome = word.removesuffix("?")  # type: ignore[assignment]
        check = Check(f"check-{number}", "should" if word.endswith("?") else "must", "It holds.", "documented")
        run.results[check.id] = CheckResult(check, f"e2e/test_it.py::test_{number}", outcome, f"Reason {number}.")
    if ended:
        run.end()
    return run


def test_waits_retries_and_steps_are_in_the_file(tmp_path: Path) -> None:
    run = run_of("passed")
    with run.steps.step("make a node image"):
        run.record.check = "check-0"
        run.record.add(Wait("pod Succeeded", 1.0, 2.5, "met", [(0.5, "Running")]))
        run.record.add(Retry("GET /api", 1.0, "503", 0.1))
    run.write(tmp_path / "results.json", verdict_of(run).as_json())
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["waits"][0]["states"] == [[0.5, "Running"]]
    assert content["waits"][0]["check"] == content["retries"][0]["check"] == "check-0"
    assert [step["name"] for step in content["steps"]] == ["make a node image"]
    assert list(tmp_path.iterdir()) == [tmp_path / "results.json"]


def test_the_worst_phase_decides_and_a_setup_alone_is_no_pass() -> None:
    phases = itertools.product(ORDER[1:], repeat=3)
    for outcomes in phases:
        result = CheckResult(Check("a", "must", "B.", "documented"), "n")
        for when, outcome in zip(("setup", "call", "teardown"), outcomes, strict=True):
            result.enter(Phase(when, outcome, 0.1, "" if outcome == "passed" else f"{when} {outcome}"))
        assert result.outcome == max(outcomes, key=ORDER.index)
        assert result.reason.partition(" ")[2] == ("" if result.outcome == "passed" else result.outcome)
        told = [result.reason, *result.notes]
        for when, outcome in zip(("setup", "call", "teardown"), outcomes, strict=True):
            assert outcome == "passed" or any(f"{when} {outcome}" in text for text in told)
    result = CheckResult(Check("a", "must", "B.", "documented"), "n")
    result.enter(Phase("setup", "passed", 0.1))
    result.enter(Phase("teardown", "passed", 0.1))
    assert result.outcome == "not-run"


def test_who_is_to_blame() -> None:
    class ProductError(HarnessError):
        blames = "product"

    product, harness, assertion = ProductError("a", "b"), HarnessError("a", "b"), AssertionError()
    for in_call in (True, False):
        assert blames_product(product, in_call=in_call)
        assert not blames_product(harness, in_call=in_call)
        assert not blames_product(KeyError(), in_call=in_call)
        assert blames_product(assertion, in_call=in_call) == in_call
        assert blames_product(pytest.fail.Exception("no"), in_call=in_call) == in_call
        assert blames_product(ExceptionGroup("", [product, product]), in_call=in_call)
        assert not blames_product(ExceptionGroup("", [product, harness]), in_call=in_call)


@pytest.mark.parametrize(
    ("outcomes", "verdict", "code"),
    [
        (["passed", "passed"], "pass", ExitCode.OK),
        (["passed", "known-upstream"], "pass", ExitCode.OK),
        (["passed", "skipped?", "not-run?", "error?", "failed?"], "pass", ExitCode.OK),
        (["passed", "failed"], "fail", ExitCode.FAILED),
        (["failed", "error", "skipped"], "fail", ExitCode.FAILED),
        (["passed", "error"], "inconclusive", ExitCode.INCONCLUSIVE),
        (["passed", "skipped"], "inconclusive", ExitCode.INCONCLUSIVE),
        (["passed", "not-run"], "inconclusive", ExitCode.INCONCLUSIVE),
        (["skipped", "skipped?"], "inconclusive", ExitCode.NOTHING_RAN),
        (["skipped?"], "inconclusive", ExitCode.NOTHING_RAN),
        ([], "inconclusive", ExitCode.NOTHING_RAN),
    ],
)
def test_the_verdict_of_a_run_and_its_exit_code_when_pytest_says_0(
    outcomes: list[str], verdict: str, code: ExitCode
) -> None:
    run = run_of(*outcomes)
    assert verdict_of(run).result == verdict
    assert exit_code(run, verdict_of(run), 0, others_failed=False) == code


@pytest.mark.parametrize(
    ("outcomes", "verdict", "code"),
    [
        (["passed", "skipped"], "pass", ExitCode.OK),
        (["skipped", "skipped"], "inconclusive", ExitCode.NOTHING_RAN),
        (["passed", "skipped", "error"], "inconclusive", ExitCode.INCONCLUSIVE),
        (["failed", "skipped"], "fail", ExitCode.FAILED),
    ],
)
def test_a_must_that_is_about_nothing_there_is_reported_and_leaves_the_verdict_alone(
    outcomes: list[str], verdict: str, code: ExitCode
) -> None:
    run = run_of(*outcomes)
    for result in run.results.values():
        if result.outcome == "skipped":
            result.reason = f"{NOT_APPLICABLE}the VPC was supplied."
    found = verdict_of(run)
    assert found.result == verdict
    assert any("skipped: Not applicable: the VPC was supplied." in reason for reason in found.reasons)
    assert exit_code(run, found, 0, others_failed=False) == code


@given(
    outcomes=st.lists(st.sampled_from([*ORDER, *(f"{outcome}?" for outcome in ORDER)])),
    stopper=st.sampled_from(["", "interrupt", "limit", "collection", "target"]),
    troubles=st.lists(st.just("No."), max_size=1),
    status=st.integers(0, 6),
    others_failed=st.booleans(),
)
def test_the_exit_code_is_0_only_for_a_pass_and_a_pass_only_when_every_must_was_answered(
    outcomes: list[str], stopper: Any, troubles: list[str], status: int, *, others_failed: bool
) -> None:
    run = run_of(*outcomes, ended=False, troubles=troubles)
    assert verdict_of(run).result != "pass"
    if stopper:
        run.stop(stopper, "It was stopped.")
    run.end()
    verdict = verdict_of(run)
    if verdict.result == "pass":
        assert not stopper
        assert not troubles
        assert set(outcomes) & {"passed", "passed?", "known-upstream", "known-upstream?", "failed?"}
        assert not set(outcomes) & {"failed", "error", "skipped", "not-run"}
    else:
        assert verdict.reasons
    if exit_code(run, verdict, status, others_failed=others_failed) == 0:
        assert verdict.result == "pass"
        assert status == 0 or (status == 1 and not others_failed)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["e2e", "--token=abc", "-k", "one"], ["e2e", "--token=***", "-k", "one"]),
        (["--registry-password", "abc", "-v"], ["--registry-password", "***", "-v"]),
        (["--api-key", "--verbose"], ["--api-key", "--verbose"]),
        (["--pull-secret", "ns/regsecret"], ["--pull-secret", "ns/regsecret"]),
        (["--pull-secret=ns/regsecret"], ["--pull-secret=ns/regsecret"]),
        (["--image", "https://me:abc@host/image"], ["--image", "https://***@host/image"]),
    ],
)
def test_a_command_line_is_kept_without_its_secrets(words: list[str], shown: list[str]) -> None:
    assert without_secrets(words) == shown


def test_a_file_that_cannot_be_replaced_is_left_as_it_was(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "file", "new \ud800")
    assert (tmp_path / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


OURS = '{"format": 1, "run": {}, "checks": []}'


def test_an_earlier_run_is_removed_with_all_that_it_left_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(OURS)
    (tmp_path / "junit.xml").touch()
    (tmp_path / ".results.json.0a.new").touch()
    (evidence_folder(tmp_path, "a") / "pod.yaml").touch()
    (tmp_path / "notes.txt").touch()
    with take_over(tmp_path):
        assert {file.name for file in tmp_path.iterdir()} == {"notes.txt", ".lock"}


@pytest.mark.parametrize(
    ("name", "content"), [("results.json", "{}"), ("results.json", "no JSON"), ("junit.xml", ""), ("evidence/me", "")]
)
def test_a_file_that_no_run_of_ours_made_is_never_removed(tmp_path: Path, name: str, content: str) -> None:
    if name != "results.json":
        (tmp_path / "other.json").write_text(OURS)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(HarnessError, match="was not made by an earlier run") as caught:
        take_over(tmp_path)
    assert "--results" in caught.value.remedy
    assert (tmp_path / name).read_text() == content
    FileLock(tmp_path / ".lock").acquire(timeout=0).lock.release()


def test_a_results_folder_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    with take_over(tmp_path), pytest.raises(HarnessError, match="Another run is writing to"):
        take_over(tmp_path)


def test_a_results_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HarnessError, match="cannot be written"):
        take_over(tmp_path / "file" / "results")


@given(
    outcomes=st.lists(st.sampled_from([*ORDER, *(f"{outcome}?" for outcome in ORDER)]), max_size=60),
    text=st.text(max_size=400) | st.text("word . ", min_size=300, max_size=400),
    width=st.integers(40, 200),
)
def test_the_summary_is_at_most_one_screen_whatever_went_wrong(outcomes: list[str], text: str, width: int) -> None:
    run = run_of(*outcomes, facts={"target": "kind", "kubernetes version": "1.37.2", "node image": "image " * 60})
    for result in run.results.values():
        result.check = replace(result.check, claim=text)
        result.reason = result.remedy = text
        result.evidence = [{"file": "evidence/x/y", "sha256": "0" * 64, "bytes": 1}]
    run.stop("target", "\n".join([text] * 30), text)
    run.troubles = [text] * 9
    lines = summary_lines(run, verdict_of(run), Path("results"), width=width)
    assert len(lines) <= SCREEN
    assert all(len(line.text) <= width and len(line.text.splitlines()) == 1 for line in lines)
    assert lines[0].text.startswith(verdict_of(run).result.upper() + ":")
    assert lines[-1].text == "results  results/results.json"


def test_the_summary_shows_musts_first_and_counts_what_it_leaves_out() -> None:
    run = run_of("failed?", *["failed"] * 20, "error")
    shown = [line.text for line in summary_lines(run, verdict_of(run), Path("results"))]
    assert shown[0] == "FAIL: 20 of 21 must-checks failed."
    assert shown[2] == "✗ check-1: It holds."
    named = sum(line.startswith("✗") for line in shown)
    assert shown[-2] == f"and {22 - named} more, see results/results.json"


JUNIT = """<testsuites><testsuite name="pytest" errors="2" failures="1" skipped="1" tests="4">
<testcase time="0.100"/>
<testcase classname="e2e.test_it" name="test_0" time="0.100"><failure message="no">text</failure></testcase>
<testcase classname="e2e.test_it" name="test_0" time="0.200"><error message="teardown">gone</error></testcase>
<testcase classname="e2e.test_it" name="test_1" time="0.100"><skipped message=""/><error>z</error></testcase>
<testcase classname="e2e.test_it" name="test_2" time="0.100"><failure message="API">API</failure></testcase>
</testsuite></testsuites>"""


def test_a_failed_check_has_its_cause_as_message_and_its_evidence_attached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "results" / "junit.xml"
    file.parent.mkdir()
    file.write_text(JUNIT)
    run = run_of("failed", "error", "error", "passed")
    run.results["check-0"].evidence = [{"file": "evidence/check-0/pod.yaml", "sha256": "0" * 64, "bytes": 1}]
    junit.complete(file, run, verdict_of(run))
    xmlschema.XMLSchema10(Path(__file__).parent / "junit.xsd").validate(file)
    case = next(case for case in ET.parse(file).getroot().iter("testcase") if case.get("name") == "test_0")  # noqa: S314
    assert case[0].get("message") == "Reason 0."
    assert "[[ATTACHMENT|results/evidence/check-0/pod.yaml]]" in str(case.findtext("system-out"))


def test_the_junit_file_is_completed_to_one_outcome_a_test(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text(JUNIT)
    run = run_of("failed", "error", "error", "not-run", facts={"node image": "a\x00\x1b[1m<&"})
    run.stop("interrupt", "The run was interrupted by SIGTERM.")
    run.end()
    junit.complete(file, run, verdict_of(run))
    suite = ET.parse(file).getroot()[0]  # noqa: S314
    cases = {str(case.get("name")): case for case in suite.findall("testcase")}
    assert [child.tag for child in cases["test_0"]] == ["failure", "system-out", "system-err"]
    assert cases["test_0"].get("time") == "0.300"
    assert "gone" in str(cases["test_0"].findtext("system-err"))
    assert [child.tag for child in cases["test_1"]] == ["error", "system-out"]
    assert [child.tag for child in cases["test_2"]] == ["error", "system-out"]
    assert [child.tag for child in cases["test_3"]] == ["skipped", "system-out"]
    assert [child.tag for child in cases["run"]] == ["error"]
    assert "It holds.\n[[PROPERTY|id=check-0]]" in str(cases["test_0"].findtext("system-out"))
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "errors": "3",
        "skipped": "1",
    }
    properties = {prop.get("name"): prop.get("value") for prop in suite.findall("properties/property")}
    assert properties["node image"] == "a\ufffd\ufffd[1m<&"
    assert properties["verdict"] == "fail"
