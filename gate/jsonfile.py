"""JSON of unknown origin, read without believing it."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import msgspec

from fixtures.errors import HarnessError

MOST_BYTES = 64 * 2**20
"""Of one results file; a run of a thousand checks has a hundredth of it."""
AGAIN = "Run the checks again, and keep the results folder as the run leaves it."
HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of a surrogate pair; alone it is a letter that no file can hold."""


class UnreadableError(HarnessError):
    """A file of results that cannot be believed: damaged, unknown, or not what it says it is."""


def read_bounded(file: Path, most: int = MOST_BYTES, remedy: str = AGAIN) -> bytes:
    """The bytes of a regular file of at most `most` bytes; `remedy` is what to do where it is none.

    Raises:
        UnreadableError: it is not there, cannot be read, is a link, a pipe or the like, or is larger.
    """
    try:
        if file.is_symlink() or not file.is_file():
            what = "is not there" if is_absent(file) else "is a link or no file"
            raise UnreadableError(f"{shown(file)} {what}.", remedy)
        with file.open("rb") as stream:
            raw = stream.read(most + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableError(
            f"{shown(file)} cannot be read ({reason}).", "Make it readable, then try again."
        ) from error
    if len(raw) > most:
        size = f"{most >> 20} MiB" if most >> 20 else f"{most >> 10} KiB"
        raise UnreadableError(f"{shown(file)} is larger than {size}, which it never is.", remedy)
    return raw


def is_absent(path: Path) -> bool:
    """Whether there is nothing of this name, not even a link; false where that cannot be told, as nobody may look."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def parse(raw: bytes, file: Path) -> Any:
    """JSON, with every key once, every number finite and every text one that can be written again.

    Raises:
        UnreadableError: it is anything else.
    """
    found = _parsed_if_plain(raw)
    if found is not None:
        return found
    try:
        text = raw.decode("utf-8")
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_finite, parse_float=_float)
        if HALF.search(text):
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise UnreadableError(f"{shown(file)} is nested deeper than any results are.", AGAIN) from None
    except ValueError as error:  # of JSON, of UTF-8, or of a number with thousands of digits
        raise UnreadableError(f"{shown(file)} is damaged: {shown(str(error))}.", AGAIN) from None
    return found


def _parsed_if_plain(raw: bytes) -> Any:
    """JSON that, written again, is the same text but for its blanks, as that of every run is; None for any other.

    Such a text hides nothing: a key that is there twice, a number that is none or one that is not as it was read would
    be written otherwise. It takes a third of the time of reading piece by piece, which tells what is wrong.
    """
    try:
        found = msgspec.json.decode(raw)
        return found if msgspec.json.encode(found) == msgspec.json.format(raw, indent=-1) else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def _finite(word: str) -> Any:
    raise ValueError(f"{word} is not a number of JSON")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:40]} is larger than any number here")
    return value


def shown(text: object, most: int = 300) -> str:
    """A text of unknown origin on one line, `most` letters of it at most, with nothing that a terminal obeys."""
    line = text if isinstance(text, str) and len(text) <= most else str(text)[: most + 1]
    if not line.isprintable():
        line = "".join(letter if letter.isprintable() else " " for letter in line)
    return line if len(line) <= most else f"{line[: most - 1]}…"
