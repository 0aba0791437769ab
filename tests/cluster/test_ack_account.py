"""The target ack as the ServiceAccount of deploy/ack-rbac.yaml: on a kind cluster, with a fake OpenAPI beside it."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi.account import CLUSTER, managed_account
from openapi.server import KEY, SECRET, serving

from cluster.ackobjects import ca_sha256, regsecret
from cluster.runs import NAME, ROOT, Ran
from fixtures.ack.bounds import RUN_LABEL, bounded
from fixtures.ack.lease import NAME as LEASE
from fixtures.ack.lease import NAMESPACE
from fixtures.ack.rights import ACCOUNT, Right, require_rights, rights
from fixtures.apierrors import Forbidden
from fixtures.apipaths import path_of
from fixtures.client import Client, Object, connect
from fixtures.engine import tools
from fixtures.errors import HarnessError
from fixtures.kubeconfig import chosen
from fixtures.kubectl import Kubectl
from fixtures.record import Record
from fixtures.steps import Steps
from fixtures.targets.kind import clusters_folder
from fixtures.versions import KUBERNETES
from fixtures.wait import there, wait_for

RUN_SECONDS = 3000
SETTLE_SECONDS = 20.0
"""For the API server to hear of a role that was changed."""


@pytest.fixture(scope="module")
def admin(first: Ran) -> Path:
    """An administrator's kubeconfig of a kind cluster with fake NPUs."""
    assert first.status == 0, first.shown
    return clusters_folder() / NAME / "kubeconfig"


@dataclass(frozen=True)
class Applied:
    """What an administrator applied.

    Attributes:
        admin: the administrator's client.
        roles: the objects that grant rights, as they were applied.
        kubeconfig: of the ServiceAccount.
        client: as the ServiceAccount.
        image: of the workload, which the nodes have.
    """

    admin: Client
    roles: list[Object]
    kubeconfig: Path
    client: Client
    image: str


def _kubectl(admin: Path, *words: str, stdin: str = "") -> str:
    return Kubectl(tools.kubectl(KUBERNETES, Steps(sys.stderr)), admin).run(*words, stdin=stdin.encode())


