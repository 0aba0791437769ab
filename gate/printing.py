"""Lines to stdout, whichever letters it can print."""

from __future__ import annotations

import sys
from collections.abc import Iterable


def print_lines(lines: Iterable[str]) -> None:
    """Print each line; a letter that stdout's encoding lacks is printed as a question mark."""
    letters = sys.stdout.encoding or "utf-8"
    for line in lines:
        print(line.encode(letters, "replace").decode(letters))
