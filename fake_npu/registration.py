"""Being known to the kubelet, again and again: it may wipe its folder or make its socket anew at any time.

The file system tells when; nothing is polled.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from asyncinotify import Event, Mask

from fake_npu import events
from fake_npu.api import deviceplugin_pb2 as pb
from fake_npu.api.deviceplugin_pb2_grpc import RegistrationStub, add_DevicePluginServicer_to_server
from fake_npu.config import Config
from fake_npu.faults import InjectedError
from fake_npu.folders import Folders
from fake_npu.servicer import Servicer

API_VERSION = "v1beta1"
KUBELET_SOCKET = "kubelet.sock"
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0
"""Seconds between tries of one registration: the first, doubled up to the longest."""
REGISTER_DEADLINE = 30.0
"""Seconds for one try; the kubelet itself gives up dialling back after 10."""
STOP_GRACE = 2.0
"""Seconds that calls in flight have when the server stops."""


class RegistrationError(Exception):
    """The kubelet cannot be reached or refuses for good; the message says how it answered."""


Identity = tuple[int, int, int]


@dataclass
class Registrar:
    """Keeps one servicer served and registered.

    Events of the file system only wake it; what it then does follows from what is there, so that no event, however
    late or lost in a crowd, can mislead it.
    """

    config: Config
    servicer: Servicer
    _server: grpc.aio.Server | None = None
    _socket_name: str = ""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _bound: Identity | None = None
    _registered_with: Identity | None = None

    @property
    def registered(self) -> bool:
        """Whether the kubelet has accepted the registration of the socket that is served now."""
        return self._registered_with is not None

    @property
    def endpoint(self) -> Path:
        """The plugin's own socket."""
        return self.config.device_plugin_dir / self._socket_name

    async def keep(self, folders: Folders) -> None:
        """Serve and register until cancelled; then the server has ended and its socket is removed.

        Args:
            folders: tells what happens in the kubelet's folder, and raises RegistrationError when that is gone.

        Raises:
            RegistrationError: the kubelet refused `register_attempts` times, or its folder cannot be watched.
        """
        folder = self.config.device_plugin_dir
        changes = Mask.CREATE | Mask.MOVED_TO | Mask.DELETE | Mask.MOVED_FROM | Mask.DELETE_SELF | Mask.MOVE_SELF
        try:
            folders.watch(folder, changes, self._changed)
        except OSError as error:
            raise RegistrationError(f"{folder} cannot be watched ({error.strerror})") from error
        try:
            self._remove_dead_siblings()
            while True:
                self._wake.clear()
                await self._settle()
                await self._wake.wait()
        finally:
            await self._stop_serving()

    def look_again(self) -> None:
        """Compare what is there with what should be, as after an event."""
        self._wake.set()

    def _changed(self, event: Event) -> None:
        if event.mask & (Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.IGNORED | Mask.UNMOUNT):
            raise RegistrationError(f"{self.config.device_plugin_dir} is gone")
        self._wake.set()

    async def _settle(self) -> None:
        """Bring back what is not as it should be: the plugin's socket, and its registration with this kubelet."""
        if self.servicer.faults.has("Register", "deaf"):
            return
        kubelet = self._kubelet()
        if self.registered and kubelet != self._registered_with:
            events.info("kubelet-socket-made" if kubelet else "kubelet-socket-gone")
            await self._serve()  # drops what the old kubelet, or a faster new one, still has open
        elif self._bound is None or _identity(self.endpoint) != self._bound:
            if self._bound is not None:
                events.warning("plugin-socket-gone", socket=str(self.endpoint))
            await self._serve()
        if kubelet is not None and not self.registered:
            await self._register(kubelet)

    async def _serve(self) -> None:
        await self._stop_serving()
        self._socket_name = self.config.new_socket_name()
        self.endpoint.unlink(missing_ok=True)
        server = grpc.aio.server()
        add_DevicePluginServicer_to_server(self.servicer, server)
        try:
            server.add_insecure_port(f"unix:{self.endpoint}")
            await server.start()
        except (OSError, RuntimeError) as error:
            raise RegistrationError(f"{self.endpoint} cannot be listened on ({error})") from error
        self._server, self._bound = server, _identity(self.endpoint)
        events.info("serving", socket=str(self.endpoint))

    async def _stop_serving(self) -> None:
        server, self._server, self._registered_with = self._server, None, None
        if server is not None:
            await server.stop(STOP_GRACE if self.servicer.stopping.is_set() else None)
            if _identity(self.endpoint) == self._bound:
                self.endpoint.unlink(missing_ok=True)
            self._bound = None

    async def _register(self, kubelet: Identity) -> None:
        """Register, trying again with growing pauses; returns early when the folder has changed meanwhile."""
        attempts, pause, answer = self.config.register_attempts, FIRST_PAUSE, ""
        for attempt in range(1, attempts + 1):
            try:
                await self._register_once()
            except grpc.aio.AioRpcError as error:
                code, answer = error.code().name, error.details() or error.code().name
            except InjectedError as error:
                code, answer = error.code.name, error.message
            else:
                self._registered_with = kubelet
                self.servicer.metrics.registrations.labels("OK").inc()
                events.info("registered", resource=self.config.resource_name, attempt=attempt)
                return
            self.servicer.metrics.registrations.labels(code).inc()
            events.warning("register-refused", code=code, answer=answer, attempt=attempt, attempts=attempts)
            if attempt < attempts:
                if not await self._unchanged_for(pause, kubelet):
                    return
                pause = min(pause * 2, LONGEST_PAUSE)
        raise RegistrationError(f"the kubelet refused {attempts} times, at last with: {answer}")

    async def _unchanged_for(self, seconds: float, kubelet: Identity) -> bool:
        """Wait, but no longer than both sockets are those of now; whether they still are."""
        try:
            async with asyncio.timeout(seconds):
                while self._kubelet() == kubelet and _identity(self.endpoint) == self._bound:
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            return True
        self._wake.set()
        return False

    def _kubelet(self) -> Identity | None:
        return _identity(self.config.device_plugin_dir / KUBELET_SOCKET)

    async def _register_once(self) -> None:
        faults = await self.servicer.faults.begin("Register")
        request = pb.RegisterRequest(
            version="v0" if "bad-version" in faults else API_VERSION,
            endpoint="not-there.sock" if "bad-socket" in faults else self._socket_name,
            resource_name="npu" if "bad-name" in faults else self.config.resource_name,
            options=self.servicer.options(),
        )
        async with grpc.aio.insecure_channel(f"unix:{self.config.device_plugin_dir / KUBELET_SOCKET}") as channel:
            await RegistrationStub(channel).Register(request, timeout=REGISTER_DEADLINE)

    def _remove_dead_siblings(self) -> None:
        """Remove sockets of this resource's plugins that were killed: nobody listens on them."""
        for sibling in self.config.device_plugin_dir.glob(f"{self.config.slug}*.sock"):
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(sibling))
                except ConnectionRefusedError:
                    sibling.unlink(missing_ok=True)
                    events.info("dead-socket-removed", socket=sibling.name)
                except OSError as error:
                    events.warning("socket-not-probed", socket=sibling.name, reason=str(error))


def _identity(path: Path) -> Identity | None:
    """What tells this file from one made anew at the same path; None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns
