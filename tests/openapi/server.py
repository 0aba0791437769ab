"""The HTTP side of the fake: who may call, what goes wrong on the way, and a record of what was asked."""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import json
import secrets
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from openapi.account import FakeAccount, Object
from openapi.actions import ACTIONS, Question
from openapi.signature import Refusal, Signatures

KEY, SECRET = "LTAIfakefakefakefake1", "not-a-secret-of-anybody"
PRODUCTS = {"2015-12-15": "cs", "2014-05-26": "ecs", "2016-04-28": "vpc", "2014-05-15": "slb", "2015-05-01": "ram"}


@dataclass
class Fault:
    """One thing that goes wrong with calls of an action (`*` for all), `times` times.

    What: `throttled` (with the header that says how long), `throttled-quietly`, `denied`, `error`, `page` (HTML, 503),
    `forbidden-page` (HTML, 403), `reset`, `silence` (no answer until the fake ends), `empty` ({}), `null`, `list` ([]),
    `half` (JSON that ends too soon), `no-id` (the answer without what proves it).
    """

    what: str
    action: str = "*"
    times: int = 1_000_000


@dataclass
class Asked:
    """One call as it came in, and how it was answered."""

    action: str
    permission: str
    query: dict[str, str]
    status: int
    attempt: str


@dataclass
class TrustedTokens:
    """A role that trusts the tokens of an OIDC provider: those whose bearer is its subject, for its audience."""

    role: str
    provider: str
    subject: str
    audience: str = "sts.aliyuncs.com"

    def key_for(self, query: Mapping[str, str]) -> dict[str, str]:
        """What AssumeRoleWithOIDC gives for a token; raises Refusal. The token's signature is the provider's affair."""
        try:
            payload = query["OIDCToken"].split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except (KeyError, IndexError, ValueError):
            raise Refusal(400, "AuthenticationFail.OIDCToken.Invalid", "This is no token.") from None
        audiences = claims.get("aud") or []
        if self.audience not in ([audiences] if isinstance(audiences, str) else audiences):
            raise Refusal(400, "AuthenticationFail.OIDCToken.AudienceNotMatch", "The audience is another's.")
        asked = query.get("RoleArn"), query.get("OIDCProviderArn"), claims.get("sub")
        if asked != (self.role, self.provider, self.subject):
            raise Refusal(403, "AuthenticationFail.NoPermission", "The role does not trust the bearer of this token.")
        return {
            "AccessKeyId": f"STS.{secrets.token_hex(8)}",
            "AccessKeySecret": secrets.token_hex(16),
            "SecurityToken": secrets.token_hex(32),
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600)),
        }


