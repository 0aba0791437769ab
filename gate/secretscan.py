"""Whether a file holds a credential: `fixtures.redact` on the lines that could, so that a gigabyte takes seconds."""

from __future__ import annotations

import re

from fixtures.redact import redact

NEEDLES = (
    *(b"private key", b"eyj", b"ltai", b"sts.", b"auth", b"bearer", b"token", b"passw", b"secret", b"access"),
    *(b"signature", b"client-key-data", b"kubeconfig"),
    # how a private key, a JSON web token, JSON with indents (as docker writes it) and a kubeconfig begin in base64
    *(b"ls0tls1crudjti", b"zxlkagjhy2lpa", b"ewogic", b"ewoji", b"yxbpvmvyc2lvb", b"fwavzlcnnpb2", b"hcglwzxjzaw9u"),
)
"""In lower case; each credential that `redact` knows by its look stands on a line with one of them, or in a URL."""
IN_URL = re.compile(rb"://[^/\s]{1,512}@")
MARK = re.compile(r"(?:[█▓▒░■]|\\+u25(?:88|93|92|91|a0)){5}", re.IGNORECASE)
"""What stands for a credential that was taken out, also as JSON in ASCII has it."""
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
    text = b"\n".join(data[start:stop] for start, stop in _joined(lines)).decode(errors="replace")
    text = MARK.sub("█████", text)
    return redact(text) != text


def _joined(lines: dict[int, int]) -> list[tuple[int, int]]:
    """Each line once: what overlaps is one piece."""
    pieces: list[tuple[int, int]] = []
    for start, stop in sorted(lines.items()):
        if pieces and start <= pieces[-1][1]:
            pieces[-1] = pieces[-1][0], max(stop, pieces[-1][1])
        else:
            pieces.append((start, stop))
    return pieces


def _line_end(data: bytes, at: int) -> int:
    stop = data.find(b"\n", at)
    return len(data) if stop < 0 else stop


def _lines(data: bytes, at: int) -> tuple[int, int]:
    """The line that holds `at` and the next, and the one before where a variable's value may stand before its name."""
    start = data.rfind(b"\n", 0, at) + 1
    stop = _line_end(data, at)
    if data.find(b"name", start, at) >= 0:
        start = data.rfind(b"\n", 0, max(start - 1, 0)) + 1
    return start, _line_end(data, min(stop + 1, len(data)))
