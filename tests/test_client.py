"""The client: it really logs in, checks certificates, repeats what may be repeated, and says what is wrong."""

from __future__ import annotations

import base64
import itertools
import json
import socket
import ssl
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import kubernetes.client
import pytest
from apiserver import Answer, ApiServer, Certificates, kubeconfig, listed, pod, refusal, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures import client as client_module
from fixtures.apierrors import Permission
from fixtures.client import (
    ApiError,
    Client,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Unauthorized,
    UnreachableError,
    UntrustedError,
    connect,
    path_of,
)
from fixtures.errors import HarnessError
from fixtures.record import Record

PODS = "/api/v1/namespaces/default/pods"
POD = f"{PODS}/a"

Connect = Callable[..., Client]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secure(certificates: Certificates) -> Iterator[ApiServer]:
    with serving(certificates.server_side()) as server:
        server.on(f"GET {POD}", pod())
        yield server


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving() as plain:
        yield plain


@pytest.fixture
def connected(tmp_path: Path) -> Iterator[Connect]:
    with ExitStack() as clients:

        def make(url: str, user: Any = None, cluster: Any = None) -> Client:
            made = clients.enter_context(connect(kubeconfig(tmp_path, url, user, cluster), Record()))
            made.first_pause = 0.001
            return made

        yield make


@pytest.fixture
def client(server: ApiServer, connected: Connect) -> Client:
    return connected(server.url)


def in_base64(file: str) -> str:
    return base64.b64encode(Path(file).read_bytes()).decode()


def plugin(folder: Path, status: str, *, name: str = "plugin", and_then: str = "") -> dict[str, Any]:
    """A credential plugin that prints `status`, an expression, and counts its runs."""
    file = folder / name
    code = f"""#!{sys.executable}
import json, pathlib, sys
runs = pathlib.Path({str(folder / "runs")!r})
runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
count = len(runs.read_text())
{and_then}
version = "client.authentication.k8s.io/v1"
print(json.dumps({{"apiVersion": version, "kind": "ExecCredential", "status": {status}}}))
"""
    file.write_text(code)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": f"./{name}", "args": []}}


# Credentials, on the client that is installed: releases 32 and 36 sent none.


@pytest.mark.parametrize("as_data", [True, False])
def test_a_client_certificate_logs_in(
    secure: ApiServer, certificates: Certificates, connected: Connect, *, as_data: bool
) -> None:
    files = {"client-certificate": certificates.file("client.crt"), "client-key": certificates.file("client.key")}
    user = {f"{key}-data": in_base64(file) for key, file in files.items()} if as_data else files
    cluster = {"certificate-authority-data": in_base64(certificates.file("ca.crt"))}
    assert connected(secure.url, user, cluster).get(POD)["kind"] == "Pod"
    assert secure.asked[0].user == "test-client"
    assert secure.asked[0].token == ""


def test_threads_may_connect_at_the_same_time(
    secure: ApiServer, certificates: Certificates, connected: Connect
) -> None:
    files = {"client-certificate": certificates.file("client.crt"), "client-key": certificates.file("client.key")}
    client = connected(secure.url, files, {"certificate-authority": certificates.file("ca.crt")})
    secure.on(f"GET {POD}", Answer(pod(), headers={"Connection": "close"}))
    with ThreadPoolExecutor(8) as threads:
        kinds = list(threads.map(lambda _: client.get(POD)["kind"], range(300)))
    assert set(kinds) == {"Pod"}
    assert {asked.user for asked in secure.asked} == {"test-client"}


def test_the_authority_of_a_cluster_that_was_made_years_ago_is_believed_as_by_kubectl(
    certificates: Certificates, connected: Connect
) -> None:
    with serving(certificates.server_side("old-server")) as server:
        server.on(f"GET {POD}", pod())
        client = connected(server.url, {}, {"certificate-authority": certificates.file("old-ca.crt")})
        assert client.get(POD)["kind"] == "Pod"
        with pytest.raises(UntrustedError, match="could not be verified"):
            connected(server.url, {}, {"certificate-authority": certificates.file("ca.crt")}).get(POD)


