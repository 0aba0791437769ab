"""A plain tar archive that is the same bytes each time, and a reader that accepts those bytes alone.

Not compressed: what a compressor writes differs from one version to the next, and a reader that unpacks nothing cannot
be made to unpack a bomb. The reader takes regular files with plain relative paths, rebuilds each header and compares it
byte by byte, so that links, devices, sparse files, extended headers and hidden bytes are all refused in one way.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple

from gate.envelope import RefusedError
from gate.jsonfile import shown

BLOCK = tarfile.BLOCKSIZE
RECORD = tarfile.RECORDSIZE
CHUNK = 2**20
LONGEST_NAME = 4400
"""Bytes; evidence has a path of 1,000 letters at most, each of which may be four bytes, below its run's folder."""
ANOTHER = "Ask whoever gave it for the original, as `npu-e2e bundle` wrote it; unpack it first if it is compressed."


class Member(NamedTuple):
    """A file of an archive: its path, its bytes, and what it holds, in pieces, to be read before the next member."""

    name: str
    size: int
    pieces: Iterator[bytes]


def header(name: str, size: int) -> bytes:
    """All that stands before the bytes of a file: of nobody, of no time, mode 0644."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """What stands after a file of `size` bytes."""
    return bytes(-size % BLOCK)


def end(written: int) -> bytes:
    """What stands at the end of an archive of which `written` bytes are written."""
    least = 2 * BLOCK
    return bytes(least + -(written + least) % RECORD)


def is_plain(name: str) -> bool:
    """Whether a path leads into the folder in which an archive is unpacked, and nowhere else."""
    parts = PurePosixPath(name).parts
    plain = name == "/".join(parts) and ".." not in parts and "\\" not in name and name.isprintable()
    return plain and bool(parts) and not name.startswith("/") and ":" not in parts[0]


def members(stream: BinaryIO) -> Iterator[Member]:
    """The files of an archive, in its order, each read once, in pieces of CHUNK bytes at most.

    Raises:
        RefusedError: it is not an archive as it is written here, to its last byte.
    """
    at = 0
    seen: set[str] = set()
    while True:
        block = _exactly(stream, BLOCK)
        if not any(block):
            break
        info, read = _info(block), block
        name = info.name
        if info.type == tarfile.GNUTYPE_LONGNAME:
            if not 0 < info.size <= LONGEST_NAME:
                raise RefusedError("The archive holds a path that is longer than any.", ANOTHER)
            long = _exactly(stream, info.size + len(padding(info.size)))
            block = _exactly(stream, BLOCK)
            read += long + block
            name = _decoded(long[: info.size].rstrip(b"\0"))
            info = _info(block)
        if not is_plain(name):
            raise RefusedError(f"The archive holds {shown(repr(name))}, which leads out of its folder.", ANOTHER)
        if info.size < 0 or header(name, info.size) != read:
            raise RefusedError(f"The archive holds {shown(name)} not as a plain file, or says more of it.", ANOTHER)
        if name in seen:
            raise RefusedError(f"The archive holds {shown(name)} twice.", ANOTHER)
        seen.add(name)
        pieces = _pieces(stream, info.size)
        yield Member(name, info.size, pieces)
        for _ in pieces:
            pass
        if any(_exactly(stream, len(padding(info.size)))):
            raise RefusedError(f"The archive hides bytes after {shown(name)}.", ANOTHER)
        at += len(read) + info.size + len(padding(info.size))
    rest = stream.read(RECORD + 1)
    if block + rest != end(at):
        raise RefusedError("The archive goes on after its end, or breaks off before it.", ANOTHER)


def _info(block: bytes) -> tarfile.TarInfo:
    """The fields of a header; the path in it may end within a letter, where a longer one stands before it."""
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise RefusedError("This is no archive of the gate, or it is damaged.", ANOTHER) from error


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise RefusedError("The archive holds a path that is not UTF-8.", ANOTHER) from error


def _pieces(stream: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        piece = _exactly(stream, min(size, CHUNK))
        size -= len(piece)
        yield piece


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise RefusedError("The archive breaks off before its end.", ANOTHER)
    return data
