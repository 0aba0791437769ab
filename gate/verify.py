"""Whether a statement or a bundle holds: signed by that key, about that image, by that policy, and nothing changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from securesystemslib.signer import Key

from fixtures.resultsfolder import EVIDENCE, MARK
from gate import archive
from gate.catalogue import Catalogue, catalogue_of, read_catalogue
from gate.envelope import ORIGINAL, RefusedError, opened
from gate.evidence import files_in
from gate.jsonfile import MOST_BYTES, UnreadableError, read_bounded, shown
from gate.layout import RUNS, evidence_file, results_file
from gate.policy import PROFILES
from gate.results import RESULTS
from gate.statement import CATALOGUE, STATEMENT, Kept, Statement, require_about, statement_in

GATE_S = "Name the bundle, or the statement that `npu-e2e gate --output FOLDER --key KEY` wrote."
RUNS_FOLDERS = "Name the folders that the candidate's runs were given with `--results`."


@dataclass(frozen=True)
class Asked:
    """What is asked of a statement.

    Attributes:
        key: whose signature it must bear.
        image: the node image that it must be about, by digest.
        policy: SHA-256 of the policy that it must have been made by, in hex.
        catalogue: of the checks that it must tell of; None for the one that comes with the statement, which names it.
        pinned: SHA-256 of the catalogue that the policy names, in hex; empty when it names none.
    """

    key: Key
    image: str
    policy: str
    catalogue: Path | None = None
    pinned: str = ""


def is_bundle(file: Path) -> bool:
    """Whether `file` is to be read as a bundle, and not as a statement: by how it begins, else by its name.

    Raises:
        UnreadableError: it is no file, or cannot be read.
    """
    try:
        if not file.is_file():
            raise UnreadableError(f"{shown(file)} is no file.", GATE_S)
        with file.open("rb") as stream:
            begins = stream.read(len(STATEMENT))
    except OSError as error:
        raise _unreadable(file, error) from error
    return begins == STATEMENT.encode() or (file.suffix != ".json" and not begins.startswith(b"{"))


def verified_bundle(bundle: Path, asked: Asked) -> Statement:
    """The statement in `bundle`, if it holds and each file is there as it was signed, and no other. Unpacks nothing.

    Raises:
        RefusedError: it does not hold; the cause says where.
        UnreadableError: it cannot be read, or the catalogue that is asked for.
    """
    try:
        with bundle.open("rb") as stream:
            found = archive.members(stream)
            first = next(found, None)
            if first is None or first.name != STATEMENT:
                raise RefusedError(f"{shown(bundle)} does not begin with a statement.", ORIGINAL)
            statement = statement_in(opened(_whole(first), asked.key, Path(first.name)))
            catalogue = _require_files(found, statement)
    except OSError as error:
        raise _unreadable(bundle, error) from error
    known = read_catalogue(asked.catalogue) if asked.catalogue else catalogue_of(catalogue, Path(CATALOGUE))
    _require_about(statement, asked, known)
    return statement


def _whole(member: archive.Member) -> bytes:
    if member.size > MOST_BYTES:
        raise RefusedError(f"{shown(member.name)} is larger than any that the gate writes.", ORIGINAL)
    return b"".join(member.pieces)


def _require_files(found: Iterator[archive.Member], statement: Statement) -> bytes:
    """Require the files of the statement, in the order of their paths; return the catalogue."""
    catalogue, seen = b"", []
    for member in found:
        kept = statement.files.get(member.name)
        if kept is None:
            raise RefusedError(f"{shown(member.name)} is not in the statement: it was added afterwards.", ORIGINAL)
        digest = hashlib.sha256()
        pieces: Iterable[bytes] = member.pieces
        if member.name == CATALOGUE:
            catalogue = _whole(member)
            pieces = [catalogue]
        for piece in pieces:
            digest.update(piece)
        if member.size != kept.bytes or digest.hexdigest() != kept.sha256:
            raise RefusedError(f"{shown(member.name)} was changed after it was signed.", ORIGINAL)
        seen.append(member.name)
    for name in statement.files.keys() - set(seen):
        raise RefusedError(f"{shown(name)} is in the statement, and was taken out of the bundle.", ORIGINAL)
    if seen != sorted(seen):
        raise RefusedError("The files of the bundle are not in the order in which they are packed.", ORIGINAL)
    return catalogue


def verified_statement(file: Path, asked: Asked, results: Sequence[Path] = ()) -> Statement:
    """The statement in `file`, if it holds, and if `results` and what lies beside it are what it was made of.

    Args:
        file: the statement, where the gate wrote it.
        asked: what it must be; its catalogue is by default the one beside the statement.
        results: every results folder of the candidate; none to look at the statement and its catalogue alone.

    Raises:
        RefusedError: it does not hold; the cause says where.
        UnreadableError: it cannot be read.
    """
    statement = statement_in(opened(read_bounded(file, remedy=GATE_S), asked.key, file))
    beside = file.parent / CATALOGUE
    _require_about(statement, asked, read_catalogue(asked.catalogue or beside))
    if results:
        folders = _folders_of(statement, results)
        for kept in statement.files.values():
            _require_as_signed(kept, file.parent, folders)
        _require_no_other(statement, folders)
    return statement


def _require_about(statement: Statement, asked: Asked, catalogue: Catalogue) -> None:
    if statement.profile not in PROFILES:
        raise RefusedError(f"The statement names no profile that is known: {shown(statement.profile)}.", ORIGINAL)
    if asked.pinned not in ("", statement.catalogue):
        raise RefusedError(
            f"The policy names the catalogue sha256:{asked.pinned[:12]}…, and the statement was made with another"
            f" (sha256:{statement.catalogue[:12]}…).",
            "Have the image judged with the catalogue that the policy names.",
        )
    profile = PROFILES[statement.profile]
    checks = [(entry.id, entry.profile in profile) for entry in catalogue.entries.values()]
    require_about(statement, image=asked.image, policy=asked.policy, catalogue=catalogue.file.sha256, checks=checks)


def _folders_of(statement: Statement, results: Sequence[Path]) -> dict[str, Path]:
    """The folder of each run of the statement, found by what its results file holds; `results` are these, no other."""
    runs = {name.split("/")[1]: kept.sha256 for name, kept in statement.files.items() if _is_results(name)}
    folders: dict[str, Path] = {}
    for folder in results:
        given = hashlib.sha256(read_bounded(folder / RESULTS, remedy=RUNS_FOLDERS)).hexdigest()
        run = next((run for run, sha256 in runs.items() if sha256 == given and run not in folders), None)
        if run is None:
            raise RefusedError(f"{shown(folder)} does not hold results that were signed.", ORIGINAL)
        folders[run] = folder
    for run in runs.keys() - folders.keys():
        raise RefusedError(f"The results of run {shown(run)} were signed, and are not given.", "Give them as well.")
    return folders


def _require_as_signed(kept: Kept, beside: Path, folders: Mapping[str, Path]) -> None:
    """Require that a file is there as it was signed: in its run's folder, or `beside` the statement."""
    folder, inside = beside, kept.name
    if kept.name.startswith(f"{RUNS}/"):
        run, _, inside = kept.name.removeprefix(f"{RUNS}/").partition("/")
        if run not in folders:
            raise RefusedError(f"The statement names {shown(kept.name)}, and no results of that run.", ORIGINAL)
        folder = folders[run]
    file = folder / inside
    try:
        through_link = any(part.is_symlink() for part in (file, *file.parents[: inside.count("/")]))
        if not archive.is_plain(kept.name) or through_link or not file.is_file():
            raise RefusedError(f"{shown(file)} was signed, and is not there.", ORIGINAL)
        with file.open("rb", buffering=0) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(file, error) from error
    if digest != kept.sha256:
        raise RefusedError(f"{shown(file)} was changed after it was signed.", ORIGINAL)


def _require_no_other(statement: Statement, folders: Mapping[str, Path]) -> None:
    """Require that the evidence of each run holds what was signed and no more, but for the mark that a run leaves."""
    for run, folder in folders.items():
        try:
            found = set(files_in(folder / EVIDENCE, EVIDENCE)) - {f"{EVIDENCE}/{MARK}"}
        except OSError as error:
            raise _unreadable(folder / EVIDENCE, error) from error
        for name in sorted(found):
            if evidence_file(run, name) not in statement.files:
                raise RefusedError(
                    f"{shown(folder / name)} is not in the statement: it was added afterwards.", ORIGINAL
                )


def _unreadable(file: Path, error: OSError) -> UnreadableError:
    return UnreadableError(f"{shown(file)} cannot be read ({error.strerror}).", "Make it readable, then try again.")


def _is_results(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 3 and name == results_file(RUNS, parts[1])