def test_a_bearer_token_logs_in_for_every_kind_of_request(
    secure: ApiServer, certificates: Certificates, connected: Connect
) -> None:
    client = connected(secure.url, {"token": "t0ken"}, {"certificate-authority": certificates.file("ca.crt")})
    secure.on(f"POST {PODS}", Answer(pod(), 201))
    secure.on(f"DELETE {POD}", pod())
    secure.on(f"GET {POD}/log", Answer(b"line\n"))
    client.get(POD)
    client.create(PODS, pod())
    client.delete(POD)
    with client.stream(f"{POD}/log") as stream:
        assert list(stream.lines(time.monotonic() + 10)) == [b"line"]
    assert [asked.token for asked in secure.asked] == ["Bearer t0ken"] * 4


def test_a_token_file_is_read_for_each_request_without_its_newline(
    secure: ApiServer, certificates: Certificates, connected: Connect, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("first\n")
    client = connected(
        secure.url, {"tokenFile": "token", "token": "old"}, {"certificate-authority": certificates.file("ca.crt")}
    )
    client.get(POD)
    (tmp_path / "token").write_text("second\n")
    client.get(POD)
    assert [asked.token for asked in secure.asked] == ["Bearer first", "Bearer second"]
    (tmp_path / "token").unlink()
    with pytest.raises(HarnessError, match=r"token file .* cannot be read"):
        client.get(POD)


def test_a_credential_plugin_logs_in_by_token(
    secure: ApiServer, certificates: Certificates, connected: Connect, tmp_path: Path
) -> None:
    user = plugin(tmp_path, '{"token": "from-plugin"}')
    connected(secure.url, user, {"certificate-authority": certificates.file("ca.crt")}).get(POD)
    assert secure.asked[0].token == "Bearer from-plugin"


def test_a_credential_plugin_logs_in_by_certificate(
    secure: ApiServer, certificates: Certificates, connected: Connect, tmp_path: Path
) -> None:
    certificate, key = (certificates.file(f"client.{end}") for end in ("crt", "key"))
    status = f'{{"clientCertificateData": open({certificate!r}).read(), "clientKeyData": open({key!r}).read()}}'
    connected(secure.url, plugin(tmp_path, status), {"certificate-authority": certificates.file("ca.crt")}).get(POD)
    assert secure.asked[0].user == "test-client"


def test_refused_credentials_are_asked_for_anew_once(server: ApiServer, connected: Connect, tmp_path: Path) -> None:
    client = connected(server.url, plugin(tmp_path, '{"token": f"t{count}"}'))
    server.on(f"GET {POD}", refusal(401, "Unauthorized", "Unauthorized"), pod())
    assert client.get(POD)["kind"] == "Pod"
    assert [asked.token for asked in server.asked] == ["Bearer t1", "Bearer t2"]
    assert [retry.reason for retry in client.record.retries] == ["401, so logged in anew"]
    server.on(f"GET {POD}", refusal(401, "Unauthorized", "Unauthorized"))
    with pytest.raises(Unauthorized, match="credentials of the kubeconfig were refused"):
        client.get(POD)
    assert len(server.asked) == 4


def test_a_credential_plugin_that_fails_is_named_with_its_own_words(tmp_path: Path, connected: Connect) -> None:
    user = plugin(tmp_path, "{}", and_then="sys.exit('log in first; PASSWORD=hunter2')")
    with pytest.raises(HarnessError, match=r"plugin .*/plugin. .* gave no credentials: .*log in first") as caught:
        connected("https://127.0.0.1:1", user)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(HarnessError, match="gave no credentials"):
        connected("https://127.0.0.1:1", {"exec": {"command": "no-such-plugin", "apiVersion": "v1"}})


@pytest.mark.parametrize("key", ["auth-provider", "as"])
def test_a_user_that_this_client_cannot_be_is_refused(key: str, connected: Connect) -> None:
    with pytest.raises(HarnessError, match=f"logs in by `{key}`, which is not supported"):
        connected("https://127.0.0.1:1", {key: {"name": "oidc"}})


def test_what_the_library_cannot_load_is_a_sentence_without_its_contents(connected: Connect) -> None:
    with pytest.raises(HarnessError, match="cannot be used") as caught:
        connected("https://127.0.0.1:1", {"token": "t0ken"}, {"certificate-authority": "none.crt"})
    assert "t0ken" not in str(caught.value)


def test_the_global_configuration_is_neither_read_nor_changed(server: ApiServer, connected: Connect) -> None:
    theirs = kubernetes.client.Configuration(host="http://127.0.0.1:1")
    kubernetes.client.Configuration.set_default(theirs)
    try:
        server.on(f"GET {POD}", pod())
        connected(server.url, {"token": "t0ken"}).get(POD)
        default = kubernetes.client.Configuration.get_default_copy()
        assert (default.host, default.api_key, default.retries) == ("http://127.0.0.1:1", {}, None)
    finally:
        kubernetes.client.Configuration.set_default(None)


# Certificates of the server.


def test_a_certificate_of_another_authority_is_refused_at_once(
    secure: ApiServer, certificates: Certificates, connected: Connect
) -> None:
    client = connected(secure.url, {"token": "t0ken"}, {"certificate-authority": certificates.file("other-ca.crt")})
    with pytest.raises(UntrustedError, match="could not be verified") as caught:
        client.get(POD)
    assert "certificate-authority" in caught.value.remedy
    assert client.record.retries == []
    assert secure.asked == []


def test_a_certificate_of_another_host_is_refused(
    secure: ApiServer, certificates: Certificates, connected: Connect
) -> None:
    url = secure.url.replace("127.0.0.1", "localhost")
    client = connected(url, {"token": "t"}, {"certificate-authority": certificates.file("ca.crt")})
    with pytest.raises(UntrustedError, match="could not be verified"):
        client.get(POD)
    assert secure.asked == []


def test_the_name_to_expect_can_be_said_by_the_kubeconfig(
    secure: ApiServer, certificates: Certificates, connected: Connect
) -> None:
    url = secure.url.replace("127.0.0.1", "localhost")
    cluster = {"certificate-authority": certificates.file("ca.crt"), "tls-server-name": "127.0.0.1"}
    assert connected(url, {"token": "t"}, cluster).get(POD)["kind"] == "Pod"


def test_a_missing_client_certificate_is_an_error_of_tls(certificates: Certificates, connected: Connect) -> None:
    context = certificates.server_side()
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # in 1.3 a reset may overtake the server's reason
    with serving(context) as strict:
        client = connected(strict.url, {}, {"certificate-authority": certificates.file("ca.crt")})
        with pytest.raises(UntrustedError, match="client certificate and key"):
            client.get(POD)
        assert client.record.retries == []


def test_only_the_kubeconfig_itself_can_leave_certificates_unchecked(secure: ApiServer, connected: Connect) -> None:
    assert connected(secure.url, {"token": "t"}, {"insecure-skip-tls-verify": True}).get(POD)["kind"] == "Pod"
    with pytest.raises(UntrustedError):
        connected(secure.url, {"token": "t"}).get(POD)


# Proxies.


def test_a_proxy_of_the_environment_is_used_but_never_for_this_machine(
    server: ApiServer, connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on(f"GET {POD}", pod())
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert connected(server.url).get(POD)["kind"] == "Pod"
    monkeypatch.setenv("http_proxy", server.url.replace("://", "://me:p%40ss@"))
    client = connected("http://api.invalid:6443")
    server.on("GET http://api.invalid:6443" + POD, pod())
    server.on(f"GET {POD}", pod())
    client.get(POD)
    login = base64.b64encode(b"me:p@ss").decode()
    assert server.asked[-1].headers["host"] == "api.invalid:6443"
    assert server.asked[-1].headers["proxy-authorization"] == f"Basic {login}"
    monkeypatch.setenv("no_proxy", "invalid")
    direct = connected("http://api.invalid:6443")
    direct.attempts = 1
    with pytest.raises(UnreachableError):
        direct.get(POD)


def test_a_proxy_of_the_kubeconfig_is_used_whatever_the_environment_says(
    server: ApiServer, connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    server.on(f"GET {POD}", pod())
    connected("http://api.invalid:6443", cluster={"proxy-url": server.url}).get(POD)
    assert server.asked[0].headers["host"] == "api.invalid:6443"


# Requests.


def test_requests_say_what_they_mean(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("7", pod("a"), pod("b")))
    server.on(f"POST {PODS}", Answer(pod(), 201))
    server.on(f"PATCH {POD}", pod())
    server.on(f"DELETE {POD}", pod())
    found = client.items(PODS, labels="app in (x,y)", fields="spec.nodeName=n1")
    client.create(PODS, pod())
    client.patch(POD, [{"op": "remove", "path": "/x"}], "application/json-patch+json")
    client.patch(POD, {"metadata": {"labels": {"a": None}}})
    assert client.delete(POD, uid="u1", grace=0)
    assert [(one["kind"], one["apiVersion"], one["metadata"]["name"]) for one in found] == [
        ("Pod", "v1", "a"),
        ("Pod", "v1", "b"),
    ]
    get, post, json_patch, merge_patch, delete = server.asked
    assert get.query == {"labelSelector": "app in (x,y)", "fieldSelector": "spec.nodeName=n1"}
    assert get.headers["user-agent"] == "npu-conformance"
    assert json.loads(post.body) == pod()
    assert json_patch.headers["content-type"] == "application/json-patch+json"
    assert json.loads(json_patch.body) == [{"op": "remove", "path": "/x"}]
    assert merge_patch.headers["content-type"] == "application/merge-patch+json"
    assert json.loads(merge_patch.body) == {"metadata": {"labels": {"a": None}}}
    sent = json.loads(delete.body)
    assert (sent["preconditions"], sent["gracePeriodSeconds"]) == ({"uid": "u1"}, 0)


def test_deleting_what_is_not_there_says_so(server: ApiServer, client: Client) -> None:
    assert not client.delete(POD)
    server.on(f"DELETE {POD}", refusal(409, "Conflict", "the UID in the precondition (u1) does not match"))
    with pytest.raises(Conflict, match="precondition"):
        client.delete(POD, uid="u1")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, ApiError), (404, NotFound), (409, Conflict), (410, Gone), (422, Invalid), (302, ApiError), (418, ApiError)],
)
def test_an_answer_other_than_success_is_an_error_at_once(
    server: ApiServer, client: Client, status: int, kind: type[ApiError]
) -> None:
    server.on(f"GET {POD}", refusal(status, "AReason", "the message", Location=f"{server.url}{PODS}"))
    with pytest.raises(ApiError, match=f"GET {POD} was answered with {status}: the message") as caught:
        client.get(POD)
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.reason, caught.value.message) == (status, "AReason", "the message")
    assert caught.value.body["kind"] == "Status"
    assert (len(server.asked), client.record.retries) == (1, [])


