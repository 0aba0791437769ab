"""What changed between releases is named, and blocks when it is told to; flaky checks are found from repeats."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gateworld import IMAGES, TOP_1, of, results, write

from fixtures.cli import main
from fixtures.comparecommand import KINDS
from fixtures.resultsfolder import MARK
from gate.compare import OF_ONE_RUN, changes, flaky_checks
from gate.comparecommand import BLOCKING
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
    "a wait that grows by less than repeats do": ([wait(1)], [wait(5.5)], set()),
    "a wait for nothing before": ([wait(0)], [wait(6)], {("slow-wait", "flow-completed: pod Succeeded")}),
    "a wait that is no longer met": (
        [wait(1)], [wait(300, word="timeout")], {("slow-wait", "flow-completed: pod Succeeded")},
    ),
    "a wait that was never met": ([wait(300, word="timeout")], [wait(300, word="timeout")], set()),
    "a wait of another pod": (
        [wait(5, "pod npu-7f9c5d6b84-x2x4z Ready")], [wait(50, "pod npu-6d5b84f9c7-b7kqp Ready")],
        {("slow-wait", "flow-completed: pod npu-* Ready")},
    ),
    "a warning": ([], [warn("FailedMount", "Pod npu/p")], {("new-warning", "FailedMount Pod npu/p")}),
    "a known warning": ([warn("BackOff", "Pod n-12/p")], [warn("BackOff", "Pod n-77/p")], set()),
    "a warning of another pod, of words that are no suffix": (
        [warn("BackOff", "Pod npu/train-other-after")], [warn("BackOff", "Pod npu/train-model-ready")],
        {("new-warning", "BackOff Pod npu/train-model-ready")},
    ),
    "a warning of a node that is another, with NPUs too": (
        [warn("NodeNotReady", "Node /worker-1")], [warn("NodeNotReady", "Node /worker-2")], set(),
    ),
    "a warning of a node with NPUs": (
        [warn("NodeNotReady", "Node /control-plane")], [warn("NodeNotReady", "Node /worker-2")],
        {("new-warning", "NodeNotReady Node /an-npu-node")},
    ),
    "an error where a failure was": (
        [outcome("alloc-exclusive", "failed")], [outcome("alloc-exclusive", "error")], set(),
    ),
    "a known defect where an error was": (
        [outcome("alloc-exclusive", "error")], [outcome("alloc-exclusive", "known-upstream")], set(),
    ),
    "a known defect where it passed": (
        [], [outcome("alloc-exclusive", "known-upstream")], {("new-failure", "alloc-exclusive")},
    ),
    "a skip of what was not run": (
        [outcome("alloc-exclusive", "not-run")], [outcome("alloc-exclusive", "skipped")], set(),
    ),
    "a skip of what failed": (
        [outcome("alloc-exclusive", "failed")], [outcome("alloc-exclusive", "skipped")],
        {("new-skip", "alloc-exclusive")},
    ),
    "not run where it was skipped": (
        [outcome("alloc-exclusive", "skipped")], [outcome("alloc-exclusive", "not-run")], set(),
    ),
    "new, and failed": (
        [lambda c: c["checks"].remove(of(c, "alloc-exclusive"))], [outcome("alloc-exclusive", "failed")],
        {("new-failure", "alloc-exclusive")},
    ),
    "a should": (
        [], [lambda c: of(c, "alloc-exclusive").update(level="should")], {("weakened-check", "alloc-exclusive")},
    ),
    "a larger profile": (
        [], [lambda c: of(c, "alloc-exclusive").update(profile="slow")], {("weakened-check", "alloc-exclusive")},
    ),
    "a smaller profile": ([], [lambda c: of(c, "alloc-exclusive").update(profile="documented")], set()),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_each_change_is_named(tmp_path: Path, what: str) -> None:
    before, after, expected = CHANGES[what]
    found = changes([read(tmp_path, "a", *before)], [read(tmp_path, "b", *after)])
    assert {(change.kind, change.what) for change in found} == expected


FAILS, PASSES = outcome("alloc-exclusive", "failed"), outcome("alloc-exclusive", "passed")
LACKS: Spoil = lambda content: content["checks"].remove(of(content, "alloc-exclusive"))  # noqa: E731 - beside the others
ALONE: Spoil = lambda content: content["settings"].update(profile="documented")  # noqa: E731
REPEATS: dict[str, tuple[list[list[Spoil]], list[list[Spoil]], list[tuple[str, str]]]] = {
    "flaky, then failing always": (
        [[FAILS], [], []], [[FAILS]] * 3,
        [("new-failure", "alloc-exclusive was failed in 1 of 3 runs, and is failed.")],
    ),
    "flaky as before": ([[FAILS], [], []], [[], [FAILS], [FAILS]], []),
    "failing once": (
        [[], []], [[], [FAILS]], [("new-failure", "alloc-exclusive was passed, and is failed in 1 of 2 runs.")],
    ),
    "lost in some": (
        [[], []], [[], [LACKS], [LACKS]],
        [("lost-check", "alloc-exclusive is missing from 2 of 3 runs, though their profile holds it.")],
    ),
    "runs of a smaller profile beside": ([[]], [[], [LACKS, ALONE], [LACKS, ALONE]], []),
    "left out of some": ([[]], [[], [LACKS, lambda c: c.update(deselected=["alloc-exclusive"])]], []),
    "in one of two shards": (
        [[]], [[lambda c: c["run"].update(shard={"index": 1, "of": 2})],
               [LACKS, lambda c: c["run"].update(shard={"index": 2, "of": 2})]], [],
    ),
    "a wait that is long once": ([[wait(5)]], [[wait(5)], [wait(5)], [wait(90)]], []),
    "a wait that is long": (
        [[wait(5)]], [[wait(90)], [wait(5)], [wait(90)]],
        [("slow-wait", "flow-completed: the wait for pod Succeeded took 90.0 s, 18.0 times as long: it was 5.0 s.")],
    ),
    "a short wait that is long": (
        [[wait(0)]], [[wait(90)]],
        [("slow-wait", "flow-completed: the wait for pod Succeeded took 90.0 s, longer: it was 0.0 s.")],
    ),
    "a warning in one of three": ([[]], [[], [], [warn("BackOff", "Pod npu/p")]], []),
    "a warning in two of three": (
        [[]], [[], [warn("BackOff", "Pod npu/p-x7kqp")], [warn("BackOff", "Pod npu/p-89dck")]],
        [("new-warning", "There is a new warning BackOff of Pod npu/p-89dck in 2 of 3 runs: m")],
    ),
    "a wait that is not met once": (
        [[wait(5)]], [[], [wait(300, word="timeout")]],
        [("slow-wait", "flow-completed: the wait for pod Succeeded was not met in 1 of 2 runs,"
                       " and ended after 300.0 s: it took 5.0 s.")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REPEATS)
def test_repeats_are_one_release(tmp_path: Path, what: str) -> None:
    before, after, expected = REPEATS[what]
    old = [read(tmp_path, f"a-{number}", *spoils) for number, spoils in enumerate(before)]
    new = [read(tmp_path, f"b-{number}", *spoils) for number, spoils in enumerate(after)]
    assert [(change.kind, change.sentence) for change in changes(old, new)] == expected


@pytest.mark.parametrize("name", ["worker-{} to have 4 NPUs", "the plugin to run", "npu-{}-x2x4z to run"])
def test_one_long_wait_is_not_hidden_by_others_that_are_called_alike(tmp_path: Path, name: str) -> None:
    def waits(*seconds: float) -> Spoil:
        def spoil(content: dict[str, Any]) -> None:
            (like,) = content["waits"]
            content["waits"] = [like | {"what": name.format(n), "seconds": long} for n, long in enumerate(seconds, 1)]

        return spoil

    found = changes([read(tmp_path, "a", waits(1, 1, 1))], [read(tmp_path, "b", waits(1, 90, 1))])
    assert [change.kind for change in found] == ["slow-wait"]
    assert name.format(2) in found[0].sentence


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("Pod kube-system/podnet-89dck", "Pod kube-system/podnet-*"),
        ("ReplicaSet npu-e2e-f62b2056-c938551c/many-64f6c4479", "ReplicaSet npu-e2e-*-*/many-*"),
        ("Pod kube-system/coredns-559f6c778d-47pr8", "Pod kube-system/coredns-*"),
        ("Job npu/nightly-29400120", "Job npu/nightly-*"),
        ("4 pods to run and 1 to wait", "* pods to run and * to wait"),
        ("Pod npu-e2e-f62b2056-d3923d47/one-4", "Pod npu-e2e-*-*/one-*"),
        ("Node 5bd4ee72-0a9f-4c0e-9f8e-2b7c3f6a1d00", "Node *"),
        *((same, same) for same in ("Pod npu/train-other-after", "npu-e2e-worker2", "device npu0", "k8s-grpc")),
    ],
)
def test_only_what_is_made_anew_in_each_run_is_passed_over(given: str, plain: str) -> None:
    assert OF_ONE_RUN.sub("*", given) == plain


def test_runs_of_another_image_are_no_repeats(tmp_path: Path) -> None:
    def image(digit: str) -> Spoil:
        def spoil(content: dict[str, Any]) -> None:
            for subject in content["subject"].values():
                for node in subject["nodes"]:
                    node["image"] = "sha256:" + digit * 64

        return spoil

    read(tmp_path / "v2", "1", image("4"), run="aaaa0001")
    read(tmp_path / "v2", "2", image("5"), FAILS, run="aaaa0002")
    old, new = read_release(write(tmp_path / "v1", results("aaaa0003"))), read_release(tmp_path / "v2")
    history = history_of([old, new])
    assert history.flaky == ((), ())
    assert any(note.startswith("v2: The runs are not of one release: the node image") for note in history.notes)
    assert "v1 is one run: what differs by chance looks like a change. Give folders of repeats." in history.notes
    assert all(note in html(history) for note in history.notes[1:])


def test_a_run_that_did_not_end_or_lost_its_results_is_a_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "v1", results("aaaa0001"))
    killed = results("aaaa0002")
    killed["run"].update(state="running", ended=None, exit_code=None)
    write(tmp_path / "v2", killed)
    for number in range(3):
        write(tmp_path / "v3" / f"run-{number}", results(f"bbbb000{number}"))
    (tmp_path / "v3/run-1/results.json").unlink()
    assert main(["compare", str(good), str(tmp_path / "v2"), "--block", "unfinished-run"]) == 1
    assert "✗ unfinished-run: Run aaaa0002 was killed: it never wrote its end" in capsys.readouterr().out
    assert main(["compare", str(good), str(tmp_path / "v3"), "--block", "all"]) == 1
    assert "v3/run-1 was written by a run, and holds no results.json any more." in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "v3"), str(good), "--block", "all"]) == 0
    assert "note: v3: " in capsys.readouterr().out


def test_a_run_that_is_there_twice_is_one(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / "v1" / f"copy-{number}", results())
    release = read_release(tmp_path / "v1")
    assert len(release.runs) == 1
    assert "is given twice" in release.notes[0]


def test_what_the_gate_wrote_beside_the_runs_is_no_run(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / "v1" / f"run-{number}", results(f"aaaa000{number}"))
    written = tmp_path / "v1" / "out"
    written.mkdir()
    (written / MARK).touch()
    (written / "catalogue.json").touch()
    (written / "results.json").write_text('{"Action":"start"}\n{"Action":"pass"}\n')
    assert len(read_release(tmp_path / "v1").runs) == 2
    assert read_release(tmp_path / "v1").unfinished == ()
    assert main(["compare", str(written), str(tmp_path / "v1")]) == 2
    (tmp_path / "v1/run-1" / MARK).touch()  # which hides no run
    assert len(read_release(tmp_path / "v1").runs) == 2


def test_releases_are_told_apart_by_their_place_and_named_by_their_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, spoils in enumerate(([FAILS], [], [])):
        read(tmp_path / "v1/results", f"run-{number}", *spoils, run=f"aaaa000{number}")
        read(tmp_path / "v2/results", f"run-{number}", run=f"bbbb000{number}")
    write(tmp_path / "v3", results("cccc0001"))
    folders = [str(tmp_path / name) for name in ("v1/results", "v2/results", "v3")]
    assert main(["compare", *folders[:2], "--block", "flaky"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("v2/results against v1/results: ")
    assert "· flaky: alloc-exclusive in v1/results" in told
    assert "✗" not in told
    assert main(["compare", folders[1], folders[0], "--block", "flaky"]) == 1
    assert "✗ flaky: alloc-exclusive in v1/results" in capsys.readouterr().out
    assert main(["compare", *folders]) == 0
    assert capsys.readouterr().out.startswith("v3 against v2/results: ")


def test_kinds_come_before_or_after_the_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = str(write(tmp_path / "v1", results("aaaa0001"))), str(tmp_path / "v2")
    read(tmp_path, "v2", FAILS, run="aaaa0002")
    for argv in (
        ["--block", "new-failure", good, bad], ["--block=new-failure", good, bad],
        [good, "--block", "new-failure", bad], [good, bad, "--block", "slow-wait", "new-failure"],
        ["--block", "slow-wait,new-failure", good, bad], ["--block", "all", "--slow-wait", "3", good, bad],
        ["--block", "slow-wait", "--block", "new-failure", good, bad],
    ):  # fmt: skip
        assert main(["compare", *argv]) == 1, argv
        assert capsys.readouterr().out.startswith("v2 against v1: 1 change\n✗ new-failure"), argv
    assert main(["compare", "--block", "new-skip,slow-wait", good, bad]) == 0
    assert {*KINDS} == {*BLOCKING, "all"}


def test_a_folder_that_cannot_be_read_is_told_of_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = str(write(tmp_path / "v1", results()))
    assert main(["compare", good, "x" * 300]) == 2
    assert "cannot be read (File name too long)" in capsys.readouterr().err

    def refuse(folder: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert main(["compare", good, str(tmp_path)]) == 2
    assert "cannot be read (Permission denied)" in capsys.readouterr().err


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
    assert "v3 against v2: 1 change\n· new-failure: alloc-exclusive was passed, and is failed in 1 of 3 runs.\n" in told
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


@pytest.mark.parametrize(
    "argv",
    [
        ["a"],
        ["a", "b", "--block", "new-fail"],
        ["a", "b", "--slow-wait", "1"],
        [],
        ["a", "b", "--block"],
        ["a", "b", "--block", "new-failure", "new-skp"],
        ["--block", "new-failure", "x" * 300, "b"],
        ["a", "b", "--slow-wait", "nan"],
    ],
)
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
