"""What a container of the workload sees, and what a run of it printed."""

from __future__ import annotations

import ast
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npu_bench import REPOSITORY, loop_control

from fake_npu import loop
from fake_npu.driver import make_node
from fake_npu.memory import Facts, header, serial_of
from fake_npu.workload import model


@dataclass
class Container:
    """What a container sees: its devices, their facts, the variable.

    Attributes:
        folder: holds the nodes in `dev`, the facts in `npu`.
        variables: the container's environment.
    """

    folder: Path
    data: Path
    variables: dict[str, str]

    def arguments(self, *more: str) -> list[str]:
        return [
            f"--device-pattern={self.folder}/dev/npu*",
            f"--facts-dir={self.folder}/npu",
            f"--data={self.data}",
            "--seconds-per-batch=0",
            *more,
        ]

    def node(self, index: int) -> Path:
        return self.folder / "dev" / f"npu{index}"

    def facts(self, index: int, **changes: object) -> Facts:
        path = str(self.node(index))
        fields: dict[str, Any] = {"node": "worker", "serial": serial_of("worker", path), "path": path}
        return Facts(**{**fields, "memory_bytes": 0, **changes})

    def write_facts(self, index: int, **changes: object) -> Facts:
        facts = self.facts(index, **changes)
        (self.folder / "npu" / f"npu{index}.json").write_text(facts.to_json())
        return facts

    def plug_in(self, index: int) -> None:
        """A device that is always there, and has no memory of its own."""
        self.node(index).symlink_to("/dev/null")

    def starts(self, *more: str) -> subprocess.Popen[str]:
        """The workload as a program of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "fake_npu.workload", *self.arguments(*more)],
            env={**os.environ, **self.variables, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@dataclass
class Ended:
    """How a run ended, and what it printed."""

    status: int
    out: str
    err: str

    def reports(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]

    def results(self) -> list[str]:
        return [line for line in self.out.splitlines() if line.startswith(f"{model.NAME}, result =  ")]

    def accuracy(self) -> dict[str, float]:
        (line,) = self.results()
        values: dict[str, float] = ast.literal_eval(line.removeprefix(f"{model.NAME}, result =  "))
        return values


Run = Callable[..., Ended]
"""Runs the workload in this process with these options."""


def attached(container: Container, index: int) -> tuple[int, int]:
    """A descriptor of a loop device that `npu<index>` leads to, with its header, and the size of its memory."""
    size = 64 << 10
    memory = container.folder / f"memory{index}"
    memory.write_bytes(header(container.facts(index, memory_bytes=size)).ljust(size, b"\0"))
    if not (container.folder / "dev" / "loop-control").exists():
        loop_control(container.folder / "dev")
    descriptor, minor = loop.attach(memory, container.folder / "dev" / "loop-control", container.folder / "dev" / "x")
    make_node(container.node(index), stat.S_IFBLK, os.makedev(loop.LOOP_MAJOR, minor))
    return descriptor, size
