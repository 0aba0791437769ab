"""In which line of a TOML file a key stands: tomllib tells it of mistakes in the syntax alone."""

from __future__ import annotations

import re

Place = tuple[str | int, ...]
"""Keys from the top, with the number (from 0) of a table of an array after the array's name."""
HEADER = re.compile(r"\s*(\[\[?)\s*([^\]#]+?)\s*\]\]?\s*(#.*)?$")
KEY = re.compile(r"\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"|'[^']*'))*)\s*=")
WORD = re.compile(r"[\w-]+|\"([^\"]*)\"|'([^']*)'")


def lines_of(text: str) -> dict[Place, int]:
    """The line, counted from 1, of every table and key that begins a line of `text`."""
    found: dict[Place, int] = {}
    arrays: dict[tuple[str, ...], int] = {}
    table: Place = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := HEADER.match(line):
            names = _words(header[2])
            table = tuple(names)
            if header[1] == "[[":
                arrays[names] = arrays.get(names, -1) + 1
                table = (*names, arrays[names])
                found.setdefault(names, number)
            found.setdefault(table, number)
        elif key := KEY.match(line):
            found.setdefault((*table, *_words(key[1])), number)
    return found


def line_of(place: Place, lines: dict[Place, int]) -> int:
    """The line of `place`, or of the nearest table that holds it; 1 for the file itself."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def _words(dotted: str) -> tuple[str, ...]:
    return tuple(word[1] or word[2] or word[0] for word in WORD.finditer(dotted))
