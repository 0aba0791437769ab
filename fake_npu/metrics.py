"""Prometheus metrics of one plugin, and the small HTTP server that shows them and the readiness."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment


class Metrics:
    """The metrics of one plugin, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.registrations = Counter(
            "fake_npu_registrations", "Registrations by what the kubelet answered", ["code"], registry=self.registry
        )
        self.calls = Counter(
            "fake_npu_rpc_calls", "Calls of the kubelet that ended", ["rpc", "code"], registry=self.registry
        )
        self.duration = Histogram(
            "fake_npu_rpc_duration_seconds", "How long the kubelet's calls took", ["rpc"], registry=self.registry
        )
        self.allocated = Counter(
            "fake_npu_allocations", "Times that a device was handed to a container", ["device"], registry=self.registry
        )
        self.devices = Gauge("fake_npu_devices", "Advertised devices", ["health"], registry=self.registry)
        self.streams = Gauge("fake_npu_list_and_watch_streams", "Open ListAndWatch streams", registry=self.registry)


class _Quiet(WSGIRequestHandler):
    timeout = 10  # a client that sends nothing must not keep a thread for ever

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing: probes and scrapes are no events."""


class _Server(WSGIServer):
    request_queue_size = 16
    timeout = 0  # a client that has left again is not waited for

    def serve_until_readable(self, stop: socket.socket) -> None:
        """Answer requests until `stop` can be read; asleep in between, where `serve_forever` looks every so often."""
        with selectors.DefaultSelector() as either:
            either.register(self, selectors.EVENT_READ)
            either.register(stop, selectors.EVENT_READ)
            while all(key.fileobj is self for key, _ in either.select()):
                self.handle_request()


@contextlib.contextmanager
def served(metrics: Metrics, ready: Callable[[], str], address: str, port: int) -> Iterator[int]:
    """Serve /metrics, /readyz and /livez in a thread of its own.

    Args:
        metrics: what to show.
        ready: why the plugin is not ready, empty when it is; called from the server's thread.
        address: where to listen; empty for all addresses.
        port: which port; 0 for a free one.

    Yields:
        The port.

    Raises:
        OSError: the port is taken.
    """
    exposition = make_wsgi_app(metrics.registry)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            shown: Iterable[bytes] = exposition(environ, start_response)
            return shown
        reason = ready() if path == "/readyz" else ""
        known = path in {"/readyz", "/livez"}
        status = "404 Not Found" if not known else "503 Service Unavailable" if reason else "200 OK"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [(reason or ("ok" if known else "not found")).encode() + b"\n"]

    with contextlib.ExitStack() as sockets:
        server = sockets.enter_context(make_server(address, port, app, server_class=_Server, handler_class=_Quiet))
        stop, stopper = (sockets.enter_context(end) for end in socket.socketpair())
        thread = threading.Thread(target=server.serve_until_readable, args=[stop], name="http", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            stopper.sendall(b"\0")
            thread.join()
