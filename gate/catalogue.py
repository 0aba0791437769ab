"""The catalogue: every check that there is, as `npu-e2e catalogue --format json` prints it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from gate.decision import NamedFile
from gate.jsonfile import UnreadableError, parse, read_bounded, shown
from gate.policy import PROFILES
from gate.results import Level

CATALOGUE = "catalogue.json"
"""Its name in a results folder."""
ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
FORMAT = 1
REMEDY = "Make it anew with `npu-e2e catalogue --format json`."


@dataclass(frozen=True)
class Entry:
    """One check: its id, how much it counts, what it claims, where it belongs, and what a target must have for it."""

    id: str
    level: Level
    claim: str
    profile: str
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Catalogue:
    """All checks by id, in the order of the file, and the file."""

    entries: dict[str, Entry]
    file: NamedFile


def read_catalogue(file: Path) -> Catalogue:
    """The catalogue in `file`.

    Raises:
        UnreadableError: it is not there, damaged, empty, names a check twice, or one that nobody could judge.
    """
    return catalogue_of(read_bounded(file), file)


def catalogue_of(raw: bytes, file: Path) -> Catalogue:
    """The catalogue in `raw`, called `file`.

    Raises:
        UnreadableError: as for `read_catalogue`.
    """
    content = parse(raw, file)
    checks = content.get("checks") if isinstance(content, dict) and content.get("format") == FORMAT else None
    if not isinstance(checks, list) or not checks:
        raise UnreadableError(f"{shown(file)} is not a list of checks in format {FORMAT}.", REMEDY)
    entries: dict[str, Entry] = {}
    for number, one in enumerate(checks):
        entry = _entry(one)
        if entry is None:
            raise UnreadableError(f"{shown(file)} holds at {number} what is no check: {shown(one, 120)}.", REMEDY)
        if entry.id in entries:
            raise UnreadableError(f"{shown(file)} names the check {entry.id} twice.", REMEDY)
        entries[entry.id] = entry
    return Catalogue(entries, NamedFile(str(file), hashlib.sha256(raw).hexdigest()))


def _entry(one: Any) -> Entry | None:
    if not isinstance(one, dict):
        return None
    words = [one.get(key) for key in ("id", "level", "claim", "profile")]
    needs = one.get("needs", [])
    if not all(isinstance(word, str) and word for word in words):
        return None
    if not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
        return None
    identity, level, claim, profile = cast("list[str]", words)
    if not ID.fullmatch(identity) or level not in get_args(Level) or profile not in PROFILES["release"]:
        return None
    return Entry(identity, cast("Level", level), claim, profile, tuple(needs))