def test_a_page_instead_of_an_answer_is_quoted(server: ApiServer, client: Client) -> None:
    server.on(f"GET {POD}", Answer(b"<html>\n nothing   here", 404))
    with pytest.raises(NotFound, match="<html> nothing here") as caught:
        client.get(POD)
    assert (caught.value.reason, caught.value.body) == ("", {})
    server.on(f"GET {POD}", Answer(b"<html>Log in"))
    with pytest.raises(UnreachableError, match="no API server: it sent '<html>Log in'"):
        client.get(POD)


DENIED = 'pods is forbidden: User "jane" cannot list resource "pods/log" in API group "metrics.k8s.io"'


@pytest.mark.parametrize(
    ("message", "permission", "question"),
    [
        (
            f'{DENIED} in the namespace "lab"',
            Permission("jane", "list", "pods/log", "metrics.k8s.io", "lab", ""),
            "kubectl auth can-i list pods.metrics.k8s.io --subresource=log --namespace lab",
        ),
        (
            'nodes is forbidden: User "jane" cannot list resource "nodes" in API group "" at the cluster scope',
            Permission("jane", "list", "nodes", "", "", ""),
            "kubectl auth can-i list nodes`",
        ),
        (
            'forbidden: User "jane" cannot get path "/metrics"',
            Permission("jane", "get", "", "", "", "/metrics"),
            "kubectl auth can-i get /metrics",
        ),
        ('forbidden: User "system:anonymous" cannot get path "/x"', None, "saw no credentials"),
    ],
)
def test_a_missing_permission_is_named_at_once(
    server: ApiServer, client: Client, message: str, permission: Permission | None, question: str
) -> None:
    server.on(f"GET {PODS}", refusal(403, "Forbidden", message))
    with pytest.raises(Forbidden) as caught:
        client.items(PODS)
    assert message in caught.value.cause
    assert question in caught.value.remedy
    assert permission is None or caught.value.permission == permission
    assert (len(server.asked), client.record.retries) == (1, [])


