"""`npu-e2e doctor --target ack`: each line ok, missing or unknown, and what to type next."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from apiserver import ApiServer, Certificates, Object, listed, refusal, serving
from openapi.account import FakeAccount, managed_account
from openapi.clusters import LEASE, REVIEWS, Prepared, grant_all, lease, prepared
from openapi.server import Fault

from fixtures import cli
from fixtures.ack.lease import NOTE
from fixtures.ack.preflight import Line, preflight
from fixtures.errors import ExitCode
from fixtures.options import OPTIONS, Settings

pytest_plugins = ["openapi.fixtures"]

REGISTRY = "registry.cn-shanghai.aliyuncs.com"
IMAGE = f"{REGISTRY}/hgai/tensorflow:v1_resnet50-tensorflow1.9.0-toolchain1.0.2-centos7.6"
SECRET = "/api/v1/namespaces/npu-conformance/secrets/regsecret"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def server(certificates: Certificates) -> Iterator[ApiServer]:
    with serving(certificates.server_side()) as running:
        grant_all(running)
        running.on("GET /api/v1/nodes", listed("1", _node(), kind="Node"))
        running.on(f"GET {SECRET}", _secret(REGISTRY))
        yield running


def _node(**changed: Any) -> Object:
    metadata = {"name": "n1", "labels": {"node.kubernetes.io/instance-type": "ecs.ebman1.26xlarge"}}
    status: Object = {"allocatable": {"aliyun.com/npu": "4"}, "images": [{"names": [IMAGE]}]}
    return {"metadata": metadata, "spec": {}, "status": {**status, **changed}}


def _secret(registry: str) -> Object:
    held = base64.b64encode(json.dumps({"auths": {registry: {"auth": "x"}}}).encode()).decode()
    return {"kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": held}}


@pytest.fixture
def here(
    server: ApiServer,
    certificates: Certificates,
    fakes: Callable[[FakeAccount], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Prepared:
    return prepared(fakes(managed_account()), server, certificates, tmp_path, monkeypatch)  # type: ignore[arg-type]


def _lines(settings: Settings) -> dict[str, Line]:
    return {line.subject: line for line in preflight(settings)}


def _but(lines: dict[str, Line], *subjects: str) -> set[str]:
    """The states of all lines but these."""
    return {line.state for line in lines.values() if line.subject not in subjects}


def test_where_nothing_is_missing(here: Prepared) -> None:
    lines = _lines(here.settings)
    assert list(lines) == [
        *("credentials", "ACK service", "cluster", "RAM service", "permissions", "node quota"),
        *("stock of ecs.ebman1.26xlarge", "API server", "RBAC", "NPU nodes", "regsecret", "image"),
    ]
    assert _but(lines) == {"ok"}
    assert not any(line.then for line in lines.values())
    assert "acs:ram::1234567890123456:user/tester" in lines["credentials"].seen
    assert lines["node quota"].seen == "2 of 100 nodes are used"
    assert lines["NPU nodes"].seen == "1 of 1 are ecs.ebman1.26xlarge, with 4 aliyun.com/npu"


def test_without_credentials_each_step_is_told(here: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    (line,) = preflight(here.settings)
    assert (line.subject, line.state) == ("credentials", "missing")
    assert "ALIBABA_CLOUD_ACCESS_KEY_SECRET is not set" in line.seen


@pytest.mark.parametrize(
    ("permission", "subject"),
    [
        ("vpc:DescribeNatGateways", "permissions"),
        ("ram:GetRole", "RAM service"),
        ("cs:DescribeUserQuota", "node quota"),
        ("ecs:DescribeAvailableResource", "stock of ecs.ebman1.26xlarge"),
        ("cs:DescribeClusterUserKubeconfig", "API server"),
    ],
)
def test_a_permission_that_is_missing_is_named(here: Prepared, permission: str, subject: str) -> None:
    here.fake.faults.append(Fault("denied", permission.partition(":")[2]))
    line = _lines(here.settings)[subject]
    assert line.state == ("missing" if subject == "permissions" else "unknown")
    assert permission in line.seen
    assert "ack-ram-policy.json" in line.then


def test_what_the_account_lacks(here: Prepared) -> None:
    here.fake.account.node_quota = 2
    here.fake.account.stock = "WithoutStock"
    here.fake.account.cluster["state"] = "upgrading"
    lines = _lines(here.settings)
    lacks = ("node quota", "stock of ecs.ebman1.26xlarge", "cluster")
    assert {lines[subject].state for subject in lacks} == {"missing"}
    assert all(lines[subject].then for subject in lacks)
    assert _but(lines, *lacks) == {"ok"}


def test_a_service_that_is_not_activated(here: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    from openapi import server as openapi_server  # noqa: PLC0415 - the module itself
    from openapi.signature import Refusal  # noqa: PLC0415

    answered = openapi_server.answered

    def closed(fake: object, question: object, *words: str) -> object:
        if words[1] == "cs:DescribeUserQuota":
            raise Refusal(403, "ServiceNotOpen", "The service is not activated.")
        return answered(fake, question, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(openapi_server, "answered", closed)
    line = _lines(here.settings)["ACK service"]
    assert (line.state, line.then) == ("missing", "Activate it: search the console for container service, once.")


def test_what_the_cluster_lacks(here: Prepared, server: ApiServer) -> None:
    server.on("GET /api/v1/nodes", listed("1", _node(allocatable={}, images=[]), kind="Node"))
    server.on(f"GET {SECRET}", refusal(404, "NotFound", "no"))
    lines = _lines(here.settings)
    assert {subject: lines[subject].state for subject in ("NPU nodes", "regsecret", "image")} == {
        "NPU nodes": "missing",
        "regsecret": "missing",
        "image": "unknown",
    }
    assert "kubectl describe nodes" in lines["NPU nodes"].then
    assert f"--docker-server={REGISTRY}" in lines["regsecret"].then
    assert "--check flow-completed" in lines["image"].then


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (_secret("registry.cn-beijing.aliyuncs.com"), f"is not for {REGISTRY}"),
        ({"type": "Opaque", "data": {}}, "is of the type Opaque"),
        ({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "%%"}}, "holds no configuration"),
    ],
)
def test_a_secret_of_another_registry(here: Prepared, server: ApiServer, secret: Object, words: str) -> None:
    server.on(f"GET {SECRET}", secret)
    line = _lines(here.settings)["regsecret"]
    assert (line.state, words in line.seen) == ("missing", True)


def test_labels_that_nodes_lack(here: Prepared) -> None:
    line = _lines(replace(here.settings, node_labels=("npu=hanguang",)))["NPU nodes"]
    assert (line.state, "0 of 1" in line.seen) == ("missing", True)


def test_a_right_that_is_missing(here: Prepared, server: ApiServer) -> None:
    server.on(f"POST {REVIEWS}", {"status": {"allowed": False}})
    line = _lines(here.settings)["RBAC"]
    assert (line.state, "create namespaces" in line.seen) == ("missing", True)


def test_an_api_server_that_is_not_allowed(here: Prepared, tmp_path: Path) -> None:
    line = _lines(replace(here.settings, allow_list=tmp_path / "none.toml"))["API server"]
    assert (line.state, "[[cluster]]" in line.then) == ("missing", True)


def _words(settings: Settings) -> list[str]:
    words = []
    for name in ("target", "cluster-id", "region", "allow-list", "ack-protocol"):
        option = next(option for option in OPTIONS if option.name == name)
        words += [f"--{name}", str(getattr(settings, option.key))]
    return [*words, "--ack-endpoint", settings.ack_endpoint[""]]


def test_the_command(here: Prepared, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", *_words(here.settings)]) == ExitCode.OK
    assert "ok      cluster: npu is running, ManagedKubernetes, 1.34.1-aliyun.1\n" in capsys.readouterr().out
    here.fake.account.node_quota = 1
    assert cli.main(["doctor", *_words(here.settings)]) == ExitCode.FAILED
    here.fake.account.node_quota = 100
    here.fake.faults.append(Fault("denied", "DescribeAvailableResource"))
    assert cli.main(["doctor", *_words(here.settings)]) == ExitCode.INCONCLUSIVE


def test_nothing_is_changed(here: Prepared, server: ApiServer) -> None:
    _lines(here.settings)
    assert {one.method for one in server.asked if not one.path.endswith("selfsubjectaccessreviews")} == {"GET"}
    assert all(one.action.startswith(("Describe", "Get", "List")) for one in here.fake.asked)


def test_a_wrong_option_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--target", "ack", "--ack-protocol", "ftp"]) == ExitCode.INCONCLUSIVE
    assert "--ack-protocol is 'ftp': not one of https, http." in capsys.readouterr().err


def test_clean_removes_what_an_interrupted_run_left(
    here: Prepared, server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    left = {"metadata": {"name": "npu-e2e-1", "uid": "u-1"}}
    server.on("GET /api/v1/namespaces", listed("1", left, kind="Namespace"))
    server.on("DELETE /api/v1/namespaces/npu-e2e-1", {"kind": "Status"})
    assert cli.main(["clean", *_words(here.settings)]) == ExitCode.OK
    assert "the namespace npu-e2e-1." in capsys.readouterr().out


def test_clean_puts_a_node_pool_back(here: Prepared, server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    was = {"pool": "np-1", "size": 2, "nodes": ["i-1", "i-2"]}
    here.fake.account.task_polls = 0
    here.fake.account.task(here.fake.account.scale("np-1", 3))
    left = lease("killed", ago=1000)
    left["metadata"]["annotations"] = {NOTE: json.dumps(was)}
    server.on(f"GET {LEASE}", left)
    assert cli.main(["clean", *_words(here.settings)]) == ExitCode.OK
    assert "the node pool np-1." in capsys.readouterr().out
    assert {node["instance_id"] for node in here.fake.account.nodes} == {"i-1", "i-2"}
    noted = [json.loads(one.body)["metadata"].get("annotations") for one in server.asked_for(f"PUT {LEASE}")]
    assert noted == [{NOTE: json.dumps(was)}, None]
