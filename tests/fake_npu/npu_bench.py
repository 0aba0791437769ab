"""The kubelet's side of the device plugin interface over real unix sockets, and the real plugin as a program.

Everything waits for a message, a log line or an exit, never for a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import hypothesis
import pytest

import fake_npu
from fake_npu import npuctl
from fake_npu.api import deviceplugin_pb2 as pb
from fake_npu.api.deviceplugin_pb2_grpc import (
    DevicePluginStub,
    RegistrationServicer,
    add_RegistrationServicer_to_server,
)
from fake_npu.config import Config

PATIENCE = 20.0
"""Seconds until what was waited for is taken to have failed."""
REPOSITORY = Path(fake_npu.__file__).parents[1]
RESOURCE = "example.org/npu"
SOCKET = "example.org_npu.sock"

# As in the image, and read when numpy is first imported: on busy cores its threads wait for each other by spinning.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

UNHURRIED = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
"""For property tests: a busy machine is no failure."""


class News:
    """Wakes whoever waits for something to become true."""

    def __init__(self) -> None:
        self._condition = threading.Condition()

    def tell(self, change: Callable[[], object] = lambda: None) -> None:
        with self._condition:
            change()
            self._condition.notify_all()

    def until(self, true: Callable[[], object], state: Callable[[], object]) -> None:
        with self._condition:
            assert self._condition.wait_for(true, PATIENCE), f"not within {PATIENCE} s; so far: {state()}"


@dataclass
class Kubelet(RegistrationServicer):
    """What kubelet 1.37 does in Register: refuse, or call back for the options, open ListAndWatch and answer.

    Attributes:
        folder: its folder of plugin sockets.
        watch: whether it opens ListAndWatch.
        refuse: registrations that it refuses first.
        requests: every registration.
        lists: every list of every stream, as id and health.
        stream_ends: the status of every stream that ended by itself.
    """

    folder: Path
    watch: bool = True
    refuse: int = 0
    requests: list[pb.RegisterRequest] = field(default_factory=list)
    lists: list[dict[str, str]] = field(default_factory=list)
    stream_ends: list[str] = field(default_factory=list)
    _news: News = field(default_factory=News)
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def Register(self, request: pb.RegisterRequest, context: grpc.ServicerContext) -> pb.Empty:  # noqa: N802
        self._news.tell(lambda: self.requests.append(request))
        if self.refuse:
            self.refuse -= 1
            context.abort(grpc.StatusCode.UNKNOWN, "no more plugins today")
        if request.version != "v1beta1":
            context.abort(grpc.StatusCode.UNKNOWN, f'requested API version "{request.version}" is not supported')
        if "/" not in request.resource_name:
            context.abort(grpc.StatusCode.UNKNOWN, f'the ResourceName "{request.resource_name}" is invalid')
        stub = self.plugin(request.endpoint)
        try:
            stub.GetDevicePluginOptions(pb.Empty(), timeout=PATIENCE)
        except grpc.RpcError as error:
            context.abort(grpc.StatusCode.UNKNOWN, f"failed to get device plugin options: {error.details()}")
        if self.watch:
            stream = stub.ListAndWatch(pb.Empty())
            reader = threading.Thread(target=self._read, args=[stream], name="ListAndWatch")
            reader.start()
            self._open.callback(reader.join)
            self._open.callback(stream.cancel)
        return pb.Empty()

    def plugin(self, endpoint: str = SOCKET) -> DevicePluginStub:
        """The calls of a plugin. A pool of its own: a connection to a socket that was replaced must not be used."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        return DevicePluginStub(
            self._open.enter_context(grpc.insecure_channel(f"unix:{self.folder / endpoint}", options=options))
        )

    def start(self) -> None:
        pool = self._open.enter_context(futures.ThreadPoolExecutor(8))
        server = grpc.server(pool)
        add_RegistrationServicer_to_server(self, server)
        server.add_insecure_port(f"unix:{self.folder / 'kubelet.sock'}")
        server.start()
        self._open.callback(lambda: server.stop(None).wait())

    def stop(self) -> None:
        self._open.close()

    def restart(self, *, wipe: bool = True) -> int:
        """End, and come back; by default as kubelets do it, with all sockets of plugins removed.

        Returns:
            The number of lists that it had been told before it came back.
        """
        self.stop()
        told = len(self.lists)
        if wipe:
            for path in self.folder.glob("*.sock"):
                path.unlink(missing_ok=True)  # the plugin may be removing its own just now
        self.start()
        return told

    def until(self, true: Callable[[], object]) -> None:
        """Wait until something that it was told makes this true."""
        self._news.until(true, lambda: (self.requests, self.lists, self.stream_ends))

    def until_listed(self, **health: str) -> None:
        """Wait until the last list is this one."""
        self.until(lambda: self.lists and self.lists[-1] == health)

    def until_more_lists(self, told: int) -> None:
        """Wait until it has been told more lists than these."""
        self.until(lambda: len(self.lists) > told)

    def _read(self, stream: Any) -> None:
        try:
            for response in stream:
                listed = {device.ID: device.health for device in response.devices}
                self._news.tell(partial(self.lists.append, listed))
        except grpc.RpcError:
            pass
        code = stream.code().name
        self._news.tell(lambda: self.stream_ends.append(code))


