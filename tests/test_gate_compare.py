"""What changed between releases is named, and blocks when it is told to; flaky checks are found from repeats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gateworld import IMAGES, TOP_1, of, results, write

from fixtures.cli import main
from gate.compare import changes, flaky_checks
from gate.releases import history_of, read_release
from gate.report.history import html
from gate.results import Results, read_results

Spoil = Callable[[dict[str, Any]], object]


def outcome(identity: str, word: str, **more: Any) -> Spoil:
    return lambda content: of(content, identity).update(outcome=word, reason="x", **more)


def wait(seconds: float, what: str = "pod Succeeded", word: str = "met") -> Spoil:
    return lambda content: content["waits"][0].update(seconds=seconds, what=what, outcome=word)


def warn(reason: str, of_what: str) -> Spoil:
    warning = {"reason": reason, "of": of_what, "message": "m", "count": 1, "check": ""}
    return lambda content: content["warnings"].append(warning)


def read(folder: Path, name: str, *spoils: Spoil, run: str = "aaaa0001") -> Results:
    content = results(run)
    for spoil in spoils:
        spoil(content)
    return read_results(write(folder / name, content))


CHANGES: dict[str, tuple[list[Spoil], list[Spoil], set[tuple[str, str]]]] = {
    "nothing": ([], [], set()),
    "a failure": ([], [outcome("alloc-exclusive", "failed")], {("new-failure", "alloc-exclusive")}),
    "an error": ([], [outcome("alloc-exclusive", "error")], {("new-failure", "alloc-exclusive")}),
    "a skip": ([], [outcome("alloc-exclusive", "skipped")], {("new-skip", "alloc-exclusive")}),
    "not run": ([], [outcome("alloc-exclusive", "not-run")], {("lost-check", "alloc-exclusive")}),
    "lost": ([], [lambda c: c["checks"].remove(of(c, "alloc-exclusive"))], {("lost-check", "alloc-exclusive")}),
    "new": ([lambda c: c["checks"].remove(of(c, "alloc-exclusive"))], [], {("new-check", "alloc-exclusive")}),
    "mended": ([outcome("alloc-exclusive", "failed")], [], {("new-pass", "alloc-exclusive")}),
    "a slow wait": ([wait(30)], [wait(61)], {("slow-wait", "flow-completed: pod Succeeded")}),
    "a wait a little slower": ([wait(30)], [wait(59)], set()),
    "a short wait": ([wait(0.1)], [wait(0.9)], set()),
    "a wait for nothing before": ([wait(0)], [wait(2)], {("slow-wait", "flow-completed: pod Succeeded")}),
    "a wait that was not met": ([wait(30)], [wait(300, word="timeout")], set()),
    "a wait of another pod": (
        [wait(5, "pod npu-7f9c5d6b84-x2x4z Ready")], [wait(50, "pod npu-6d5b84f9c7-abcde Ready")],
        {("slow-wait", "flow-completed: pod npu-* Ready")},
    ),
    "a warning": ([], [warn("FailedMount", "Pod npu/p")], {("new-warning", "FailedMount Pod npu/p")}),
    "a known warning": ([warn("BackOff", "Pod n-12/p")], [warn("BackOff", "Pod n-77/p")], set()),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_each_change_is_named(tmp_path: Path, what: str) -> None:
    before, after, expected = CHANGES[what]
    found = changes([read(tmp_path, "a", *before)], [read(tmp_path, "b", *after)])
    assert {(change.kind, change.what) for change in found} == expected


def test_a_check_is_flaky_by_its_repeats_and_tries(tmp_path: Path) -> None:
    runs = [
        read(tmp_path, "a", outcome("alloc-exclusive", "failed"), outcome("flow-accuracy", "failed")),
        read(tmp_path, "b", outcome("flow-accuracy", "failed"), lambda c: of(c, "flow-throughput").update(tries=3)),
        read(tmp_path, "c", outcome("flow-accuracy", "failed"), outcome("flow-completed", "skipped")),
    ]
    found = {one.check: (one.bad, one.tries) for one in flaky_checks(runs)}
    assert found == {"flow-throughput": (2, 5), "alloc-exclusive": (1, 3)}
    assert flaky_checks(runs)[0].rate == 0.4


def releases(folder: Path) -> list[str]:
    """Three releases; the last has repeats, of which one is flaky, and is slower and less accurate."""
    write(folder / "v1", results())
    write(folder / "v2", results("aaaa0002"))
    for number in range(3):
        content = results(f"aaaa001{number}", top_1=TOP_1 - IMAGES // 200)
        if number == 1:
            outcome("alloc-exclusive", "failed")(content)
        of(content, "flow-completed")["seconds"]["call"] = 9.0
        write(folder / "v3" / f"run-{number}", content)
    return [str(folder / name) for name in ("v1", "v2", "v3")]


def test_releases_are_compared_and_named_changes_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = releases(tmp_path)
    assert main(["compare", *folders]) == 0
    told = capsys.readouterr().out
    assert "v3 against v2: 1 change\n· new-failure: alloc-exclusive was passed, and is failed.\n" in told
    assert "· flaky: alloc-exclusive in v3: 1 of 3 (33%)" in told
    rows = {line.split("  ")[0]: line.split()[-3:] for line in told.splitlines() if "  " in line}
    assert rows["alloc-exclusive"] == ["passed", "passed", "failed"]
    assert rows["flow-accuracy: top_1 [fraction]"] == ["0.748027", "0.748027", "0.743033"]
    assert rows["flow-completed: call [s]"] == ["2", "2", "9"]
    assert main(["compare", *folders, "--block", "new-failure"]) == 1
    assert main(["compare", *folders, "--block", "flaky"]) == 1
    assert main(["compare", *folders, "--block", "new-skip", "slow-wait"]) == 0
    assert main(["compare", *folders, "--block", "all"]) == 1
    assert main(["compare", *folders[:2], "--block", "all"]) == 0


@pytest.mark.parametrize("argv", [["a"], ["a", "b", "--block", "new-fail"], ["a", "b", "--slow-wait", "1"], []])
def test_a_comparison_that_cannot_be_is_a_mistake_of_usage(argv: list[str]) -> None:
    try:
        status = main(["compare", *argv])
    except SystemExit as end:
        status = int(end.code or 0)
    assert status == 5


def test_results_that_cannot_be_read_are_no_release(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write(tmp_path / "v1", results())
    (tmp_path / "empty").mkdir()
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "results.json").write_text("{")
    for other in (tmp_path / "empty", tmp_path / "none", bad):
        assert main(["compare", str(good), str(other)]) == 2
    assert "holds no results.json" in capsys.readouterr().err


def test_the_page_of_a_comparison_has_a_chart_of_each_number(tmp_path: Path) -> None:
    history = history_of([read_release(Path(folder)) for folder in releases(tmp_path)])
    text = html(history)
    assert "v3 against v2" in text
    assert text.count("<svg") == len(history.tracks) == 8
    assert "<script" not in text
    page = tmp_path / "history.html"
    assert main(["compare", *releases(tmp_path), "--html", str(page)]) == 0
    assert page.read_text() == text


def test_hostile_words_of_results_are_printed_without_escapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "\x1b]0;x\x07\x1b[2J<script>"
    read(tmp_path, "a")
    read(tmp_path, "b", warn(hostile, hostile))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    told = capsys.readouterr().out
    assert "new-warning" in told
    assert "\x1b" not in told
    history = history_of([read_release(tmp_path / "a"), read_release(tmp_path / "b")])
    assert "<script" not in html(history)
