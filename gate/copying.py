"""Copies of what was judged, as it was judged; loads little, as it is done in processes that start for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from gate.jsonfile import UnreadableError, read_bounded, shown

Copy = tuple[Path, str, Path]
"""A file, its SHA-256 in hex when it was judged, and where its copy is wanted; folders are made."""


def copied(files: Sequence[Copy]) -> list[tuple[int, str]]:
    """Copy each of them; of each its bytes, and why there is no copy in a sentence, or nothing.

    Raises:
        OSError: a copy cannot be written.
    """
    return [_copied(*file) for file in files]


def _copied(source: Path, sha256: str, target: Path) -> tuple[int, str]:
    try:
        raw = read_bounded(source)
    except UnreadableError as error:
        return 0, error.cause
    if hashlib.sha256(raw).hexdigest() != sha256:
        return 0, f"{shown(source)} was changed while it was judged."
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(raw)
    return len(raw), ""
