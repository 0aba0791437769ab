"""The runs as `go test` would have printed them: what CNCF's AI conformance reads as e2e.log and results.json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

import msgspec
from msgspec import Struct

from gate.jsonfile import shown
from gate.results import CheckResult, Outcome, Results

E2E_LOG, GO_TEST = "e2e.log", "results.json"
PACKAGE = "npu-conformance"
ENCODER = msgspec.json.Encoder()
Word = Literal["pass", "fail", "skip"]
WORDS: dict[Outcome, Word] = {
    "passed": "pass",
    "failed": "fail",
    "error": "fail",
    "skipped": "skip",
    "not-run": "skip",
    "known-upstream": "skip",
}


def log_lines(runs: Sequence[Results]) -> Iterator[str]:
    """What `go test -v` prints: a package for each run, a test for each check, in their order; without line ends."""
    for results in runs:
        for check in results.checks:
            yield f"=== RUN   {check.id}"
            yield from _said(check)
            yield f"--- {_word(check).upper()}: {check.id} ({_seconds(check):.2f}s)"
        passed = _passed(results)
        if results.run.state != "finished":
            yield f"panic: the run is {results.run.state}. {shown(results.run.stopped)}".rstrip()
        yield "PASS" if passed else "FAIL"
        yield f"{'ok  ' if passed else 'FAIL'}\t{_package(results)}\t{_duration(results):.3f}s"


def log_texts(runs: Sequence[Results]) -> Iterator[bytes]:
    """The same, all lines of a run at once."""
    for results in runs:
        yield "".join(f"{line}\n" for line in log_lines([results])).encode()


def event_lines(runs: Sequence[Results]) -> Iterator[bytes]:
    """What `go test -json` prints: an event as JSON on a line, all lines of a run at once."""
    for results in runs:
        yield ENCODER.encode_lines(_events(results))


class Event(Struct, gc=False, omit_defaults=True):
    """A line of `go test -json` (cmd/internal/test2json); what is empty is left out."""

    Action: str
    Package: str
    Test: str = ""
    Output: str = ""
    Elapsed: float | None = None


def _events(results: Results) -> list[Event]:
    package = _package(results)
    told = [Event("start", package)]
    for check in results.checks:
        told.append(Event("run", package, check.id))
        told += [Event("output", package, check.id, f"{line}\n") for line in _said(check)]
        told.append(Event(_word(check), package, check.id, Elapsed=round(_seconds(check), 3)))
    told.append(Event("pass" if _passed(results) else "fail", package, Elapsed=round(_duration(results), 3)))
    return told


def _package(results: Results) -> str:
    return f"{PACKAGE}/{results.run.id}"


def _passed(results: Results) -> bool:
    words = {_word(check) for check in results.checks if check.level == "must"}
    return results.run.state == "finished" and "pass" in words and "fail" not in words


def _word(check: CheckResult) -> Word:
    """Of a check; what only should be and is not is a skip, as no package passes of which a test fails."""
    word = WORDS[check.outcome]
    return "skip" if word == "fail" and check.level != "must" else word


@lru_cache(maxsize=4096)
def _claimed(claim: str) -> str:
    """The same in every run."""
    return f"    claim: {shown(claim)}"


def _said(check: CheckResult) -> Iterator[str]:
    """Each line begins with a word of ours, so that none can be taken for the end of a test within this one."""
    yield _claimed(check.claim)
    if check.outcome != "passed":
        yield f"    {check.outcome}: {shown(check.reason, 2000)}"
    for one in check.measured:
        yield f"    measured: {shown(one.name, 100)}: {shown(one.value)} {shown(one.unit, 40)}".rstrip()
    for note in check.notes:
        yield f"    note: {shown(note)}"


def _seconds(check: CheckResult) -> float:
    return sum(check.seconds.values())


def _duration(results: Results) -> float:
    return max((results.run.ended or results.run.began) - results.run.began, 0.0)
