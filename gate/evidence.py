"""Whether the evidence is what the runs wrote: each file that they name, no other, none lacking."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from fixtures.resultsfolder import EVIDENCE, EXPLAINED, MARK
from gate.beside import Shared
from gate.decision import Finding
from gate.hashing import Kept, problems_of
from gate.jsonfile import shown
from gate.results import Outcome, Results, evidence_of
from gate.runs import AGAIN

PIECE = 32 * 2**20
"""Bytes that are read in one go: to hand a file to another process takes as long as to read a quarter of a MiB."""
MOST_NAMED = 3
"""Of files that no check names."""
KEPT_FOR: tuple[Outcome, ...] = ("failed", "error", "known-upstream")
"""Outcomes for which a run keeps evidence."""


@dataclass
class EvidenceReading:
    """The evidence of runs, hashed beside whatever else is done with them.

    Attributes:
        pool: does it.
    """

    pool: Executor
    _runs: list[Results] = field(default_factory=list)
    _waiting: list[Kept] = field(default_factory=list)
    _size: int = 0

    def __post_init__(self) -> None:
        self._hashed = Shared(self.pool, problems_of)

    def add(self, results: Results) -> None:
        """Begin to read what a run kept, together with what is too little to be read alone."""
        self._runs.append(results)
        for kept in evidence_of(results):
            self._waiting.append((results.folder, kept.file, kept.sha256, kept.bytes))
            self._size += kept.bytes
            if self._size >= PIECE:
                self._begin()

    def _begin(self) -> None:
        self._hashed.add(self._waiting)
        self._waiting, self._size = [], 0

    def findings(self) -> list[Finding]:
        """Files that are missing, changed, not in their folder or of no check, of every run that was added."""
        self._begin()
        problems = chain.from_iterable(self._hashed.results())
        named = [(results, kept) for results in self._runs for kept in evidence_of(results)]
        found = []
        for (results, kept), problem in zip(named, problems, strict=True):
            if problem:
                sentence = f"The evidence {shown(kept.file)} of run {results.run.id} {shown(problem)}."
                found.append(Finding("evidence-changed", "inconclusive", sentence, AGAIN, run=results.run.id))
        for results in self._runs:
            found += _unnamed(results)
            found += _lacking(results)
        return found


def _unnamed(results: Results) -> Iterable[Finding]:
    """What lies among the evidence and no check names, but for the mark that each run leaves there."""
    named = {kept.file for kept in evidence_of(results)} | {f"{EVIDENCE}/{MARK}"}
    run, others = results.run.id, set[str]()
    try:
        others = set(files_in(results.folder / EVIDENCE, EVIDENCE)) - named
    except OSError as error:
        sentence = f"The evidence of run {run} cannot be looked through ({shown(error.strerror)})."
        yield Finding("evidence-unnamed", "inconclusive", sentence, "Make it readable, then try again.", run=run)
    if others:
        several = ", ".join(shown(name, 100) for name in sorted(others)[:MOST_NAMED])
        more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
        sentence = f"Among the evidence of run {run} is what none of its checks names: {several}{more}."
        yield Finding("evidence-unnamed", "inconclusive", sentence, AGAIN, run=run)


def files_in(folder: Path, name: str) -> Iterable[str]:
    """The paths, below `name`, of all that is in `folder` and is no folder itself; a link to one is none.

    Raises:
        OSError: a folder cannot be looked through.
    """
    if not folder.is_dir() or folder.is_symlink():  # a link is told where a file in it is
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{name}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from files_in(folder / entry.name, path)
            else:
                yield path


def _lacking(results: Results) -> Iterable[Finding]:
    """Checks of which evidence must have been kept, and of which neither any is named nor a note says why not."""
    if results.format == 1:
        return
    for check in results.checks:
        if check.outcome not in KEPT_FOR or check.evidence:
            continue
        if not any(note.startswith(EXPLAINED) for note in check.notes):
            sentence = f"{check.id} is {check.outcome} in run {results.run.id}, which kept no evidence of it."
            yield Finding("evidence-missing", "inconclusive", sentence, AGAIN, check.id, results.run.id)
