"""Text of unknown origin, made harmless: for a page, for a chart's label, for Markdown."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from fixtures.redact import redact
from gate.jsonfile import shown

EXCERPT_BYTES = 4096
EXCERPT_LINES = 40
MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|<>~&@$:])")
MENTION = re.compile(r"[@#]|\bGH-(?=\d)", re.IGNORECASE)
"""After which GitHub reads a name or a number, whatever backslash is before it (github/cmark-gfm#181)."""
ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.?)")


def clean(text: str) -> str:
    """`text` without what a terminal or a reader's eye obeys: escapes, control characters, changes of direction."""
    plain = ESCAPE.sub("", text)
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in plain)


def label(text: object, most: int = 40) -> str:
    """A chart's label: on one line, of letters that every font has."""
    return shown(text, most).encode("ascii", "replace").decode()


def markdown_text(text: object, most: int = 400) -> str:
    """`text` as plain words of Markdown: no markup, no HTML, no link, nobody mentioned."""
    plain = shown(ESCAPE.sub("", str(text)), most)
    safe = MARKDOWN.sub(r"\\\1", plain).replace("www.", "www\\.")
    return MENTION.sub("\\g<0>\N{ZERO WIDTH SPACE}", safe)


def day(seconds: float) -> str:
    """A time to the second, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float) -> str:
    """A duration in the unit that suits it."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def number(value: float | None, unit: str) -> str:
    """A number with its unit: fractions as per cent, to a thousandth of a point."""
    if value is None:
        return "none"
    return f"{100 * value:.3f} %" if unit == "fraction" else f"{value:.4g} {unit}".strip()


def excerpt(file: Path) -> str:
    """The last lines of a file of evidence, without credentials; empty when it is not text or cannot be read."""
    try:
        if file.is_symlink() or not file.is_file():
            return ""
        with file.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(size - EXCERPT_BYTES, 0))
            raw = stream.read(EXCERPT_BYTES)
    except (OSError, ValueError):
        return ""
    if b"\0" in raw:
        return ""
    lines = raw.decode(errors="replace").splitlines()
    if size > EXCERPT_BYTES:
        lines = lines[1:] or [line[-500:] for line in lines]
    return redact(clean("\n".join(lines[-EXCERPT_LINES:])))
