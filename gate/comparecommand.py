"""`npu-e2e compare`: prints what changed from release to release, and returns whether a named change is among it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from fixtures.errors import ExitCode, HarnessError
from fixtures.resultsfolder import write_whole
from gate.compare import WORSE
from gate.jsonfile import shown
from gate.printing import print_lines
from gate.releases import TIME, History, Track, history_of, read_release, slower

FLAKY = "flaky"
BLOCKING = (*WORSE, FLAKY)
COLUMN = 16
MOST = 40
"""Rows of a table."""


def run(arguments: argparse.Namespace) -> int:
    """Compare, print, and return FAILED if a change that blocks is there.

    Raises:
        HarnessError: results that are named cannot be read, or the page cannot be written.
    """
    blocks = set(BLOCKING) if "all" in arguments.block else set(arguments.block)
    if len(arguments.folders) < 2 or not arguments.slow_wait > 1:
        print("There is nothing to compare.\nName two folders or more, and a --slow-wait above 1.", file=sys.stderr)
        return ExitCode.USAGE
    history = history_of([read_release(Path(folder)) for folder in arguments.folders], arguments.slow_wait)
    print_lines(lines(history, blocks, arguments.slow_wait))
    if arguments.html:
        from gate.report.history import html  # noqa: PLC0415 - draws charts, which takes a second to load

        try:
            write_whole(Path(arguments.html), html(history))
        except OSError as error:
            raise HarnessError(
                f"{arguments.html} cannot be written ({error.strerror}).", "Name another file."
            ) from error
    return ExitCode.FAILED if any(blocking(history, blocks)) else ExitCode.OK


def blocking(history: History, blocks: set[str]) -> list[str]:
    """What blocks, in sentences."""
    found = [change.sentence for change in history.changes if change.kind in blocks]
    if FLAKY in blocks:
        found += [f"{one.check} is flaky." for one in history.flaky[-1]]
    return found


def lines(history: History, blocks: set[str], slow_wait: float) -> list[str]:
    """The comparison as it is printed: each change against the last release, then tables over all of them."""
    names = [release.name for release in history.releases]
    made = [f"{names[-1]} against {names[-2]}: {_counted(len(history.changes), 'change')}"]
    for change in history.changes[:MOST]:
        mark = "✗" if change.kind in blocks else "·"
        made.append(f"{mark} {change.kind}: {shown(change.sentence)}")
    if len(history.changes) > MOST:
        made.append(f"and {len(history.changes) - MOST} more")
    for place, (name, flaky) in enumerate(zip(names, history.flaky, strict=True), 1):
        for one in flaky[:MOST]:
            mark = "✗" if FLAKY in blocks and place == len(names) else "·"
            made.append(f"{mark} flaky: {one.check} in {shown(name, 40)}: {one.bad} of {one.tries} ({one.rate:.0%})")
    made += [f"note: {note}" for note in history.notes]
    made += _table("outcome", names, history.outcomes.items())
    measured = [track for track in history.tracks if track.name != TIME]
    made += _table("measured, the median", names, map(_row, measured))
    made += _table("slower", names, map(_row, (track for track in history.tracks if slower(track, slow_wait))))
    return [shown(line, 1000) for line in made]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number or 'no'} {noun}s"


def _row(track: Track) -> tuple[str, Sequence[str]]:
    unit = f" [{track.unit}]" if track.unit else ""
    return f"{track.check}: {track.name}{unit}", [f"{one:.6g}" if one is not None else "" for one in track.medians]


def _table(title: str, names: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    body = [(shown(head, 60), [shown(cell or "-", COLUMN - 1) for cell in cells]) for head, cells in rows]
    if not body:
        return []
    width = max(len(head) for head, _ in [(title, ()), *body[:MOST]]) + 2
    heads = "".join(f"{shown(name, COLUMN - 1):<{COLUMN}}" for name in names)
    made = ["", f"{title:<{width}}{heads}".rstrip()]
    made += [f"{head:<{width}}{''.join(f'{cell:<{COLUMN}}' for cell in cells)}".rstrip() for head, cells in body[:MOST]]
    return made + ([f"and {len(body) - MOST} more"] if len(body) > MOST else [])
