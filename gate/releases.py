"""Releases by their results folders, and how checks and numbers went from one to the next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from fixtures.errors import HarnessError
from gate.compare import SLOW_WAIT, Change, Flaky, changes, flaky_checks, measured_of, outcomes_of
from gate.jsonfile import shown
from gate.results import RESULTS, Results, read_results

TIME = "call"
"""The name that `measured_of` has for how long a check took."""


@dataclass(frozen=True)
class Release:
    """A release: the name of its folder, and its runs by when they began."""

    name: str
    runs: tuple[Results, ...]


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
    """

    releases: tuple[Release, ...]
    outcomes: dict[str, tuple[str, ...]]
    tracks: tuple[Track, ...]
    changes: tuple[Change, ...]
    flaky: tuple[tuple[Flaky, ...], ...]


def read_release(folder: Path) -> Release:
    """The release in `folder`: a results folder, or a folder of results folders, its repeats.

    Raises:
        HarnessError: there are no results.
        UnreadableError: there are some that cannot be believed.
    """
    if (folder / RESULTS).exists():
        folders = [folder]
    elif folder.is_dir():
        folders = sorted(one for one in folder.iterdir() if (one / RESULTS).exists())
    else:
        folders = []
    if not folders:
        raise HarnessError(
            f"{shown(folder)} holds no {RESULTS}, and no folder that does.", "Name a folder that a run wrote."
        )
    runs = sorted((read_results(one) for one in folders), key=lambda results: results.run.began)
    return Release(folder.resolve().name, tuple(runs))


def history_of(releases: Sequence[Release], slow_wait: float = SLOW_WAIT) -> History:
    """What is other among `releases`, the oldest first."""
    outcomes = [outcomes_of(release.runs) for release in releases]
    rows = {check: tuple(of_one.get(check, "") for of_one in outcomes) for check in _in_order(outcomes)}
    last, before = releases[-1], releases[-2]
    return History(
        releases=tuple(releases),
        outcomes={check: row for check, row in rows.items() if len(set(row)) > 1},
        tracks=_tracks(releases),
        changes=changes(before.runs, last.runs, slow_wait=slow_wait),
        flaky=tuple(flaky_checks(release.runs) for release in releases),
    )


def _in_order(dictionaries: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(key for dictionary in dictionaries for key in dictionary))


def _tracks(releases: Sequence[Release]) -> tuple[Track, ...]:
    measured = [measured_of(release.runs) for release in releases]
    keys = dict.fromkeys(key for of_one in measured for key in of_one)
    return tuple(Track(*key, tuple(tuple(of_one.get(key, ())) for of_one in measured)) for key in keys)


def slower(track: Track, times: float) -> bool:
    """Whether the check's time in the last release is so many times that of the one before, and a second more."""
    *_, before, last = track.medians
    return track.name == TIME and None not in (before, last) and last >= max(before * times, before + 1.0)  # type: ignore[operator]
