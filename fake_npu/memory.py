"""What lies in an NPU's memory, and the file of facts that says what should: driver and workload both read this.

The first 4096 bytes of a device are its header: `MAGIC`, then the facts as JSON, padded with NULs. The rest is working
memory. The facts are also a file on the host, which Allocate mounts into the container: a container whose device and
facts do not agree was given the wrong one.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass

MAGIC = b"FAKE-NPU 1\n"
HEADER_BYTES = 4096
FACTS_DIR = "/run/npu"
"""Where a container finds the facts of its devices, one file `<id>.json` each."""


@dataclass(frozen=True)
class Facts:
    """What identifies one device.

    Attributes:
        node: the node's name.
        serial: sixteen hex digits, the same after every restart, different for every device of every node.
        path: the device node.
        memory_bytes: size of the memory, header included; 0 when the device has none.
    """

    node: str
    serial: str
    path: str
    memory_bytes: int

    def to_json(self) -> str:
        """The facts as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)


class FactsError(ValueError):
    """The text is not the facts of a device."""


def facts_from_json(text: str | bytes) -> Facts:
    """Read what `Facts.to_json` wrote.

    Raises:
        FactsError: it is something else.
    """
    try:
        fields = json.loads(text)
        facts = Facts(**fields)
    except (ValueError, TypeError, RecursionError) as error:
        raise FactsError(f"not the facts of a device: {error}") from None
    for name, kind in (("node", str), ("serial", str), ("path", str), ("memory_bytes", int)):
        if type(getattr(facts, name)) is not kind:
            raise FactsError(f"not the facts of a device: {name} is {getattr(facts, name)!r}")
    return facts


def serial_of(node: str, path: str) -> str:
    """The serial number of the device at `path` of `node`."""
    return hashlib.sha256(f"{node}\0{path}".encode()).hexdigest()[:16]


def header(facts: Facts) -> bytes:
    """The first `HEADER_BYTES` of the device."""
    return (MAGIC + facts.to_json().encode()).ljust(HEADER_BYTES, b"\0")


def read_header(descriptor: int) -> Facts:
    """The facts that an open device holds.

    Raises:
        OSError: it cannot be read.
        FactsError: it holds something else, or nothing any more.
    """
    raw = os.pread(descriptor, HEADER_BYTES, 0)
    if not raw.startswith(MAGIC):
        raise FactsError("holds nothing" if not raw else "does not begin like an NPU's memory")
    return facts_from_json(raw.removeprefix(MAGIC).rstrip(b"\0"))
