"""The NPUs that this container was given: found, proven to be the right ones, and used as memory for the model."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fake_npu.memory import HEADER_BYTES, Facts, FactsError, facts_from_json, read_header

Result = TypeVar("Result")


class NpuError(Exception):
    """No NPU can be used; one clear line."""


@dataclass(frozen=True)
class Npu:
    """One NPU of this container.

    Attributes:
        id: as the variable names it.
        path: the device node.
        facts: what Allocate said that it is; None when nothing was said and nothing is required.
    """

    id: str
    path: Path
    facts: Facts | None

    def check(self) -> None:
        """The device can be opened, and is the one that it should be.

        Raises:
            NpuError: it cannot, or is another.
        """
        self._opened(os.O_RDONLY, lambda _: None)

    def write(self, data: bytes) -> None:
        """Put the model into the device's memory.

        Raises:
            NpuError: the device is gone, another, or too small.
        """
        if self.has_memory:
            wrote = self._opened(os.O_RDWR, lambda descriptor: os.pwrite(descriptor, data, HEADER_BYTES))
            if wrote != len(data):
                raise NpuError(f"NPU {self.id}: {self.path} took {wrote} of {len(data)} bytes")

    def read(self, size: int) -> bytes:
        """The model out of the device's memory; opens and checks the device anew.

        Raises:
            NpuError: the device is gone, another, or holds less.
        """
        data = self._opened(os.O_RDONLY, lambda descriptor: os.pread(descriptor, size, HEADER_BYTES))
        if len(data) != size:
            raise NpuError(f"NPU {self.id}: {self.path} gave {len(data)} of {size} bytes")
        return data

    @property
    def has_memory(self) -> bool:
        """Whether the device can hold the model."""
        return self.facts is not None and self.facts.memory_bytes > HEADER_BYTES

    @property
    def numbers(self) -> str:
        """`major:minor` of the device node."""
        number = self.path.stat().st_rdev
        return f"{os.major(number)}:{os.minor(number)}"

    def _opened(self, flags: int, use: Callable[[int], Result]) -> Result:
        descriptor = -1
        try:
            descriptor = os.open(self.path, flags | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
            mode = os.fstat(descriptor).st_mode
            if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)):
                raise NpuError(f"NPU {self.id}: {self.path} is no device")
            if self.facts and self.facts.memory_bytes:
                found = read_header(descriptor)
                if found != self.facts:
                    raise NpuError(f"NPU {self.id}: {self.path} is {found.serial}, given was {self.facts.serial}")
            return use(descriptor)
        except OSError as error:
            raise NpuError(f"NPU {self.id}: {self.path} cannot be used: {error.strerror}") from error
        except FactsError as error:
            raise NpuError(f"NPU {self.id}: {self.path} {error}") from error
        finally:
            if descriptor >= 0:
                os.close(descriptor)


def given(
    environment: Mapping[str, str],
    *,
    variable: str,
    pattern: str,
    facts_required: bool,
    facts_dir: Path,
) -> list[Npu]:
    """The NPUs of this container, each opened and checked once.

    Args:
        environment: the container's variables.
        variable: the one that names its devices.
        pattern: glob of all device nodes of the kind; a node that the variable does not account for is an error.
        facts_required: whether a device without facts is an error.
        facts_dir: where the facts are mounted.

    Raises:
        NpuError: there is none, one cannot be opened, or variable, facts and nodes do not agree.
    """
    named = environment.get(variable)
    nodes = {Path(found) for found in glob.glob(pattern)}  # noqa: PTH207 - the pattern is absolute
    if not named:
        others = f", although {_listed(nodes)} is here" if nodes else ""
        raise NpuError(f"no NPU was given: {variable} is not set{others}")
    npus = [_npu(name, pattern, facts_dir, facts_required=facts_required) for name in named.split(",")]
    for npu in npus:
        if npu.path not in nodes:
            raise NpuError(f"NPU {npu.id}: {variable} names it, but there is no {npu.path}")
    if extra := nodes - {npu.path for npu in npus}:
        raise NpuError(f"{_listed(extra)} is here, although {variable} is {named}")
    for npu in npus:
        npu.check()
    return npus


def _npu(name: str, pattern: str, facts_dir: Path, *, facts_required: bool) -> Npu:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise NpuError(f"{name!r} is not the id of an NPU")
    path = facts_dir / f"{name}.json"
    try:
        facts = facts_from_json(path.read_bytes())
    except FileNotFoundError:
        if facts_required:
            raise NpuError(f"NPU {name}: there is no {path} that says what it is") from None
        return Npu(name, Path(pattern).parent / name, None)
    except (OSError, FactsError) as error:
        raise NpuError(f"NPU {name}: {path}: {error}") from error
    return Npu(name, Path(facts.path), facts)


def _listed(paths: set[Path]) -> str:
    return ", ".join(sorted(str(path) for path in paths))