@pytest.fixture(scope="module")
def applied(admin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applied]:
    rendered = (ROOT / "deploy/ack-rbac.yaml").read_text()
    objects = list(yaml.safe_load_all(rendered))
    with ExitStack() as held:
        _kubectl(admin, "apply", "--filename", "-", stdin=rendered)
        held.callback(_kubectl, admin, "delete", "--wait=false", "--filename", "-", stdin=rendered)
        _kubectl(admin, "apply", "--filename", "-", stdin=json.dumps(regsecret(NAMESPACE)))
        token = _kubectl(admin, "create", "token", ACCOUNT, "--namespace", NAMESPACE, "--duration", "2h").strip()
        shown = ("get", "daemonset", "fake-npu", "--namespace", "npu-system")
        image = _kubectl(admin, *shown, "--output", "jsonpath={.spec.template.spec.containers[0].image}")
        file = tmp_path_factory.mktemp("account") / "kubeconfig"
        context = chosen(admin)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "restricted",
            "clusters": [{"name": "c", "cluster": context.cluster}],
            "contexts": [{"name": "restricted", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": token}}],
        }
        file.write_text(yaml.safe_dump(config))
        file.chmod(0o600)
        roles = [obj for obj in objects if obj["kind"] in ("ClusterRole", "Role")]
        yield Applied(
            held.enter_context(connect(admin, Record())),
            roles,
            file,
            held.enter_context(connect(file, Record())),
            image,
        )


@pytest.mark.usefixtures("applied")  # its namespace
@pytest.mark.parametrize("name", ["ack-rbac.yaml", "ack-cronjob.yaml"])
def test_a_manifest_is_taken_as_it_is(admin: Path, name: str) -> None:
    program = tools.kubectl(KUBERNETES, Steps(sys.stderr))
    words = ("apply", "--dry-run=server", "--validate=strict", "--filename", ROOT / "deploy" / name)
    done = subprocess.run([program, "--kubeconfig", admin, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


def test_a_run_passes_as_the_restricted_account(applied: Applied, tmp_path: Path) -> None:
    digest = ca_sha256(applied.kubeconfig)
    allowed = tmp_path / "allowed.toml"
    allowed.write_text(f'[[cluster]]\nid = "{CLUSTER}"\ncontext = "restricted"\nca-sha256 = "{digest}"\n')
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environ |= {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": KEY,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": SECRET,
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
    }
    account = managed_account()
    workers = (node["metadata"]["name"] for node in applied.admin.items(path_of("Node")) if _has_npus(node))
    for node, name in zip(
        account.nodes, workers, strict=False
    ):  # ACK knows each by the name that it has in the cluster
        node["node_name"] = name
    with serving(account) as fake:
        words = ["--target", "ack", "--cluster-id", CLUSTER, "--region", "cn-shanghai", "--allow-list", str(allowed)]
        words += ["--kubeconfig", str(applied.kubeconfig), "--context", "restricted", "--image", applied.image]
        words += ["--ack-endpoint", fake.address, "--ack-protocol", "http", "--results", str(tmp_path / "results")]
        argv = [sys.executable, "-m", "pytest", "e2e", "--profile", "conformance", *words]
        done = subprocess.run(
            argv, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "results/results.json").read_text())
    assert results["verdict"]["result"] == "pass"
    outcomes = {check["id"]: check["outcome"] for check in results["checks"]}
    passed = (
        "flow-completed",
        "infra-security-group",
        "zero-ok",
        "req-eq-limit",
        "access-none-opened",
        "access-no-mknod",
    )
    assert {outcomes[check] for check in passed} == {"passed"}
    assert set(outcomes.values()) <= {"passed", "skipped"}
    assert results["subject"]["before"]["nodes"], "the account may read what a gate asks for"
    assert results["subject"]["after"]["nodes"]
    assert results["inventory"]["left_behind"] == []
    assert _gate(tmp_path) == 0, "what the account may see is enough for a verdict"
    left = applied.admin.items(path_of("Namespace"), labels=RUN_LABEL)
    assert all(namespace["metadata"].get("deletionTimestamp") for namespace in left)
    assert not [obj for obj in applied.admin.items(path_of("Lease", NAMESPACE)) if obj["metadata"]["name"] == LEASE]


def _has_npus(node: Object) -> bool:
    return "aliyun.com/npu" in node["status"]["allocatable"]


def _gate(folder: Path) -> int:
    """The gate's exit code by the policy for ACK, with the accuracies of the fake NPU; one run has but one rate."""
    policies = ROOT / "gate/policies"
    ack, _, _ = (policies / "ack.toml").read_text().partition("[accuracy]")
    _, _, accuracy = (policies / "kind.toml").read_text().partition("[accuracy]")
    (folder / "policy.toml").write_text(f"{ack}[accuracy]{accuracy}")
    files = ("--results", str(folder / "results"), "--policy", str(folder / "policy.toml"))
    argv = [sys.executable, "-m", "fixtures.cli", "gate", *files]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout + done.stderr)  # pytest shows it with a failure
    return done.returncode


def test_each_right_that_is_taken_away_is_named(applied: Applied) -> None:
    require_rights(applied.client)
    for right in rights():
        with ExitStack() as held:
            held.callback(_granted, applied, [])
            _granted(applied, [right])
            assert _named(applied.client) == f"The user of the kubeconfig may not: {right}."
    assert _named(applied.client, until="") == ""


def _granted(applied: Applied, without: list[Right]) -> None:
    """The roles as they were applied, without these rights."""
    for role in copy.deepcopy(applied.roles):
        scope = role["metadata"].get("namespace", "")
        rules: list[Any] = []
        for rule in role["rules"]:
            for resource in rule["resources"]:
                gone = {
                    right.verb
                    for right in without
                    if (right.namespace, right.group, right.resource) == (scope, rule["apiGroups"][0], resource)
                    and [right.name] == rule.get("resourceNames", [""])
                }
                if verbs := [verb for verb in rule["verbs"] if verb not in gone]:
                    rules.append({**rule, "resources": [resource], "verbs": verbs})
        path = path_of(role["kind"], scope or None, role["metadata"]["name"])
        applied.admin.patch(path, {"rules": rules})


def _named(client: Client, *, until: str | None = None) -> str:
    """What is missing, once something is, or, with `until`, once that is what is said."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            require_rights(client)
            said = ""
        except HarnessError as error:
            said = error.cause
        if (said if until is None else said == until) or time.monotonic() > deadline:
            return said


def test_a_bounded_namespace_takes_few_npus_and_no_other_priority(applied: Applied) -> None:
    name = f"npu-e2e-bounds-{os.getpid()}"
    made = applied.client.create(path_of("Namespace"), {"metadata": {"name": name}})
    try:
        account = path_of("ServiceAccount", name, "default")
        wait_for(applied.client, f"the default service account of {name}", account, there, timeout=60)
        bounded(applied.client, name, resource="aliyun.com/npu", most=1)
        with pytest.raises(Forbidden, match="exceeded quota: npus"):
            applied.client.create(path_of("Pod", name), _pod("two", npus=2, priority="npu-conformance"))
        with pytest.raises(Forbidden, match="exceeded quota: other-priorities"):
            applied.client.create(path_of("Pod", name), _pod("other", npus=1, priority=None))
        taken = applied.client.create(path_of("Pod", name), _pod("one", npus=1, priority="npu-conformance"))
        assert (taken["spec"]["priority"] < 0, taken["spec"]["preemptionPolicy"]) == (True, "Never")
    finally:
        applied.admin.delete(path_of("Namespace", None, name), uid=made["metadata"]["uid"])


def _pod(name: str, *, npus: int, priority: str | None) -> Object:
    spec: Object = {
        "nodeSelector": {"npu-conformance/nowhere": "true"},
        "containers": [
            {"name": "main", "image": "none.invalid/none", "resources": {"limits": {"aliyun.com/npu": str(npus)}}}
        ],
    }
    if priority:
        spec["priorityClassName"] = priority
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
