"""One archive of all that a verdict stands on, the same bytes each time, to be verified without a network."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from securesystemslib.signer import Key

from fixtures.errors import HarnessError
from gate import archive
from gate.envelope import RefusedError, opened
from gate.jsonfile import UnreadableError, read_bounded, shown
from gate.layout import RUNS, results_file
from gate.results import RESULTS
from gate.secretscan import Scanner
from gate.statement import STATEMENT, Kept, Statement, statement_in

AGAIN = "Run the gate again, and bundle what it wrote and the results that it read, as they are."


def write_bundle(bundle: Path, output: Path, results: Sequence[Path], key: Key) -> int:
    """Pack what the gate wrote to `output` and the evidence in `results`; return the bytes that were packed.

    The statement comes first, then the files that it names, by path. Each is hashed, and looked at for credentials, as
    it is packed; what was changed since it was signed, is missing, or holds a credential is not packed, and then there
    is no bundle.

    Args:
        bundle: the file to write; replaced when it is there.
        output: the folder that the gate was given with `--output`.
        results: every results folder of the candidate.
        key: whose signature the statement bears.

    Raises:
        HarnessError: a file cannot be packed; the reason names it.
    """
    sealed = read_bounded(output / STATEMENT, remedy=AGAIN)
    statement = statement_in(opened(sealed, key, output / STATEMENT))
    folders = _folders(statement, results)
    bundle.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=bundle.parent, prefix=f".{bundle.name}-", delete=False) as scratch:
        try:
            written = _write(scratch, sealed, statement, output, folders)
            scratch.flush()
            os.fsync(scratch.fileno())
            Path(scratch.name).replace(bundle)
        except BaseException:
            Path(scratch.name).unlink(missing_ok=True)
            raise
    bundle.chmod(0o644)
    return written


def _folders(statement: Statement, results: Sequence[Path]) -> dict[str, Path]:
    """The folder of each run that the statement names, found by what its results file holds."""
    given = {hashlib.sha256(read_bounded(folder / RESULTS, remedy=AGAIN)).hexdigest(): folder for folder in results}
    folders: dict[str, Path] = {}
    for name, kept in statement.files.items():
        top, _, rest = name.partition("/")
        run = rest.partition("/")[0]
        if top == RUNS and name == results_file(RUNS, run):
            if kept.sha256 not in given:
                raise HarnessError(
                    f"The results of run {shown(run)} are not given, or were changed since they were judged.", AGAIN
                )
            folders[run] = given[kept.sha256]
    return folders


def _write(stream: IO[bytes], sealed: bytes, statement: Statement, output: Path, folders: dict[str, Path]) -> int:
    stream.write(archive.header(STATEMENT, len(sealed)) + sealed + archive.padding(len(sealed)))
    for name in sorted(statement.files):
        kept = statement.files[name]
        if not archive.is_plain(name):
            raise HarnessError(f"The statement names {shown(repr(name))}, which leads out of its folder.", AGAIN)
        stream.write(archive.header(name, kept.bytes))
        _copy(_source(name, output, folders), stream, kept)
        stream.write(archive.padding(kept.bytes))
    written = stream.tell()
    stream.write(archive.end(written))
    return written


def _source(name: str, output: Path, folders: dict[str, Path]) -> Path:
    top, _, rest = name.partition("/")
    run, _, inside = rest.partition("/")
    return folders[run] / inside if top == RUNS and run in folders else output / name


def _copy(file: Path, stream: IO[bytes], kept: Kept) -> None:
    digest, scanner, size = hashlib.sha256(), Scanner(), 0
    try:
        if file.is_symlink() or not file.is_file():
            raise UnreadableError(f"{shown(file)} is a link, or not there.", AGAIN)
        with file.open("rb") as source:
            while piece := source.read(archive.CHUNK):
                size += len(piece)
                if size > kept.bytes:
                    break
                digest.update(piece)
                scanner.feed(piece)
                stream.write(piece)
    except OSError as error:
        raise UnreadableError(f"{shown(file)} cannot be read ({error.strerror}).", "Make it readable.") from error
    if size != kept.bytes or digest.hexdigest() != kept.sha256:
        raise RefusedError(f"{shown(file)} was changed after it was signed.", AGAIN)
    if scanner.found:
        raise RefusedError(
            f"{shown(file)} holds what looks like a credential, so it is not packed.",
            "Take the credential out of use, run the checks again, and see why it was kept.",
        )
