"""What is wrong with files that were kept; loads next to nothing, as it is done in processes that start for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

Kept = tuple[Path, str, str, int]
"""The results folder, the path in it, its SHA-256 in hex (empty: not known) and its bytes."""


def problems_of(files: Sequence[Kept]) -> list[str]:
    """Of each file what is wrong with it, in words that follow its name; empty when it is what was kept."""
    return [_problem(*file) for file in files]


def _problem(folder: Path, name: str, sha256: str, size: int) -> str:
    file = folder / name
    try:
        if any(part.is_symlink() for part in (file, *file.parents[: name.count("/")])):
            return "is a link"
        if not file.is_file():
            return "is not there"
        if not sha256:
            return ""  # format 1 kept no hashes
        if file.stat().st_size != size:
            return "is not as long as it was"
        with file.open("rb", buffering=0) as stream:
            digest = hashlib.file_digest(stream, "sha256")
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    return "" if digest.hexdigest() == sha256 else "was changed after the run"