@pytest.mark.parametrize(
    "message",
    [
        'pods "a" is forbidden: exceeded quota: npus, requested: requests.aliyun.com/npu=2, used: 3, limited: 4',
        'admission webhook "policy.example" denied the request: no',
    ],
)
def test_an_admission_rule_is_not_taken_for_a_missing_permission(
    server: ApiServer, client: Client, message: str
) -> None:
    server.on(f"POST {PODS}", refusal(403, "Forbidden", message))
    with pytest.raises(Forbidden, match="admission rule") as caught:
        client.create(PODS, pod())
    assert caught.value.permission is None
    assert caught.value.message == message


def test_a_secret_in_a_message_is_not_shown(server: ApiServer, client: Client) -> None:
    server.on(f"POST {PODS}", refusal(422, "Invalid", "spec.x: Invalid value: PASSWORD=hunter2"))
    with pytest.raises(Invalid) as caught:
        client.create(PODS, pod())
    assert "hunter2" not in str(caught.value)


# Repetition.

BUSY = refusal(503, "ServiceUnavailable", "starting", Retry_After="0")


@pytest.mark.parametrize(
    "failure",
    [
        refusal(429, "TooManyRequests", "slow down"),
        refusal(500, "InternalError", "etcd"),
        refusal(502, "", "gateway"),
        BUSY,
        refusal(504, "Timeout", "slow"),
        Answer(status=0),
        Answer(pieces=[b'{"kind":'], then="cut"),
        Answer(pieces=[b'{"kind":'], then="reset"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_transport_failure_is_repeated_and_recorded(
    server: ApiServer, client: Client, failure: Answer, method: str
) -> None:
    server.on(f"{method} {POD}", failure, failure, pod())
    before = time.time()
    assert client.request(method, POD, body=None if method == "GET" else {})["kind"] == "Pod"
    assert len(server.asked) == 3
    assert [retry.what for retry in client.record.retries] == [f"{method} {POD}"] * 2
    assert all(before <= retry.at <= time.time() and retry.reason for retry in client.record.retries)
    if failure is not BUSY:
        assert all(0 < retry.pause < 0.1 for retry in client.record.retries)


@pytest.mark.parametrize("failure", [refusal(429, "TooManyRequests", "slow down"), BUSY])
def test_a_post_that_was_turned_away_is_repeated(server: ApiServer, client: Client, failure: Answer) -> None:
    server.on(f"POST {PODS}", failure, Answer(pod(), 201))
    assert client.create(PODS, pod())["kind"] == "Pod"
    assert len(client.record.retries) == 1


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (refusal(500, "InternalError", "etcd"), ApiError),
        (refusal(503, "", "no backend"), ApiError),
        (refusal(504, "Timeout", "slow"), ApiError),
        (Answer(status=0), UnreachableError),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_change_that_may_have_been_made_is_not_repeated(
    server: ApiServer, client: Client, failure: Answer, error: type[HarnessError], method: str
) -> None:
    server.on(f"{method} {PODS}", failure)
    with pytest.raises(error):
        client.request(method, PODS, body=pod())
    assert (len(server.asked), client.record.retries) == (1, [])


def test_a_refused_connection_is_repeated_for_any_method_until_the_attempts_are_used(connected: Connect) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: it refuses, and nobody else gets it
        client = connected(f"http://127.0.0.1:{taken.getsockname()[1]}")
        client.attempts = 3
        with pytest.raises(UnreachableError, match="Connection refused"):
            client.create(PODS, pod())
    assert [retry.reason for retry in client.record.retries] == ["Connection refused"] * 2
    assert client.record.retries[0].pause < client.record.retries[1].pause


def test_the_api_server_s_own_pause_is_kept(server: ApiServer, client: Client) -> None:
    server.on(f"GET {POD}", refusal(429, "TooManyRequests", "slow down", Retry_After="1"), pod())
    began = time.monotonic()
    client.get(POD)
    assert time.monotonic() - began >= 1
    assert [retry.pause for retry in client.record.retries] == [1.0]


def test_no_pause_goes_beyond_the_time_that_is_given(server: ApiServer, client: Client) -> None:
    server.on(f"GET {POD}", refusal(429, "TooManyRequests", "slow down", Retry_After="30"))
    began = time.monotonic()
    with pytest.raises(ApiError, match="slow down"):
        client.get(POD, timeout=5)
    assert time.monotonic() - began < 2


def test_a_silent_server_costs_no_more_than_the_time_that_is_given(server: ApiServer, client: Client) -> None:
    server.on(f"GET {POD}", Answer(pieces=[b"{"], then="hold"))
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="timed out"):
        client.get(POD, timeout=0.3)
    assert time.monotonic() - began < 1


def test_side_by_side_requests_share_a_client(server: ApiServer, client: Client) -> None:
    server.on(f"GET {POD}", pod())
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(client.get(POD)["kind"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["Pod"] * 8


# Streams.


@pytest.mark.parametrize("chunked", [True, False])
@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_are_whole_wherever_the_pieces_end(
    server: ApiServer, client: Client, *, chunked: bool, data: st.DataObject
) -> None:
    lines = data.draw(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=8), max_size=6))
    whole = "".join(f"{line}\n" for line in lines).encode() + b"rest"
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(whole) - 1)), max_size=8)))
    ends = [0, *cuts, len(whole)]
    pieces = [whole[a:b] for a, b in itertools.pairwise(ends) if whole[a:b]]
    server.on(f"GET {POD}/log", Answer(pieces=pieces, chunked=chunked))
    with client.stream(f"{POD}/log") as stream:
        got = [line.decode() for line in stream.lines(time.monotonic() + 10)]
    assert got == [*lines, "rest"]


