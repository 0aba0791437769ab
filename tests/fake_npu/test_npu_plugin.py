"""The plugin as a program: how it ends, and what it says when it cannot go on."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import grpc
from npu_bench import PATIENCE, SOCKET, Kubelet, Program, allocate, npuctl_of, plug_in, plugin, settings

pytest_plugins = ["npu_fixtures"]


def test_sigterm_ends_streams_without_an_error_removes_the_socket_and_is_status_0(
    folder: Path, kubelet: Kubelet
) -> None:
    with plugin(settings(folder)) as program:
        program.until("registered")
        kubelet.until(lambda: kubelet.lists)
        assert program.end() == 0
        kubelet.until(lambda: kubelet.stream_ends)
    assert kubelet.stream_ends == ["OK"]
    assert not (folder / "plugins" / SOCKET).exists()
    assert [line["event"] for line in program.events[-3:]] == ["plugin-stopping", "stream-closed", "plugin-stopped"]


def test_an_interrupt_ends_it_as_well_and_without_a_kubelet_too(folder: Path) -> None:
    with plugin(settings(folder)) as program:
        program.until("serving")
        assert program.end(signal.SIGINT) == 0
    assert not (folder / "plugins" / SOCKET).exists()


def test_a_call_that_hangs_does_not_keep_it(folder: Path, kubelet: Kubelet) -> None:
    config = settings(folder)
    plug_in(config, 0)
    with plugin(config) as program:
        program.until("registered")
        npuctl_of(config)("fault", "set", "Allocate", "hang", "--calls", "1")
        stub = kubelet.plugin()
        calls = [stub.Allocate.future(allocate("npu0"), timeout=PATIENCE) for _ in range(2)]
        program.until("allocated")  # one of the two: the other hangs
        assert program.end() == 0
        assert sorted(call.exception() is None for call in calls) == [False, True]
        (failed,) = [call for call in calls if call.exception() is not None]
        assert failed.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def test_a_wrong_configuration_is_one_line_and_status_5(folder: Path) -> None:
    file = folder / "fake-npu.toml"
    file.write_text("cuont = 4\n")
    for module in ("fake_npu.plugin", "fake_npu.driver"):
        program = Program.start(module, settings(folder), file)
        assert program.wait() == 5
        (line,) = program.events
        assert (line["event"], line["level"]) == ("config-refused", "error")
        assert "unknown key 'cuont'; known are" in line["reason"]


def test_a_fault_of_the_configuration_acts_from_the_first_call_on(folder: Path, kubelet: Kubelet) -> None:
    with plugin(settings(folder, faults=("Register error --message 'not yet' --calls 1",))) as program:
        assert program.until("register-refused")["answer"] == "not yet"
        program.until("registered")


def test_a_fault_that_cannot_be_is_a_wrong_configuration(folder: Path) -> None:
    with plugin(settings(folder, faults=("Allocate nothing",))) as program:
        assert program.wait() == 5
    assert "no fault 'nothing' for Allocate" in program.until("config-refused")["reason"]


def test_a_port_that_is_taken_is_status_1(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        program = Program.start("fake_npu.plugin", settings(folder, http_port=taken.getsockname()[1]))
        assert program.wait() == 1
    assert "in use" in program.until("plugin-failed")["reason"]


def test_a_state_that_cannot_be_read_is_status_1(folder: Path) -> None:
    (folder / "state" / "plugin").mkdir()
    (folder / "state" / "plugin" / "example.org_npu.json").write_text("{")
    with plugin(settings(folder)) as program:
        assert program.wait() == 1
    assert program.until("plugin-failed")["reason"].endswith("remove it to start anew")


def test_a_folder_of_devices_that_is_not_there_is_status_1(folder: Path) -> None:
    (folder / "dev").rmdir()
    with plugin(settings(folder)) as program:
        assert program.wait() == 1
    assert str(folder / "dev") in program.until("plugin-failed")["reason"]
