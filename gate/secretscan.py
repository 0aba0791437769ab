"""Whether a file holds a credential: `fixtures.redact` on the lines that could, so that a gigabyte takes seconds."""

from __future__ import annotations

import re

from fixtures.redact import redact

NEEDLES = (
    *(b"private key-----", b"eyj", b"ltai", b"sts.", b"authorization", b"bearer", b"token", b"passw", b"secret"),
    *(b"access", b"signature", b"credential", b"client-key-data", b'"auth', b"'auth"),
)
"""In lower case; each credential that `redact` knows by its look stands on a line with one of them, or in a URL."""
IN_URL = re.compile(rb"://[^/\s]{1,512}@")
MARK = re.compile("[█▓▒░■]{5}")
NAMES_A_SECRET = re.compile(r"(--pull-secret|\bpull[_-]secret\"?)(\\?[\"']?[=:\s])")
"""Before the name of a Secret, which is no secret."""
LONGEST = 2**16
"""Bytes of a line that are looked at together; what is longer is cut, with this much of it seen twice."""


class Scanner:
    """Looks at a file as it is read, piece by piece."""

    def __init__(self) -> None:
        self.found = False
        self._rest = b""

    def feed(self, piece: bytes) -> None:
        """Look at the next bytes."""
        data = self._rest + piece
        cut = data.rfind(b"\n", 0, max(len(data) - 1, 0)) + 1
        last = (
            data.rfind(b"\n", 0, max(cut - 1, 0)) + 1
        )  # its last line is seen again, as a value may follow on the next
        if len(data) - last > LONGEST:
            last = len(data) - LONGEST
        self.found = self.found or holds_secret(data)
        self._rest = data[last:]


def holds_secret(data: bytes) -> bool:
    """Whether `data` holds what looks like a credential, and not like the mark of one that was taken out."""
    lower = data.lower()
    lines: dict[int, int] = {}
    for needle in NEEDLES:
        at = lower.find(needle)
        while at >= 0:
            start, stop = _lines(lower, at)
            lines[start] = stop
            at = lower.find(needle, _line_end(lower, at))
    for match in IN_URL.finditer(data) if b"@" in data else ():
        start, stop = _lines(lower, match.start())
        lines[start] = stop
    text = b"\n".join(data[start:stop] for start, stop in sorted(lines.items())).decode(errors="replace")
    text = NAMES_A_SECRET.sub(r"--name\2", text)
    return MARK.sub("█████", redact(text)) != MARK.sub("█████", text)


def _line_end(data: bytes, at: int) -> int:
    stop = data.find(b"\n", at)
    return len(data) if stop < 0 else stop


def _lines(data: bytes, at: int) -> tuple[int, int]:
    """The line that holds `at` and the next."""
    start = data.rfind(b"\n", 0, at) + 1
    return start, _line_end(data, min(_line_end(data, at) + 1, len(data)))