@pytest.mark.parametrize("chunked", [True, False])
def test_a_silent_stream_ends_at_its_deadline(server: ApiServer, client: Client, *, chunked: bool) -> None:
    server.on(f"GET {POD}/log", Answer(pieces=[b"one\n", b"two\n"], then="hold", chunked=chunked))
    seen: list[bytes] = []
    with client.stream(f"{POD}/log", query={"follow": "true"}) as stream:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            seen.extend(stream.lines(began + 0.4))
        assert 0.4 <= time.monotonic() - began < 0.7
    with client.stream(f"{POD}/log") as stream:
        lines = stream.lines(time.monotonic() + 5)
        assert [next(lines), next(lines)] == [b"one", b"two"]


def test_a_stream_that_breaks_off_says_so(server: ApiServer, client: Client) -> None:
    server.on(f"GET {POD}/log", Answer(pieces=[b"one\n"], then="cut"))
    with client.stream(f"{POD}/log") as stream:
        lines = stream.lines(time.monotonic() + 5)
        assert next(lines) == b"one"
        with pytest.raises(UnreachableError, match="broke off"):
            next(lines)


def test_the_beginning_of_a_stream_is_repeated_its_middle_is_not(server: ApiServer, client: Client) -> None:
    server.on(f"GET {POD}/log", refusal(500, "InternalError", "kubelet"), Answer(b"one\n"))
    with client.stream(f"{POD}/log") as stream:
        assert list(stream.lines(time.monotonic() + 5)) == [b"one"]
    assert len(client.record.retries) == 1


# Paths.


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (("Pod", "default", "a"), POD),
        (("Pod", "default"), PODS),
        (("Pod",), "/api/v1/pods"),
        (("Node", None, "n1"), "/api/v1/nodes/n1"),
        (("DaemonSet", "x", "y"), "/apis/apps/v1/namespaces/x/daemonsets/y"),
        (("Lease", "x"), "/apis/coordination.k8s.io/v1/namespaces/x/leases"),
        (("ConfigMap", "x", "../y?z"), "/api/v1/namespaces/x/configmaps/..%2Fy%3Fz"),
    ],
)
def test_every_kind_has_its_path(arguments: tuple[str, ...], path: str) -> None:
    assert path_of(*arguments) == path


@pytest.mark.parametrize("arguments", [("Pot",), ("Node", "default"), ("Pod", None, "a")])
def test_a_path_that_cannot_be_is_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"not one of|namespace"):
        path_of(*arguments)


def test_what_is_public_is_there() -> None:
    assert all(hasattr(client_module, name) for name in client_module.__all__)
