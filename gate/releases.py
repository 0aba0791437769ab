"""Releases by their results folders, and how checks and numbers went from one to the next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from fixtures.errors import HarnessError
from fixtures.resultsfolder import CATALOGUE, EVIDENCE, MARK
from gate.compare import LEAST_SECONDS, ORDER, SLOW_WAIT, Change, Flaky, changes, flaky_checks, measured_of, outcomes_of
from gate.jsonfile import UnreadableError, shown
from gate.policy import Candidate
from gate.results import RESULTS, Results, read_results
from gate.runs import findings_of_runs
from gate.subject import findings_of_subject

TIME = "call"
"""The name that `measured_of` has for how long a check took."""
UNFINISHED = ("run-not-finished", "shard-missing", "defect")
"""Codes of findings that say that a run, or a part of one, tells less of its release than it should."""


@dataclass(frozen=True)
class Release:
    """A release: its folder, and its runs by when they began.

    Attributes:
        folder: with its runs.
        runs: one or more, each once.
        unfinished: which of its runs did not end, or have no results any more, in sentences.
        notes: which are not repeats of the others, in sentences.
        name: of the folder, with as many of those above it as tell it from the others.
    """

    folder: Path
    runs: tuple[Results, ...]
    unfinished: tuple[str, ...]
    notes: tuple[str, ...]
    name: str


@dataclass(frozen=True)
class Track:
    """A number over releases: of which check, what, in which unit, and all values of each release."""

    check: str
    name: str
    unit: str
    values: tuple[tuple[float, ...], ...]

    @property
    def medians(self) -> tuple[float | None, ...]:
        """Of each release; None where nothing was measured."""
        return tuple(median(some) if some else None for some in self.values)


@dataclass(frozen=True)
class History:
    """Releases, the oldest first, and what is other among them.

    Attributes:
        releases: two or more.
        outcomes: of every check whose outcome is not the same in all: one a release, empty where it was not there.
        tracks: numbers that were measured, and the times of checks.
        changes: of the last release against the one before it.
        flaky: checks of each release that passed and did not, from its repeats.
        notes: why a release, or the comparison, shows less than it seems to, in sentences.
    """

    releases: tuple[Release, ...]
    outcomes: dict[str, tuple[str, ...]]
    tracks: tuple[Track, ...]
    changes: tuple[Change, ...]
    flaky: tuple[tuple[Flaky, ...], ...]
    notes: tuple[str, ...]


def read_release(folder: Path) -> Release:
    """The release in `folder`: a results folder, or a folder of results folders, its repeats.

    What the gate wrote is passed over there.

    Raises:
        HarnessError: there are no results, or it cannot be read what there is.
        UnreadableError: there are some that cannot be believed.
    """
    try:
        folders, gone = _folders_of_runs(folder)
    except OSError as error:
        raise HarnessError(
            f"{shown(folder)} cannot be read ({error.strerror}).", "Name a folder that a run wrote and you may read."
        ) from error
    if not folders:
        raise HarnessError(
            f"{shown(folder)} holds no {RESULTS} of a run, and no folder that does.", "Name a folder that a run wrote."
        )
    runs = sorted((read_results(one) for one in folders), key=lambda results: results.run.began)
    found = [*findings_of_runs(runs, math.inf), *findings_of_subject(runs, Candidate())]
    unfinished = [one.sentence for one in found if one.code in UNFINISHED]
    unfinished += [f"{shown(one)} was written by a run, and holds no {RESULTS} any more." for one in gone]
    notes = [one.sentence for one in found if one.code in ("run-twice", "subjects-differ")]
    once = {results.sha256: results for results in runs}
    return Release(folder, tuple(once.values()), tuple(unfinished), tuple(notes), folder.resolve().name)


def _folders_of_runs(folder: Path) -> tuple[list[Path], list[Path]]:
    """Folders with results, and those that a run wrote to and that have none.

    Raises:
        OSError: what is in `folder` cannot be told.
    """
    if (folder / RESULTS).exists():
        return [] if _is_of_gate(folder) else [folder], []
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    ours = [one for one in inside if not _is_of_gate(one)]
    folders = [one for one in ours if (one / RESULTS).exists() or (one / RESULTS).is_symlink()]
    gone = [one for one in ours if one not in folders and any((one / name).exists() for name in (CATALOGUE, EVIDENCE))]
    return folders, gone


def _is_of_gate(folder: Path) -> bool:
    """Whether it has the gate's mark, and what is called results there is not a run's."""
    if not (folder / MARK).is_file():
        return False
    try:
        read_results(folder)
    except UnreadableError:
        return True
    return False


def history_of(releases: Sequence[Release], slow_wait: float = SLOW_WAIT) -> History:
    """What is other among `releases`, the oldest first."""
    releases = _named_apart(releases)
    outcomes = [outcomes_of(release.runs) for release in releases]
    rows = {check: tuple(of_one.get(check, "") for of_one in outcomes) for check in _in_order(outcomes)}
    last, before = releases[-1], releases[-2]
    unfinished = [Change("unfinished-run", last.name, sentence) for sentence in last.unfinished]
    found = [*unfinished, *changes(before.runs, last.runs, slow_wait=slow_wait)]
    return History(
        releases=tuple(releases),
        outcomes={check: row for check, row in rows.items() if len(set(row)) > 1},
        tracks=_tracks(releases),
        changes=tuple(sorted(found, key=lambda change: ORDER.index(change.kind))),
        flaky=tuple(flaky_checks(release.runs) for release in releases),
        notes=tuple(_notes(releases)),
    )


def _named_apart(releases: Sequence[Release]) -> list[Release]:
    """Each with the shortest end of its path that no other has; the same folder twice keeps one name."""
    paths = [release.folder.resolve().parts for release in releases]
    named = []
    for release, path in zip(releases, paths, strict=True):
        others = [other for other in paths if other != path]
        apart = (path[-n:] for n in range(1, len(path) + 1) if all(other[-n:] != path[-n:] for other in others))
        named.append(replace(release, name=str(Path(*next(apart, path)))))
    return named


def _notes(releases: Sequence[Release]) -> Iterable[str]:
    for release in releases:
        told = release.notes if release is releases[-1] else (*release.notes, *release.unfinished)
        yield from (f"{release.name}: {sentence}" for sentence in told)
    before, last = releases[-2:]
    if both := sorted({one.run.id for one in before.runs} & {one.run.id for one in last.runs}):
        yield f"Run {both[0]} is in {before.name} and in {last.name}."
    if few := list(dict.fromkeys(release.name for release in (before, last) if len(release.runs) == 1)):
        alone = " and ".join(few) + (" is one run" if len(few) == 1 else " are one run each")
        yield f"{alone}: what differs by chance looks like a change. Give folders of repeats."


def _in_order(dictionaries: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(key for dictionary in dictionaries for key in dictionary))


def _tracks(releases: Sequence[Release]) -> tuple[Track, ...]:
    measured = [measured_of(release.runs) for release in releases]
    keys = dict.fromkeys(key for of_one in measured for key in of_one)
    return tuple(Track(*key, tuple(tuple(of_one.get(key, ())) for of_one in measured)) for key in keys)


def slower(track: Track, times: float) -> bool:
    """Whether the check's time in the last release is so many times that of the one before, and LEAST_SECONDS more."""
    *_, before, last = track.medians
    if track.name != TIME or before is None or last is None:
        return False
    return last >= max(before * times, before + LEAST_SECONDS)
