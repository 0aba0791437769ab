"""What the gate writes beside its screen: report, summary, JUnit, what `go test` prints, and the signed statement."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import nullcontext
from pathlib import Path

from fixtures.errors import HarnessError
from fixtures.resultsfolder import EVIDENCE, MARK, write_whole
from gate.beside import beside
from gate.decision import Decision, NamedFile
from gate.envelope import sealed, signer_of
from gate.gotest import E2E_LOG, GO_TEST, event_lines, log_texts
from gate.jsonfile import read_bounded, shown
from gate.junit import JUNIT, write_junit
from gate.layout import BASELINE, REPORT, RUNS, SUMMARY, evidence_file, named_runs, results_file
from gate.report.page import write_report
from gate.report.views import charts_of
from gate.results import RESULTS, Results, evidence_of
from gate.statement import CATALOGUE, POLICY, STATEMENT, Kept, statement_of
from gate.summary import markdown

JOB_SUMMARY = "GITHUB_STEP_SUMMARY"
"""Names the file that GitHub shows with a job; set by its runner."""
MOST_SUMMARY_BYTES = 1_000_000
"""Of a job's summary, GitHub takes 1 MiB."""
CHUNK = 2**20


def take_over(folder: Path, judged: Iterable[Path]) -> None:
    """Make `folder`, and leave a mark there that it is ours; nothing in it is changed.

    Args:
        folder: one that the gate did not make must be empty.
        judged: results folders that are judged: they are neither in it nor around it.

    Raises:
        HarnessError: it holds files that the gate did not write, is in a results folder, or holds one that is judged.
        OSError: it cannot be made, or written to.
    """
    elsewhere = "Give the gate a folder of its own with `--output`."
    whole = folder.resolve()
    for results in judged:
        if whole.is_relative_to(results.resolve()) or results.resolve().is_relative_to(whole):
            raise HarnessError(f"{shown(folder)} is, holds or is in {shown(results)}, which is judged.", elsewhere)
    for around in (whole, *whole.parents):
        if (around / EVIDENCE / MARK).is_file():
            raise HarnessError(f"{shown(folder)} is in the results folder {shown(around)}.", elsewhere)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / MARK).is_file():
        raise HarnessError(f"{shown(folder)} holds files that the gate did not write.", elsewhere)
    write_whole(folder / MARK, "")


def write_outputs(
    decision: Decision, folder: Path, key: Path | None = None, helper: Executor | None = None
) -> Path | None:
    """Write everything to `folder`, in the places that it has in a bundle; return the statement, if one was signed.

    A statement of an earlier decision is removed first, so that none ever stands beside files that it is not about.

    Args:
        decision: what was decided.
        folder: made if needed; one that the gate did not make must be empty.
        key: the private key; None to sign nothing.
        helper: draws the charts; one of its own when None.

    Raises:
        HarnessError: the folder is not the gate's to write to, the decision cannot be signed, or what was judged has
            changed meanwhile.
        OSError: a file cannot be written.
    """
    signer = signer_of(key) if key else None
    take_over(folder, [results.folder for results in (*decision.results, *decision.baseline)])
    (folder / STATEMENT).unlink(missing_ok=True)
    with nullcontext(helper) if helper else beside(len(decision.results)) as pool:
        charts = charts_of(decision, pool)  # are drawn while what else there is is written
        write_junit(folder / JUNIT, decision)
        _write_pieces(folder / E2E_LOG, log_texts(decision.results))
        _write_pieces(folder / GO_TEST, event_lines(decision.results))
        kept = [_kept_copy(folder, name, source) for name, source in _judged(decision)]
        text = markdown(decision)
        write_whole(folder / SUMMARY, text)
        write_report(folder / REPORT, decision, charts)
    _add_job_summary(text)
    files = [*(_kept(folder, name) for name in (JUNIT, E2E_LOG, GO_TEST, REPORT, SUMMARY)), *kept]
    if signer is None:
        return None
    for run, results in named_runs(decision.results):
        files.append(Kept(results_file(RUNS, run), results.sha256, results.bytes))
        files += _evidence(run, results)
    (folder / STATEMENT).write_bytes(sealed(statement_of(decision, files), signer))
    return folder / STATEMENT


def _write_pieces(file: Path, pieces: Iterator[bytes]) -> None:
    scratch = file.with_name(f".{file.name}.new")
    with scratch.open("wb") as stream:
        stream.writelines(pieces)
    scratch.replace(file)


def _add_job_summary(text: str) -> None:
    """Add the summary to the job's, when this runs in one on GitHub."""
    if file := os.environ.get(JOB_SUMMARY):
        whole = text.encode()
        with Path(file).open("ab") as stream:
            stream.write(whole if len(whole) <= MOST_SUMMARY_BYTES else whole[:MOST_SUMMARY_BYTES] + b"\n")


def _kept(folder: Path, name: str) -> Kept:
    digest, size = _hashed(folder / name)
    return Kept(name, digest, size)


def _hashed(file: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while piece := stream.read(CHUNK):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size


def _judged(decision: Decision) -> Iterable[tuple[str, NamedFile]]:
    """Policy, catalogue and the baseline's results, each with its name beside a decision.

    The candidate's own results stay where their evidence is, and go from there into a bundle.
    """
    yield POLICY, decision.policy
    if decision.catalogue.path:
        yield CATALOGUE, decision.catalogue
    for run, results in named_runs(decision.baseline):
        yield results_file(BASELINE, run), NamedFile(str(results.folder / RESULTS), results.sha256)


def _kept_copy(folder: Path, name: str, source: NamedFile) -> Kept:
    """A copy of what was judged, as it was judged.

    Raises:
        HarnessError: it is not what was judged any more.
    """
    raw = read_bounded(Path(source.path))
    if hashlib.sha256(raw).hexdigest() != source.sha256:
        raise HarnessError(f"{shown(source.path)} was changed while it was judged.", "Run the gate again.")
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(raw)
    return Kept(name, source.sha256, len(raw))


def _evidence(run: str, results: Results) -> Iterable[Kept]:
    """What a run kept, by the hashes that it wrote down, which the gate has checked; each file once."""
    seen = set()
    for kept in evidence_of(results):
        if kept.file in seen:
            continue
        seen.add(kept.file)
        if kept.sha256:
            yield Kept(evidence_file(run, kept.file), kept.sha256, kept.bytes)
        elif (file := results.folder / kept.file).is_file() and not file.is_symlink():  # format 1 has no hashes
            digest, size = _hashed(file)
            yield Kept(evidence_file(run, kept.file), digest, size)
