"""A server on 127.0.0.1 that says what an API server was told to say, byte for byte, and keeps what it was asked."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml

Object = dict[str, Any]


@dataclass
class Answer:
    """One answer.

    Attributes:
        body: an object, or bytes; sent whole with its length.
        status: of HTTP; 0 closes the connection without any answer.
        headers: added to the usual ones.
        pieces: sent one by one instead of `body`: chunks, or plain bytes until the end when `chunked` is off.
        then: after the pieces: `end` as HTTP does, `hold` the connection open and silent, `cut` it, `reset` it.
        meanwhile: called when the request is there, before it is answered.
    """

    body: Object | bytes = b"{}"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Sequence[bytes] | None = None
    chunked: bool = True
    then: str = "end"
    meanwhile: Callable[[], None] = lambda: None


@dataclass
class Asked:
    """One request as it came; `user` is the common name of its client certificate."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    user: str

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "")


class ApiServer(ThreadingHTTPServer):
    """Answers `METHOD /path` (or `WATCH /path`) by what `on` was told, in this order; the last answer is repeated."""

    daemon_threads = False
    request_queue_size = 64

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[Asked] = []
        self.stopping = threading.Event()
        self.held = threading.Event()
        self.lock = threading.Lock()
        self.open: set[socket.socket] = set()
        self.tls = tls

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.server_address[1]}"

    def on(self, request: str, *answers: Answer | Object) -> None:
        self.answers[request] = [a if isinstance(a, Answer) else Answer(a) for a in answers]

    def asked_for(self, request: str) -> list[Asked]:
        method, _, path = request.partition(" ")
        with self.lock:
            return [
                one
                for one in self.asked
                if one.path == path and (one.method if one.query.get("watch") != "true" else "WATCH") == method
            ]

    def next(self, asked: Asked) -> Answer:
        with self.lock:
            self.asked.append(asked)
            key = f"{'WATCH' if asked.query.get('watch') == 'true' else asked.method} {asked.path}"
            queue = self.answers.get(key)
            if not queue:
                return Answer(status_body(404, "NotFound", f"{key} is not there"), 404)
            return queue.pop(0) if len(queue) > 1 else queue[0]

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.tls:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self.lock:
            self.open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self.lock:
            self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, or does not trust us, is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ApiServer
    disable_nagle_algorithm = True

    def answer(self) -> None:
        parts = urlsplit(self.path)
        certificate = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        subject: Any = (certificate or {}).get("subject", ())
        asked = Asked(
            self.command,
            unquote(parts.path),
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            {key.lower(): value for key, value in self.headers.items()},
            self.rfile.read(int(self.headers.get("Content-Length") or 0)),
            "".join(value for ((key, value),) in subject if key == "commonName"),
        )
        found = self.server.next(asked)
        found.meanwhile()
        if found.status == 0:
            self.close_connection = True
            return
        self.send_response(found.status)
        for key, value in found.headers.items():
            self.send_header(key, value)
        if found.pieces is None:
            body = found.body if isinstance(found.body, bytes) else json.dumps(found.body).encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header(*(("Transfer-Encoding", "chunked") if found.chunked else ("Connection", "close")))
        self.end_headers()
        for piece in found.pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if found.chunked else piece)
        if found.then == "hold":
            self.server.held.set()
            self.server.stopping.wait()
        if found.then == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        if found.then == "end" and found.chunked:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        pass


@contextlib.contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[ApiServer]:
    """An ApiServer while the block lasts; nothing of it is left afterwards."""
    server = ApiServer(tls)
    thread = threading.Thread(target=server.serve_forever, args=[0.01], name="API server")
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        thread.join()
        with server.lock:
            for connection in server.open:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        server.server_close()


def status_body(code: int, reason: str, message: str) -> Object:
    """A Status object as the API server writes it."""
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return status | {"code": code, "reason": reason, "message": message}


def refusal(code: int, reason: str, message: str, **headers: str) -> Answer:
    """An answer that says no."""
    return Answer(status_body(code, reason, message), code, {k.replace("_", "-"): v for k, v in headers.items()})


def listed(version: str, *items: Object, kind: str = "Pod") -> Object:
    """A list of objects as the API server writes it."""
    bare = [{k: v for k, v in item.items() if k not in {"kind", "apiVersion"}} for item in items]
    return {"kind": f"{kind}List", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": bare}


def event(kind: str, obj: Object) -> bytes:
    """One line of a watch."""
    return json.dumps({"type": kind, "object": obj}, ensure_ascii=False).encode() + b"\n"


def pod(name: str = "a", phase: str = "Pending", *, version: str = "1", uid: str = "u1", **status: Any) -> Object:
    """A pod, as small as one can be."""
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default", "uid": uid, "resourceVersion": version},
        "spec": {"nodeName": "n1", "containers": [{"name": "main"}]},
        "status": {"phase": phase, **status},
    }


def kubeconfig(folder: Path, server: str, user: Object | None = None, cluster: Object | None = None) -> Path:
    """A kubeconfig for a server."""
    file = folder / "config"
    config = {
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server, **(cluster or {})}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me"}}],
        "users": [{"name": "me", "user": user or {}}],
    }
    file.write_text(yaml.safe_dump(config))
    return file


@dataclass(frozen=True)
class Certificates:
    """Authorities of our own, and what they have signed: all files in PEM.

    `old-ca` is without the extension that Python 3.13 asks for, as those of clusters are that were made years ago.
    """

    folder: Path

    def __post_init__(self) -> None:
        for authority in ("ca", "other-ca", "old-ca"):
            usage = [] if authority == "old-ca" else ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
            self._openssl("req", "-x509", *self._key(authority), "-days", "2", "-subj", f"/CN={authority}", *usage)
        here = "subjectAltName=IP:127.0.0.1"
        for name, authority, extension in (
            ("server", "ca", here),
            ("old-server", "old-ca", here),
            ("client", "ca", "extendedKeyUsage=clientAuth"),
        ):
            words = ["-CA", self.file(f"{authority}.crt"), "-CAkey", self.file(f"{authority}.key"), "-days", "2"]
            for one in (extension, "authorityKeyIdentifier=keyid", "basicConstraints=critical,CA:FALSE"):
                words += ["-addext", one]
            self._openssl("req", "-x509", *self._key(name), *words, "-subj", f"/O=testers/CN=test-{name}")

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def _key(self, name: str) -> list[str]:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.file(f"{name}.key")]
        return [*key, "-out", self.file(f"{name}.crt")]

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True)

    def server_side(self, name: str = "server") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file(f"{name}.crt"), self.file(f"{name}.key"))
        context.load_verify_locations(self.file("ca.crt"))
        context.verify_mode = ssl.CERT_OPTIONAL
        return context
