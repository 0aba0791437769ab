"""Evidence is a closed world too: what is named is there as it was, what is there is named, a failure has some."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gateworld import NOW, codes, keep, of, policy, results, write

from fixtures.checks import Check
from fixtures.results import CheckResult
from fixtures.resultsfolder import MARK
from gate.decision import Decision
from gate.jsonfile import UnreadableError, parse
from gate.judge import decide

NONE_KEPT = "evidence: none is kept of what this check uses."


def kept_run(folder: Path) -> Path:
    """A results folder that passes, with evidence of a check and all that a run leaves beside it."""
    content = results()
    keep(content, folder, "pod.log", b"98/98\n")
    write(folder, content)
    (folder / "evidence" / MARK).touch()
    (folder / "evidence" / "alloc-exclusive").mkdir()  # made for a collector that then kept nothing
    (folder / ".lock").touch()
    (folder / "junit.xml").write_text("<testsuites/>")
    return folder


def decided(folder: Path) -> Decision:
    return decide([folder], policy(folder.parent), now=NOW)


def test_what_the_harness_leaves_in_a_results_folder_is_no_finding(tmp_path: Path) -> None:
    assert decided(kept_run(tmp_path / "run")).exit_code == 0


@pytest.mark.parametrize(
    "name",
    ["flow-completed/other.log", "lost-check/pod.log", "loose.txt", f"flow-completed/{MARK}", "flow-completed/a/b.log"],
)
def test_a_file_of_evidence_that_no_check_names_is_no_pass(tmp_path: Path, name: str) -> None:
    folder = kept_run(tmp_path / "run")
    (folder / "evidence" / name).parent.mkdir(exist_ok=True)
    (folder / "evidence" / name).write_text("97/98\n")
    decision = decided(folder)
    assert (decision.exit_code, codes(decision)) == (2, {"evidence-unnamed"})
    assert f"evidence/{name}" in decision.reasons[0]


def test_a_link_among_the_evidence_is_told_and_not_followed(tmp_path: Path) -> None:
    folder = kept_run(tmp_path / "run")
    (folder / "evidence" / "elsewhere").symlink_to(tmp_path)
    assert codes(decided(folder)) == {"evidence-unnamed"}


def test_a_thousand_files_that_no_check_names_are_one_sentence(tmp_path: Path) -> None:
    folder = kept_run(tmp_path / "run")
    for number in range(1000):
        (folder / "evidence" / "flow-completed" / f"{number:03}.log").touch()
    (reason,) = decided(folder).reasons
    assert reason.endswith("002.log and 997 more.")


def test_results_that_lost_the_list_of_a_checks_evidence_are_no_pass_without_a_signature(tmp_path: Path) -> None:
    folder = kept_run(tmp_path / "run")
    content = json.loads((folder / "results.json").read_text())
    of(content, "flow-completed")["evidence"] = []
    (folder / "results.json").write_text(json.dumps(content))
    assert (decided(folder).exit_code, codes(decided(folder))) == (2, {"evidence-unnamed"})


@pytest.mark.parametrize(("outcome", "code"), [("failed", 2), ("error", 2), ("known-upstream", 2), ("skipped", 0)])
def test_a_should_that_failed_and_kept_nothing_is_no_pass(tmp_path: Path, outcome: str, code: int) -> None:
    content = results()
    of(content, "pull-anonymous").update(outcome=outcome, reason="It was pulled.", notes=["teardown: too"])
    assert decided(write(tmp_path / "run", content)).exit_code == code
    of(content, "pull-anonymous")["notes"] = [NONE_KEPT]
    assert decided(write(tmp_path / "other", content)).exit_code == 0


def test_a_must_that_failed_and_kept_nothing_is_still_a_failure(tmp_path: Path) -> None:
    content = results()
    of(content, "alloc-exclusive").update(outcome="failed", reason="Two had it.", notes=["x"])
    decision = decided(write(tmp_path / "run", content))
    assert (decision.exit_code, codes(decision)) == (1, {"check-failed", "evidence-missing"})


def test_the_harness_names_what_a_collector_left_before_it_broke_off(tmp_path: Path) -> None:
    def broken(_: str, folder: Path) -> list[str]:
        (folder / "pod.log").write_text("97/98\n")
        raise RuntimeError("the API server went away")

    result = CheckResult(Check("flow-completed", "must", "It ends.", "documented"), "e2e/test_it.py::test_it")
    result.collect_evidence([broken], tmp_path)
    assert [one["file"] for one in result.evidence] == ["evidence/flow-completed/pod.log"]
    assert "the API server went away" in result.notes[0]


def test_the_harness_says_so_where_nothing_is_kept(tmp_path: Path) -> None:
    result = CheckResult(Check("flow-completed", "must", "It ends.", "documented"), "e2e/test_it.py::test_it")
    result.collect_evidence([], tmp_path)
    assert (result.evidence, result.notes) == ([], [NONE_KEPT])


PLAIN = b'{"a": 1, "b": [1.5, "x", null, true], "c": {"a": 2}}'


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": 1, "a": 1}', b'{"a": {"b": 1, "b": 2}}', b'{"a": 1, "\\u0061": 1}', b'{"a": 1e999}', b'{"a": NaN}',
        b'{"a": "\\ud800"}', b'{"a": "\xff"}', b'{"a": 1} x', b'{"a": 1', b"[" * 100_000, b"",
    ],
)  # fmt: skip
def test_json_that_hides_something_is_refused_whichever_way_it_is_read(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(UnreadableError):
        parse(raw, tmp_path)


@pytest.mark.parametrize(
    "raw", [PLAIN, b'{"a": "\\u00e9"}', b'{"a": 1e5}', b'{"a": -0.0}', b' {"a" : 12345678901234567890}']
)
def test_json_reads_the_same_whichever_way_it_is_read(tmp_path: Path, raw: bytes) -> None:
    assert repr(parse(raw, tmp_path)) == repr(json.loads(raw))
