"""The driver: makes the NPUs of a node, `/dev/npu0` and on, and keeps them as long as it runs.

Each is a device of its own with a major and minor number of its own, so that the device cgroup of a container decides
who may open which. On stock kernels the kind that offers this with memory behind it is the loop device: the driver
attaches one file to each, lets the kernel free it when its last user is gone, and makes a node beside the host's own.
Attaching takes a privileged container; nothing else of the fake NPU does.

`python -m fake_npu.driver` runs until SIGTERM or SIGINT, then removes the nodes unless another driver holds them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from fake_npu import events, loop
from fake_npu.config import EXIT_USAGE, Config, ConfigError, load
from fake_npu.memory import HEADER_BYTES, Facts, header, serial_of

NODE_MODE = 0o660
EXIT_CANNOT_MAKE = 1
"""Exit status when the kernel or its permissions do not let the driver make a device."""


def run(environment: dict[str, str]) -> int:
    """Make the devices, wait for a signal, remove them.

    Returns:
        0 after SIGTERM or SIGINT, `EXIT_USAGE` for a wrong configuration, `EXIT_CANNOT_MAKE` when a device cannot be
        made.
    """
    events.to_stdout()
    try:
        config = load(environment)
    except ConfigError as error:
        events.error("config-refused", reason=str(error))
        return EXIT_USAGE
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        with contextlib.ExitStack() as devices:
            for index in range(config.pool):
                devices.enter_context(device(config, index))
            events.info("driver-ready", node=config.node, devices=config.pool, backing=config.backing)
            caught = signal.sigwait({signal.SIGTERM, signal.SIGINT})
            events.info("driver-stopping", signal=signal.Signals(caught).name)
    except OSError as error:
        events.error("device-refused", reason=str(error), backing=config.backing)
        return EXIT_CANNOT_MAKE
    return 0


@contextlib.contextmanager
def device(config: Config, index: int) -> Iterator[Path]:
    """Device `index` exists, its node at the path that is given, its facts and memory written.

    A device that another driver of this node holds (an upgrade without a gap) is taken over as it is. The node is
    removed at the end by the last driver that holds it.

    Raises:
        OSError: it cannot be made.
    """
    memory, node = config.memory_path_of(index), config.seen_path_of(index)
    memory.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = config.host_path_of(index)
    size = config.memory_bytes if config.backing == "loop" else 0
    facts = Facts(node=config.node, serial=serial_of(config.node, path), path=path, memory_bytes=size)
    holder = os.open(memory, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    descriptor = -1
    try:
        fcntl.flock(holder, fcntl.LOCK_SH)
        os.truncate(holder, max(size, HEADER_BYTES))
        os.pwrite(holder, header(facts), 0)
        _replace(config.facts_path_of(index), facts.to_json() + "\n")
        if config.backing == "loop":
            descriptor = _loop_device(config, memory, node)
        else:
            kind = stat.S_IFCHR if config.node_type == "c" else stat.S_IFBLK
            make_node(node, kind, os.makedev(config.node_major, config.node_minor_base + index))
        numbers = node.stat().st_rdev
        events.info("device-made", path=path, serial=facts.serial, major=os.major(numbers), minor=os.minor(numbers))
        yield node
    finally:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            node.unlink(missing_ok=True)
            events.info("device-removed", path=path)
        os.close(holder)
        if descriptor >= 0:
            os.close(descriptor)


def _loop_device(config: Config, memory: Path, node: Path) -> int:
    """A descriptor that holds the loop device of `memory`, to which `node` leads afterwards."""
    if node.is_block_device() and os.major(node.stat().st_rdev) == loop.LOOP_MAJOR:
        held = os.open(node, os.O_RDWR | os.O_CLOEXEC)
        if loop.holds(held, memory):
            return held
        os.close(held)
    scratch = node.with_name(f".{node.name}.new")
    held, minor = loop.attach(memory, config.dev_dir / "loop-control", scratch)
    make_node(node, stat.S_IFBLK, os.makedev(loop.LOOP_MAJOR, minor))
    return held


def make_node(node: Path, kind: int, numbers: int) -> None:
    """`node` is a device node of this kind (S_IFCHR or S_IFBLK) and these numbers; in one step, never half made."""
    scratch = node.with_name(f".{node.name}.new")
    scratch.unlink(missing_ok=True)
    os.mknod(scratch, kind | NODE_MODE, numbers)
    try:
        scratch.chmod(NODE_MODE)
        scratch.replace(node)
    except OSError:
        scratch.unlink()
        raise


def _replace(path: Path, text: str) -> None:
    scratch = path.with_suffix(".new")
    scratch.write_text(text)
    scratch.chmod(0o444)
    scratch.replace(path)


if __name__ == "__main__":
    sys.exit(run(dict(os.environ)))