@dataclass
class Program:
    """A program of fake_npu that runs, and all that it logs."""

    process: subprocess.Popen[str]
    events: list[dict[str, Any]] = field(default_factory=list)
    ended: bool = False
    _news: News = field(default_factory=News)
    _reader: threading.Thread | None = None

    @classmethod
    def start(cls, module: str, config: Config, config_file: Path | None = None) -> Program:
        """Start `python -m module`, told this by variables, or by that file alone."""
        told = {"FAKE_NPU_CONFIG": str(config_file)} if config_file else variables(config)
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", **told},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        program = cls(process)
        program._reader = threading.Thread(target=program._read, name="log")
        program._reader.start()
        return program

    def named(self, event: str) -> list[dict[str, Any]]:
        """All log lines of this event so far."""
        return [line for line in self.events if line["event"] == event]

    def until(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait for the log line of this event that is the `count`th of its kind."""
        self._news.until(lambda: len(self.named(event)) >= count or self.ended, lambda: self.events)
        found = self.named(event)
        assert len(found) >= count, f"ended without {event}: {self.events}"
        return found[count - 1]

    def until_said(self, event: str, after: int, **parts: str) -> dict[str, Any]:
        """Wait for a log line of this event, at place `after` or later, whose fields hold these texts."""

        def fitting() -> list[dict[str, Any]]:
            lines = [line for line in self.events[after:] if line["event"] == event]
            return [line for line in lines if all(part in line[name] for name, part in parts.items())]

        self._news.until(lambda: fitting() or self.ended, lambda: self.events[after:])
        return fitting()[0]

    def until_as_many(self, event: str, other: str) -> None:
        """Wait until the log has as many lines of the one event as of the other."""
        self._news.until(lambda: len(self.named(event)) == len(self.named(other)), lambda: self.events)

    def place(self, event: str, **fields: object) -> int:
        """Where in the log the last line of this event and these fields is."""
        return max(
            place for place, line in enumerate(self.events) if line["event"] == event and fields.items() <= line.items()
        )

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send this signal and wait; the exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the exit; its status. No traceback was printed."""
        if self._reader:
            self._reader.join(PATIENCE)  # the end of its log is the end of the program; Popen.wait would poll for it
        status = self.process.wait(PATIENCE)
        if self._reader:
            self._reader.join()
            self._reader = None
            assert self.process.stderr
            errors = self.process.stderr.read()
            self.process.stderr.close()
            assert "Traceback" not in errors, errors
        return status

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self._news.tell(partial(self.events.append, json.loads(line)))
        self._news.tell(lambda: setattr(self, "ended", True))


def settings(folder: Path, **changes: object) -> Config:
    """A configuration that points into this folder alone."""
    fields: dict[str, object] = {
        "resource_name": RESOURCE,
        "count": 2,
        "pool": 2,
        "backing": "node",
        "dev_dir": folder / "dev",
        "state_dir": folder / "state",
        "device_plugin_dir": folder / "plugins",
        "pod_resources_socket": folder / "pods.sock",
        "cdi_dir": folder / "cdi",
        "control_socket": folder / "control.sock",
        # two of one resource, or of two, need sockets of their own
        "socket": "" if {"instance", "resource_name"} & changes.keys() else SOCKET,
        "http_port": 0,
        "http_address": "127.0.0.1",
        "node_name": "worker",
    }
    return Config(**{**fields, **changes})  # type: ignore[arg-type]


def variables(config: Config) -> dict[str, str]:
    """This configuration as environment variables."""

    def text(key: str, value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        return (";" if key == "faults" else ",").join(map(str, value)) if isinstance(value, tuple) else str(value)

    return {f"FAKE_NPU_{key.upper()}": text(key, value) for key, value in vars(config).items()}


def plug_in(config: Config, *indices: int) -> None:
    """Device nodes for these indices, as the driver would make them; without its rights, links to one that is there."""
    for index in indices:
        node = config.seen_path_of(index)
        if os.geteuid() == 0:
            os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(config.node_major, config.node_minor_base + index))
        else:
            node.symlink_to("/dev/null")


@contextlib.contextmanager
def plugin(config: Config, *, config_file: Path | None = None) -> Iterator[Program]:
    """The plugin runs; at the end it stops cleanly on SIGTERM, unless the test has ended it."""
    program = Program.start("fake_npu.plugin", config, config_file)
    try:
        yield program
        if program.process.poll() is None:
            assert program.end() == 0, program.events
    finally:
        program.kill()


def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("n")
    for name in ("dev", "plugins", "state"):
        (path / name).mkdir()
    return path


@contextlib.contextmanager
def running_kubelet(config: Config, *, watch: bool = True, refuse: int = 0) -> Iterator[Kubelet]:
    """A kubelet at the plugin folder of this configuration."""
    kubelet = Kubelet(config.device_plugin_dir, watch=watch, refuse=refuse)
    kubelet.start()
    try:
        yield kubelet
    finally:
        kubelet.stop()


def npuctl_of(config: Config) -> Callable[..., None]:
    """What `npuctl` does with these words for the plugin of this configuration; it has to succeed."""

    def call(*words: str) -> None:
        assert npuctl.main(["--socket", str(config.control_socket), *words]) == 0

    return call


def allocate(*ids: str) -> pb.AllocateRequest:
    """The request for one container that gets these devices."""
    return pb.AllocateRequest(container_requests=[pb.ContainerAllocateRequest(devices_ids=ids)])


def documented(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table under this heading of a Markdown page, code without its back-ticks."""
    after = page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in after.splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", row.strip("|")) for row in rows]
    return [[re.sub(r"^`([^`]*)`$", r"\1", cell.strip().replace("\\|", "|")) for cell in row] for row in cells[2:]]


def loop_devices_refused() -> str:
    """Why loop devices cannot be attached here; empty when they can."""
    if os.geteuid() != 0:
        return "attaching loop devices takes root"
    try:
        os.close(os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/loop-control cannot be used: {error.strerror}"
    return ""


def loop_control(dev: Path) -> None:
    """The machine's loop-control also under this folder, as the host's /dev is under a mount of the driver."""
    os.mknod(dev / "loop-control", stat.S_IFCHR | 0o600, Path("/dev/loop-control").stat().st_rdev)


def texts(rows: Sequence[Sequence[str]], column: int = 0) -> list[str]:
    """One column of a table."""
    return [row[column] for row in rows]
