"""The ACK target: which cluster it takes, for how long, what it asks for, and what it leaves behind."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import ApiServer, Certificates, Object, kubeconfig, listed, refusal, serving
from openapi.account import CLUSTER, FakeAccount, managed_account
from openapi.clusters import CLASS, LEASE, LEASES, REVIEWS, grant_all, kubeconfig_of, lease, prepared
from openapi.server import FakeOpenApi, Fault

from fixtures.ack.bounds import RUN_LABEL, bounded, priority_class, quotas, removed_leftovers
from fixtures.ack.lease import held_lease
from fixtures.ack.rights import CAPABILITIES, Right, is_gentle, require_rights, rights
from fixtures.catalogue import collected
from fixtures.checks import Check
from fixtures.client import Client, connect
from fixtures.errors import HarnessError
from fixtures.options import OPTIONS, settings_said
from fixtures.presets import presets
from fixtures.record import Record
from fixtures.steps import Steps
from fixtures.targets import Cluster
from fixtures.targets.ack import ack_cluster

pytest_plugins = ["openapi.fixtures"]
pytestmark = pytest.mark.usefixtures("alone")

Run = Callable[..., AbstractContextManager[Cluster]]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def server(certificates: Certificates) -> Iterator[ApiServer]:
    """An API server that grants everything and holds nothing."""
    with serving(certificates.server_side()) as running:
        grant_all(running)
        yield running


@pytest.fixture
def client(server: ApiServer, certificates: Certificates, tmp_path: Path) -> Iterator[Client]:
    with connect(kubeconfig_of(tmp_path, server, certificates), Record()) as connected:
        yield connected


@pytest.fixture
def run(
    server: ApiServer,
    certificates: Certificates,
    fakes: Callable[[FakeAccount], FakeOpenApi],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """The target, on a managed cluster whose kubeconfig leads to `server`; the allow-list has it."""
    found = prepared(fakes(managed_account()), server, certificates, tmp_path, monkeypatch)

    def with_settings(**changed: Any) -> AbstractContextManager[Cluster]:
        return ack_cluster(replace(found.settings, **changed), Steps(io.StringIO()), Record())

    with_settings.fake = found.fake  # type: ignore[attr-defined]
    return with_settings


def _fake(run: Run) -> FakeOpenApi:
    found: FakeOpenApi = run.fake  # type: ignore[attr-defined]
    return found


def test_from_a_cluster_s_id_to_a_cluster(run: Run, server: ApiServer) -> None:
    with run() as cluster:
        file = cluster.kubectl.kubeconfig
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert str(file).startswith("/dev/shm/") == os.access("/dev/shm", os.W_OK)  # noqa: S108
        asked = next(one for one in _fake(run).asked if one.action == "DescribeClusterUserKubeconfig").query
        assert asked == {"TemporaryDurationMinutes": "70", "PrivateIpAddress": "false"}
        assert cluster.capabilities == {"cloud", "visible-devices-env"}
        assert cluster.facts["cluster"] == f"npu ({CLUSTER}) in cn-shanghai"
        assert cluster.facts["cluster type"] == "ManagedKubernetes Default"
        assert cluster.facts["nodes"] == "1, of which 0 with aliyun.com/npu"
        assert cluster.node_images == {}, "its one node is no instance"
        assert cluster.labels == {RUN_LABEL: cluster.facts["run"]}
        assert cluster.priority_class == "npu-conformance"
    assert not file.parent.exists()
    assert server.asked_for(f"DELETE {LEASE}")[0].body


def test_each_node_is_known_by_the_image_that_its_instance_was_made_from(run: Run, server: ApiServer) -> None:
    account = _fake(run).account
    instance = next(iter(account.instances))
    nodes = [
        {"metadata": {"name": name}, "spec": {"providerID": f"cn-shanghai.{id_}"}, "status": {}}
        for name, id_ in (("a", instance), ("b", "i-of-nobody"))
    ]
    other = account.add_node()
    account.nodes[-1]["node_name"] = "c"
    account.instances[other]["ImageId"] = "m-of-c"
    nodes.append({"metadata": {"name": "c"}, "spec": {"providerID": "of another form"}, "status": {}})
    server.on("GET /api/v1/nodes", {"items": nodes})
    with run() as cluster:
        assert cluster.node_images == {"a": account.instances[instance]["ImageId"], "c": "m-of-c"}
    _fake(run).allowed = ["cs:*", "sts:*"]
    with run() as cluster:
        assert cluster.node_images == {}, "a check says which permission is missing"


def test_every_pod_of_a_run_stands_below_all_others(run: Run, server: ApiServer) -> None:
    pods, jobs = "/api/v1/namespaces/a/pods", "/apis/batch/v1/namespaces/a/jobs"
    server.on(f"POST {pods}", {})
    server.on(f"POST {jobs}", {})
    with run() as cluster:
        cluster.client.create(pods, {"spec": {"containers": []}})
        cluster.client.create(pods, {"spec": {"priorityClassName": "mine"}})
        cluster.client.create(jobs, {"spec": {"template": {"spec": {"containers": []}}}})
    made = [yaml.safe_load(one.body)["spec"] for one in server.asked_for(f"POST {pods}")]
    assert [spec["priorityClassName"] for spec in made] == ["npu-conformance", "mine"]
    (job,) = server.asked_for(f"POST {jobs}")
    assert yaml.safe_load(job.body)["spec"]["template"]["spec"]["priorityClassName"] == "npu-conformance"


def test_the_private_endpoint_is_asked_for(run: Run) -> None:
    with run(private_endpoint=True):
        assert _fake(run).asked[0].query["PrivateIpAddress"] == "true"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"cluster_id": None}, "Add `--cluster-id ID`"),
        ({"region": None}, "--region"),
        ({"kubeconfig": Path("/nonexistent/config")}, "Add `--context NAME`"),
        ({"cluster_id": "c-none"}, "ErrorClusterNotFound"),
    ],
)
def test_a_cluster_is_named_on_purpose(run: Run, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(HarnessError, match=re.escape(words)), run(**changed):
        pass


def test_an_unknown_cluster_is_not_touched_and_its_entry_is_told(run: Run, server: ApiServer, tmp_path: Path) -> None:
    entry = (tmp_path / "allowed.toml").read_text()
    (tmp_path / "allowed.toml").unlink()
    with pytest.raises(HarnessError, match="not on the allow-list") as caught, run():
        pass
    assert entry.strip() in caught.value.remedy
    assert server.asked == []


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('context = "test"', 'context = "other"', "context"),
        ('ca-sha256 = "', 'ca-sha256 = "0', "certificate authority"),
    ],
)
def test_another_cluster_under_the_same_name_is_refused(
    run: Run, tmp_path: Path, old: str, new: str, what: str
) -> None:
    file = tmp_path / "allowed.toml"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(HarnessError, match=f"The {what} of {CLUSTER} is not the one"), run():
        pass


@pytest.mark.parametrize("text", ["[[cluster]]\nid = 1", "cluster = 3", "x = 1", "[[cluster]]\nid = 'a'", "= ="])
def test_a_wrong_allow_list_allows_nothing(run: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "allowed.toml").write_text(text)
    with pytest.raises(HarnessError, match="The allow-list"), run():
        pass


def test_a_server_that_is_not_verified_is_refused(run: Run, server: ApiServer, tmp_path: Path) -> None:
    config = kubeconfig(tmp_path, server.url, {"token": "t"}, {"insecure-skip-tls-verify": True})
    _fake(run).account.kubeconfig = config.read_text()
    with pytest.raises(HarnessError, match="does not verify"), run():
        pass
    assert server.asked == []


def test_a_cluster_that_does_not_run_is_not_tested(run: Run) -> None:
    _fake(run).account.cluster["state"] = "upgrading"
    with pytest.raises(HarnessError, match="is upgrading, not running"), run():
        pass


@pytest.mark.parametrize("what", ["denied", "no-id", "empty"])
def test_no_kubeconfig_is_no_cluster(run: Run, what: str) -> None:
    _fake(run).faults.append(Fault("empty" if what == "no-id" else what, "DescribeClusterUserKubeconfig"))
    with pytest.raises(HarnessError, match="DescribeClusterUserKubeconfig"), run():
        pass


def test_a_kubeconfig_is_never_shown(run: Run) -> None:
    _fake(run).account.kubeconfig = "apiVersion: v1\nkind: Config\nusers: [{user: {token: very-secret-token}}]"
    with pytest.raises(HarnessError) as caught, run():
        pass
    assert "very-secret-token" not in str(caught.value)


def test_no_two_runs_at_once(run: Run, server: ApiServer) -> None:
    server.on(f"GET {LEASE}", lease("anna@laptop (1)", ago=20))
    with pytest.raises(HarnessError, match=re.escape("Another run, anna@laptop (1), tests this cluster")), run():
        pass
    assert not server.asked_for(f"PUT {LEASE}")
    assert not server.asked_for(f"DELETE {LEASE}")


def test_the_lease_of_an_interrupted_run_ends(client: Client, server: ApiServer) -> None:
    server.on(f"GET {LEASE}", lease("anna@laptop (1)", ago=91))
    with held_lease(client, "us"):
        (taken,) = server.asked_for(f"PUT {LEASE}")
        assert yaml.safe_load(taken.body)["metadata"]["resourceVersion"] == "7"
    (given_back,) = server.asked_for(f"DELETE {LEASE}")
    assert yaml.safe_load(given_back.body)["preconditions"] == {"uid": "lease-1"}


@pytest.mark.parametrize("request_", [f"PUT {LEASE}", f"POST {LEASES}"])
def test_of_two_runs_that_come_at_once_one_goes(client: Client, server: ApiServer, request_: str) -> None:
    if request_.startswith("PUT"):
        server.on(f"GET {LEASE}", lease("x", ago=1000))
    server.on(request_, refusal(409, "Conflict", "too late"))
    with pytest.raises(HarnessError, match="in the same moment"), held_lease(client, "us"):
        pass


def test_a_lease_that_is_lost_spoils_the_run(
    client: Client, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.ack.lease.SECONDS", 0.03)
    server.on(f"PUT {LEASE}", refusal(409, "Conflict", "another"))

    def until_asked() -> None:
        while not server.asked_for(f"PUT {LEASE}"):
            continue

    with pytest.raises(HarnessError, match="was lost"), held_lease(client, "us"):
        until_asked()


def test_a_namespace_for_the_lease_has_to_be_there(client: Client, server: ApiServer) -> None:
    server.on(f"POST {LEASES}", refusal(404, "NotFound", "no namespace"))
    with pytest.raises(HarnessError, match=r"deploy/ack-rbac\.yaml"), held_lease(client, "us"):
        pass


def test_leftovers_of_runs_that_are_over_are_removed_by_their_uid(client: Client, server: ApiServer) -> None:
    ended = {"metadata": {"name": "npu-e2e-1", "uid": "u-1"}}
    ending = {"metadata": {"name": "npu-e2e-2", "uid": "u-2", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    reborn = {"metadata": {"name": "npu-e2e-3", "uid": "u-3"}}
    server.on("GET /api/v1/namespaces", listed("1", ended, ending, reborn, kind="Namespace"))
    server.on("DELETE /api/v1/namespaces/npu-e2e-1", {"kind": "Status"})
    server.on("DELETE /api/v1/namespaces/npu-e2e-3", refusal(409, "Conflict", "another uid"))
    assert removed_leftovers(client, "me") == ["npu-e2e-1"]
    (question,) = server.asked_for("GET /api/v1/namespaces")
    wanted = f"app.kubernetes.io/managed-by=npu-conformance,{RUN_LABEL},{RUN_LABEL}!=me"
    assert question.query["labelSelector"] == wanted
    (deleted,) = server.asked_for("DELETE /api/v1/namespaces/npu-e2e-1")
    assert yaml.safe_load(deleted.body)["preconditions"] == {"uid": "u-1"}
    assert not server.asked_for("DELETE /api/v1/namespaces/npu-e2e-2")


def test_a_namespace_is_bounded(client: Client, server: ApiServer) -> None:
    path = "/api/v1/namespaces/ns/resourcequotas"
    server.on(f"POST {path}", {"kind": "ResourceQuota"})
    for name in ("npus", "other-priorities"):
        counted = {"metadata": {"name": name, "resourceVersion": "1"}, "status": {"hard": {"pods": "0"}}}
        server.on(f"GET {path}", listed("1", counted, kind="ResourceQuota"))
        server.on(f"GET {path}/{name}", counted)
    server.on(
        f"GET {path}", listed("1", *(_counted(name) for name in ("npus", "other-priorities")), kind="ResourceQuota")
    )
    bounded(client, "ns", resource="aliyun.com/npu", most=2)
    made = [yaml.safe_load(one.body)["spec"] for one in server.asked_for(f"POST {path}")]
    assert made == [quota["spec"] for quota in quotas("aliyun.com/npu", 2)]
    assert made[0]["hard"] == {"requests.aliyun.com/npu": "2"}


def _counted(name: str) -> Object:
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": "1"}, "status": {"hard": {"pods": "0"}}}


def test_each_right_that_is_missing_is_named(
    client: Client, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = server.next
    denied: list[Right] = []

    def reviewed(asked: Any) -> Any:
        found = answer(asked)
        if asked.path == REVIEWS:
            question = yaml.safe_load(asked.body)["spec"]["resourceAttributes"]
            found = replace(found, body={"status": {"allowed": question != denied[-1].question}})
        return found

    monkeypatch.setattr(server, "next", reviewed)
    for right in rights():
        denied.append(right)
        with pytest.raises(HarnessError) as caught:
            require_rights(client)
        assert caught.value.cause == f"The user of the kubeconfig may not: {right}."
        assert "ack-rbac.yaml" in caught.value.remedy
    assert len({str(right) for right in denied}) == len(denied) > 20


def test_a_priority_that_is_not_below_others_is_refused(client: Client, server: ApiServer) -> None:
    for wrong in ({"value": 0}, {"preemptionPolicy": "PreemptLowerPriority"}):
        server.on(f"GET {CLASS}", {**priority_class(), **wrong})
        with pytest.raises(HarnessError, match="above others, or evict"):
            require_rights(client, [])


def test_what_a_check_declares_is_asked_for_unless_the_target_cannot_run_it() -> None:
    here = Check("a", "must", "A.", "documented", ("cloud",), verbs=("jobs.batch/status: get", "services: create"))
    elsewhere = Check("b", "must", "B.", "documented", ("faults",), verbs=("services: get",))
    more = set(rights([here, elsewhere])) - set(rights())
    assert more == {Right("batch", "jobs/status", "get"), Right("", "services", "create")}


def test_what_needs_no_more_than_ack_may_have_is_gentle_so_that_a_run_leaves_out_none_without_a_reason() -> None:
    needing_no_more = [entry.check for entry in collected() if set(entry.check.needs) <= CAPABILITIES]
    assert [check.id for check in needing_no_more if not is_gentle(check)] == []


@pytest.mark.parametrize(
    "verbs",
    [
        *("users: impersonate", "nodes/status: patch", "nodes: patch", "pods/exec: create", "pods/status: patch"),
        *("deviceclasses.resource.k8s.io: create", "daemonsets.apps: delete", "pods: deletecollection"),
        *("resourcequotas: create", "limitranges: create"),
    ],
)
def test_what_touches_others_is_not_gentle_and_not_granted(verbs: str) -> None:
    rough = Check("a", "must", "A.", "conformance", verbs=("pods: create", verbs))
    assert not is_gentle(rough)
    assert rights([rough]) == rights()


def test_secrets_of_others_are_not_asked_for() -> None:
    reader = Check("a", "must", "A.", "documented", verbs=("secrets: create get list",))
    held = [right for right in rights([reader]) if right.resource == "secrets"]
    assert {(right.verb, right.namespace, right.name) for right in held} == {
        ("create", "", ""),
        ("get", "npu-conformance", "regsecret"),
    }


def test_the_settings_that_a_command_reads(tmp_path: Path) -> None:
    environ = {"NPU_E2E_CLUSTER_ID": "c-env", "NPU_E2E_REGION": "cn-beijing", "NPU_E2E_ALLOW_SCALING": "yes"}
    settings = settings_said({"cluster-id": "c-typed", "instance-types": "a, b"}, environ)
    assert (settings.cluster_id, settings.region, settings.allow_scaling) == ("c-typed", "cn-beijing", True)
    assert settings.instance_types == ("a", "b")
    assert settings_said({}, {}).instance_types == ("ecs.ebman1.26xlarge",)
    own = tmp_path / "ppu.toml"
    own.write_text('resource = "alibabacloud.com/ppu"\nnode-labels = ["aliyun.accelerator/xpu_type=ppu"]\n')
    other = settings_said({"preset": str(own)}, {})
    assert (other.resource, other.node_labels) == ("alibabacloud.com/ppu", ("aliyun.accelerator/xpu_type=ppu",))
    assert settings_said({"preset": str(own), "resource": "x.y/z"}, {}).resource == "x.y/z"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"preset": "hanguan"}, "not one of amd, hanguang, nvidia"),
        ({"max-npus": "0"}, "--max-npus is '0'"),
        ({"ack-endpoint": "https://x/"}, "PRODUCT=HOST"),
        ({"node-labels": "x"}, "not KEY=VALUE"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(typed: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        settings_said(typed, {})


def test_a_preset_s_key_is_spelled_right(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    for text, words in (
        ("resorce = 'a'", "did you mean 'resource'"),
        ("resource = 3", "resource is not text"),
        ("resource = ['a', 'b']", "resource is not text"),
        ("node-labels = [3]", "node-labels is not a list of texts"),
        ("visible-devices-env = 'no name'", "not the name of an environment variable"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=words):
            settings_said({"preset": str(file)}, {})


@pytest.mark.parametrize(
    ("name", "resource", "node", "variable"),
    [
        ("hanguang", "aliyun.com/npu", "/dev/npu0", "NPU_VISIBLE_DEVICES"),
        ("nvidia", "nvidia.com/gpu", "/dev/nvidia0", "NVIDIA_VISIBLE_DEVICES"),
        ("amd", "amd.com/gpu", "/dev/dri/renderD128", ""),
    ],
)
def test_the_presets_are_those_of_real_device_plugins(name: str, resource: str, node: str, variable: str) -> None:
    said = settings_said({"preset": name}, {})
    assert (said.resource, said.visible_devices_env) == (resource, variable)
    assert fnmatch(node, said.device_path_pattern)
    assert name in presets()


def test_what_all_containers_of_nvidias_get_is_no_device() -> None:
    assert not fnmatch("/dev/nvidiactl", settings_said({"preset": "nvidia"}, {}).device_path_pattern)


def test_the_defaults_are_those_of_the_document_s_preset() -> None:
    said = settings_said({}, {})
    defaults = {option.key: option.default for option in OPTIONS}
    assert {name: getattr(said, name) for name in ("resource", "instance_types", "node_labels")} == {
        name: defaults[name] for name in ("resource", "instance_types", "node_labels")
    }