@dataclass
class FakeOpenApi:
    """A running fake: change its account, add faults, look at what was asked.

    Attributes:
        account: what it answers from.
        address: HOST:PORT.
        faults: what goes wrong, the first that fits first.
        allowed: actions that RAM lets the caller do, with wildcards; None for all.
        latency: seconds before each answer.
        trusted: whose tokens are exchanged for temporary keys; nobody's when None.
        asked: every call that was let in or refused, in order.
        busiest: the most calls that were under way at once.
    """

    account: FakeAccount
    address: str = ""
    faults: list[Fault] = field(default_factory=list)
    allowed: list[str] | None = None
    latency: float = 0.0
    trusted: TrustedTokens | None = None
    signatures: Signatures = field(default_factory=lambda: Signatures({KEY: SECRET}))
    asked: list[Asked] = field(default_factory=list)
    busiest: int = 0
    _busy: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)

    def actions(self) -> set[str]:
        """The permissions that were asked for, of all calls so far."""
        return {one.permission for one in self.asked}

    def count(self, action: str) -> int:
        """How often an action was called."""
        return sum(one.action == action for one in self.asked)

    def next_fault(self, action: str) -> str:
        """What goes wrong with this call; empty for nothing."""
        for fault in self.faults:
            if fault.times and fault.action in ("*", action):
                fault.times -= 1
                return fault.what
        return ""

    def assumed(self, query: Mapping[str, str]) -> Object:
        """What AssumeRoleWithOIDC answers: a temporary key that is let in from now on; raises Refusal."""
        if self.trusted is None:
            raise Refusal(404, "EntityNotExist.Role", "There is no such role.")
        key = self.trusted.key_for(query)
        with self._lock:
            self.signatures.secrets[key["AccessKeyId"]] = key["AccessKeySecret"]
            self.signatures.tokens[key["AccessKeyId"]] = key["SecurityToken"]
        return {"RequestId": "3D57EAD2-8723-1F26-B69C-F8707D8B565D", "Credentials": key}

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        with self._lock:
            self._busy += 1
            self.busiest = max(self.busiest, self._busy)
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    fake: FakeOpenApi
    tls: ssl.SSLContext | None = None

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.tls:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def answer(self) -> None:
        fake = self.server.fake
        parts = urlsplit(self.path)
        headers = {key.lower(): value for key, value in self.headers.items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        action, version = headers.get("x-acs-action", ""), headers.get("x-acs-version", "")
        permission = f"{PRODUCTS.get(version, 'sts')}:{action}"
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        with fake.under_way():
            time.sleep(fake.latency)
            fault = ""
            try:
                if query.get("Action") == "AssumeRoleWithOIDC":  # whoever has a token has no key to sign with
                    action, permission = query["Action"], f"sts:{query['Action']}"
                    status, answer = 200, fake.assumed(query)
                else:
                    fake.signatures.check(self.command, parts.path, parts.query, headers, body)
                    fault = fake.next_fault(action)
                    question = Question(action, unquote(parts.path), query, json.loads(body) if body else {})
                    status, answer = 200, answered(fake, question, version, permission, fault)
            except Refusal as refusal:
                status, answer = refusal.status, _refusal(refusal, permission)
            with fake._lock:
                attempt = headers.get("x-acs-signature-nonce", "")
                fake.asked.append(Asked(action, permission, query, status, attempt))
            self._send(status, answer, fault)

    def _send(self, status: int, answer: Any, fault: str) -> None:
        if fault == "silence":
            self.server.fake._over.wait()
            self.close_connection = True
            return
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        text = json.dumps(answer).encode()
        if fault == "half":
            text = text[: len(text) // 2]
        if fault in ("page", "forbidden-page"):
            status, title = (503, "503 Service Unavailable") if fault == "page" else (403, "403 Forbidden")
            text = f"<html><head><title>{title}</title></head><body>{title}</body></html>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if text.startswith(b"<") else "application/json")
        if fault == "throttled":
            self.send_header("x-acs-retry-after", "40")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        pass


def answered(fake: FakeOpenApi, question: Question, version: str, permission: str, fault: str) -> Any:
    """What the fake answers a question; raises Refusal."""
    if question.action not in ACTIONS or ACTIONS[question.action][0] != version:
        raise Refusal(404, "InvalidAction.NotFound", f"{question.action} of {version} is not there.")
    if fault.startswith("throttled"):
        raise Refusal(400, "Throttling.User", "Request was denied due to user flow control.")
    if fault == "error":
        raise Refusal(500, "InternalError", "The request processing has failed due to some unknown error.")
    refused = fake.allowed is not None and not any(fnmatch.fnmatchcase(permission, a) for a in fake.allowed)
    if fault == "denied" or (refused and permission != "sts:GetCallerIdentity"):
        raise Refusal(403, "Forbidden.RAM", "User not authorized to operate on the specified resource.")
    with fake._lock:
        found = ACTIONS[question.action][1](fake.account, question)
    if fault in ("empty", "null", "list"):
        return {"empty": {}, "null": None, "list": []}[fault]
    if version == "2015-12-15":
        if fault != "no-id":
            return found
        return [{**e, "cluster_id": ""} for e in found] if isinstance(found, list) else {**found, "cluster_id": ""}
    return found if fault == "no-id" else {"RequestId": "4C467B38-3910-447D-87BC-AC049166F216", **found}


def _refusal(refusal: Refusal, permission: str) -> Object:
    body: Object = {"RequestId": "R-0", "Code": refusal.code, "Message": refusal.message, "HostId": "127.0.0.1"}
    if permission.startswith("cs:"):
        body = {"code": refusal.code, "message": refusal.message, "requestId": "R-0"}
    if refusal.status == 403:
        body["AccessDeniedDetail"] = {"AuthAction": permission, "NoPermissionType": "ImplicitDeny"}
    return body


@contextlib.contextmanager
def serving(account: FakeAccount, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[FakeOpenApi]:
    """A fake while the block lasts; at any port when that is 0, by plain HTTP without `tls`."""
    server = _Server(("127.0.0.1", port), _Handler)
    server.tls = tls
    server.fake = FakeOpenApi(account, f"127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=[0.01], name="OpenAPI")
    thread.start()
    try:
        yield server.fake
    finally:
        server.fake._over.set()
        server.shutdown()
        thread.join()
        server.server_close()
