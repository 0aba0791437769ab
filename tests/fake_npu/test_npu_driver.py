"""The driver: nodes with numbers of their own, memory behind them, and an end that leaves nothing."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from npu_bench import Program, loop_control, loop_devices_refused, settings

from fake_npu import loop
from fake_npu.config import Config
from fake_npu.memory import HEADER_BYTES, Facts, facts_from_json, read_header, serial_of

pytest_plugins = ["npu_fixtures"]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="making device nodes takes root")
with_loop_devices = pytest.mark.skipif(bool(loop_devices_refused()), reason=loop_devices_refused())
MEMORY = 64 << 10


@contextmanager
def driver(config: Config) -> Iterator[Program]:
    """The driver runs and has made its devices; at the end it stops cleanly, unless the test has ended it."""
    program = Program.start("fake_npu.driver", config)
    try:
        program.until("driver-ready")
        yield program
        if program.process.poll() is None:
            assert program.end() == 0
    finally:
        program.kill()


@contextmanager
def opened(path: Path, flags: int = os.O_RDWR) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def on_loop_devices(folder: Path) -> Config:
    loop_control(folder / "dev")
    return settings(folder, backing="loop", memory_bytes=MEMORY)


def left(folder: Path) -> list[str]:
    """What is in the folder of devices, but for the machine's own."""
    return sorted(path.name for path in (folder / "dev").iterdir() if path.name != "loop-control")


@as_root
@pytest.mark.parametrize(("kind", "is_kind"), [("c", stat.S_ISCHR), ("b", stat.S_ISBLK)])
def test_bare_nodes_have_the_numbers_that_were_asked_for(folder: Path, kind: str, is_kind: object) -> None:
    config = settings(folder, node_type=kind, node_major=4, node_minor_base=60)
    with driver(config) as program:
        for index in range(2):
            status = (folder / "dev" / f"npu{index}").stat()
            assert callable(is_kind)
            assert is_kind(status.st_mode)
            assert stat.S_IMODE(status.st_mode) == 0o660
            assert (os.major(status.st_rdev), os.minor(status.st_rdev)) == (4, 60 + index)
            facts = facts_from_json(config.facts_path_of(index).read_bytes())
            path = f"/dev/npu{index}"
            assert facts == Facts("worker", serial_of("worker", path), path, 0)
        assert program.until("driver-ready")["devices"] == 2
    assert left(folder) == []
    assert len(program.named("device-removed")) == 2


@with_loop_devices
def test_loop_devices_differ_hold_their_facts_and_keep_what_is_written(folder: Path) -> None:
    config = on_loop_devices(folder)
    with driver(config):
        nodes = [folder / "dev" / f"npu{index}" for index in range(2)]
        numbers = {node.stat().st_rdev for node in nodes}
        assert len(numbers) == 2
        assert {os.major(number) for number in numbers} == {loop.LOOP_MAJOR}
        serials = set()
        for index, node in enumerate(nodes):
            with opened(node) as device:
                assert os.lseek(device, 0, os.SEEK_END) == MEMORY
                facts = read_header(device)
                assert facts == facts_from_json(config.facts_path_of(index).read_bytes())
                assert (facts.path, facts.memory_bytes) == (f"/dev/npu{index}", MEMORY)
                serials.add(facts.serial)
                os.pwrite(device, f"model {index}".encode(), HEADER_BYTES)
        for index, node in enumerate(nodes):
            with opened(node, os.O_RDONLY) as device:
                assert os.pread(device, 7, HEADER_BYTES) == f"model {index}".encode()
                assert loop.holds(device, config.memory_path_of(index))
                assert not loop.holds(device, config.memory_path_of(1 - index))
        assert len(serials) == 2
        assert (config.facts_path_of(0).stat().st_mode & 0o777, config.memory_path_of(0).stat().st_mode & 0o777) == (
            0o444,
            0o600,
        )
    assert left(folder) == []


@with_loop_devices
def test_a_second_driver_takes_the_devices_over_and_the_last_one_removes_them(folder: Path) -> None:
    config = on_loop_devices(folder)
    with driver(config) as old:
        before = [(folder / "dev" / f"npu{index}").stat().st_rdev for index in range(2)]
        with opened(folder / "dev" / "npu0") as held:
            os.pwrite(held, b"model", HEADER_BYTES)
            with driver(config) as new:
                assert old.end() == 0
                assert old.named("device-removed") == []
                assert [(folder / "dev" / f"npu{index}").stat().st_rdev for index in range(2)] == before
                assert os.pread(held, 5, HEADER_BYTES) == b"model"
            assert len(new.named("device-removed")) == 2
            assert left(folder) == []
            assert os.pread(held, 5, HEADER_BYTES) == b"model"  # who holds a device keeps it


@with_loop_devices
def test_a_driver_after_a_killed_one_makes_them_anew(folder: Path) -> None:
    config = on_loop_devices(folder)
    with driver(config) as killed:
        killed.kill()
    assert left(folder) == ["npu0", "npu1"]
    serial = facts_from_json(config.facts_path_of(0).read_bytes()).serial
    with driver(config), opened(folder / "dev" / "npu0") as device:
        assert loop.holds(device, config.memory_path_of(0))
        assert read_header(device).serial == serial
    assert left(folder) == []


@with_loop_devices
def test_what_is_no_loop_device_is_none_of_ours(folder: Path) -> None:
    (folder / "memory").write_bytes(bytes(8192))
    with opened(Path("/dev/null")) as null:
        assert not loop.holds(null, folder / "memory")


@as_root
def test_an_interrupt_ends_it_as_well(folder: Path) -> None:
    with driver(settings(folder)) as program:
        assert program.end(signal.SIGINT) == 0
    assert program.until("driver-stopping")["signal"] == "SIGINT"
    assert left(folder) == []


@pytest.mark.parametrize("backing", ["loop", "node"])
def test_a_device_that_cannot_be_made_is_one_line_and_status_1_and_leaves_nothing(folder: Path, backing: str) -> None:
    """Without loop-control, or with a folder in the way of the second node."""
    (folder / "dev" / "npu1").mkdir()
    (folder / "dev" / "npu1" / "file").touch()
    program = Program.start("fake_npu.driver", settings(folder, backing=backing))
    assert program.wait() == 1
    refused = program.until("device-refused")
    assert refused["level"] == "error"
    assert str(folder / "dev") in refused["reason"] or os.geteuid() != 0
    assert left(folder) == ["npu1"]
