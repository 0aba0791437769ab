"""deploy/ack.Dockerfile and deploy/ack-cronjob.yaml as they are: built, and run by a Job on kind.

What ACK adds to the pod is added here: the token of its ServiceAccount with the audience of STS, and the variables that
name it, as its webhook for RRSA does. Alibaba's OpenAPI is a container of the same pod, at 127.0.0.1.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from apiserver import Certificates
from openapi.account import CLUSTER

from cluster.ackobjects import ca_sha256, regsecret
from cluster.runs import NAME, ROOT, Ran
from fixtures.ack.lease import NAMESPACE
from fixtures.ack.rights import ACCOUNT
from fixtures.apipaths import path_of
from fixtures.client import Client, Object, connect
from fixtures.engine import private, tools
from fixtures.engine.container import OURS, Engine, found_engine
from fixtures.engine.npuimage import BASE
from fixtures.kubectl import Kubectl
from fixtures.pods import ended
from fixtures.process import run
from fixtures.record import Record
from fixtures.steps import Steps
from fixtures.targets.kind import clusters_folder, on_kind_node
from fixtures.versions import KUBERNETES, PYTHON_IMAGE
from fixtures.wait import Objects, wait_for_all

IMAGE = f"{OURS}/ack-nightly:test"
PORT = 8443
ROLE, PROVIDER = "acs:ram::1:role/npu-conformance", "acs:ram::1:oidc-provider/ack-rrsa-test"
BUILD_SECONDS = 1200.0
JOB_SECONDS = 240.0
NODE = f"{NAME}-worker"
VOLUME = "/var/npu-conformance-results"
"""On NODE: what stands for the disk that ACK makes for the claim."""
CONNECTS = f"import socket; socket.create_connection(('127.0.0.1', {PORT}))"
WITH_PIP = f"""
FROM {BASE}
COPY pip.whl ca.crt /usr/local/lib/
ENV PYTHONPATH=/usr/local/lib/pip.whl PIP_CERT=/usr/local/lib/ca.crt PIP_BREAK_SYSTEM_PACKAGES=1
RUN ln -s /usr/bin/python3 /usr/local/bin/python
"""
"""Debian's Python, where the one of the Dockerfile cannot be pulled, with what that has."""


@dataclass(frozen=True)
class Cloud:
    """An engine, and an administrator of its cluster."""

    engine: Engine
    client: Client
    kubectl: Kubectl

    def on_node(self, *argv: str) -> str:
        return on_kind_node(self.engine, NAME, NODE, argv)


@pytest.fixture(scope="module")
def cloud(first: Ran) -> Iterator[Cloud]:
    assert first.status == 0, first.shown
    engine = found_engine() or private.running_engine()
    assert engine is not None
    admin = clusters_folder() / NAME / "kubeconfig"
    with connect(admin, Record()) as client:
        yield Cloud(engine, client, Kubectl(tools.kubectl(KUBERNETES, Steps(sys.stderr)), admin))


@pytest.fixture(scope="module")
def image(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The nightly's image, built by its Dockerfile, on NODE."""
    folder, engine = tmp_path_factory.mktemp("image"), cloud.engine
    (folder / "bin").mkdir()
    shutil.copy(cloud.kubectl.program, folder / "bin/kubectl")
    given = {"KUBECTL": _built(engine, "kubectl", "FROM scratch\nCOPY bin /bin\n", folder)}
    if not engine.image_id(PYTHON_IMAGE):
        run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "pip"], timeout=120)
        next(folder.glob("pip-*.whl")).rename(folder / "pip.whl")
        shutil.copy(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"), folder / "ca.crt")
        given["PYTHON"] = _built(engine, "python-with-pip", WITH_PIP, folder)
    if index := os.environ.get("PIP_INDEX_URL"):
        given["PIP_INDEX_URL"] = index
    options = [word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")]
    options += ["--network", "host", "--file", str(ROOT / "deploy/ack.Dockerfile"), "--tag", IMAGE]
    engine.run("build", *options, ROOT, timeout=BUILD_SECONDS)
    engine.run("save", "--output", folder / "image.tar", IMAGE)
    kind, where = tools.kind(Steps(sys.stderr)), ("--name", NAME, "--nodes", NODE)
    run([kind, "load", "image-archive", folder / "image.tar", *where], env=engine.env, timeout=300)
    return IMAGE


def _built(engine: Engine, name: str, dockerfile: str, context: Path) -> str:
    (context / "Dockerfile").write_text(dockerfile)
    engine.run("build", "--tag", f"{OURS}/{name}:test", context, timeout=BUILD_SECONDS)
    return f"{OURS}/{name}:test"


def test_the_base_is_the_one_that_the_harness_pins() -> None:
    assert f"ARG PYTHON={PYTHON_IMAGE}\n" in (ROOT / "deploy/ack.Dockerfile").read_text()


def test_the_nightly_job_passes(cloud: Cloud, image: str, tmp_path: Path) -> None:
    workload = cloud.client.get(path_of("DaemonSet", "npu-system", "fake-npu"))["spec"]["template"]["spec"]
    objects = _objects(cloud, image, workload["containers"][0]["image"], Certificates(tmp_path))
    cloud.on_node("install", "-d", "-m", "0770", VOLUME)
    rbac = list(yaml.safe_load_all((ROOT / "deploy/ack-rbac.yaml").read_text()))
    both = yaml.safe_dump_all([*rbac, *objects]).encode()
    with ExitStack() as held:
        cloud.kubectl.run("apply", "--filename", "-", stdin=both)
        held.callback(cloud.kubectl.run, "delete", "--ignore-not-found", "--wait=false", "--filename", "-", stdin=both)
        cloud.kubectl.run("create", "job", "tonight", "--from=cronjob/npu-conformance", "--namespace", NAMESPACE)
        pods = wait_for_all(cloud.client, "the nightly job's pod to end", path_of("Pod", NAMESPACE), _has_ended,
                            timeout=JOB_SECONDS, labels="batch.kubernetes.io/job-name=tonight")  # fmt: skip
        (pod,) = pods.values()
        words = ("logs", pod["metadata"]["name"], "--container", "run", "--namespace", NAMESPACE)
        said = cloud.kubectl.run(*words)
        states = {one["name"]: one["state"] for one in pod["status"]["containerStatuses"]}
        assert states["run"]["terminated"]["exitCode"] == 0, said
        results = json.loads(cloud.on_node("cat", f"{VOLUME}/{pod['metadata']['name']}/results.json"))
    assert results["verdict"]["result"] == "pass"
    outcomes = {check["id"]: check["outcome"] for check in results["checks"]}
    assert {outcomes["flow-completed"], outcomes["infra-security-group"]} == {"passed"}
    assert results["subject"]["after"]["nodes"]


def _has_ended(pods: Objects) -> bool:
    return bool(pods) and all(map(ended, pods.values()))


def _objects(cloud: Cloud, image: str, workload: str, certificates: Certificates) -> list[Object]:
    """The manifest with its words replaced, as the documentation says, and what an ACK cluster adds."""
    text = (ROOT / "deploy/ack-cronjob.yaml").read_text()
    for word, value in {
        "REGISTRY/npu-conformance:VERSION": image,
        "CLUSTER-ID": CLUSTER,
        "REGION-ID": "cn-shanghai",
        "CA-SHA256": ca_sha256(cloud.kubectl.kubeconfig),
    }.items():
        text = text.replace(word, value)
    objects: list[Object] = list(yaml.safe_load_all(text))
    by_kind = {one["kind"]: one for one in objects}
    by_kind["PersistentVolumeClaim"]["spec"] |= {"storageClassName": "", "volumeName": "npu-conformance-results"}
    _as_rrsa_does(by_kind["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"], image, workload)
    return [*objects, _volume(), _secret("cloud", certificates), regsecret(NAMESPACE)]


def _as_rrsa_does(spec: Object, image: str, workload: str) -> None:
    """Add what the webhook adds, the cloud beside it, and the workload's image, which is the document's by default."""
    (runner,) = spec["containers"]
    token = {"serviceAccountToken": {"audience": "sts.aliyuncs.com", "expirationSeconds": 3600, "path": "token"}}
    spec["volumes"] += [
        {"name": "rrsa-oidc-token", "projected": {"sources": [token]}},
        {"name": "cloud", "secret": {"secretName": "cloud", "defaultMode": 0o440}},
    ]
    mounts = {"rrsa-oidc-token": "/var/run/secrets/ack.alibabacloud.com/rrsa-tokens", "cloud": "/etc/cloud"}
    runner["volumeMounts"] += [{"name": name, "mountPath": path, "readOnly": True} for name, path in mounts.items()]
    variables = {
        "ALIBABA_CLOUD_ROLE_ARN": ROLE,
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": PROVIDER,
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": f"{mounts['rrsa-oidc-token']}/token",
        "ALIBABA_CLOUD_STS_ENDPOINT": f"127.0.0.1:{PORT}",
        "NPU_E2E_ACK_ENDPOINT": f"127.0.0.1:{PORT}",
        "NPU_E2E_IMAGE": workload,
        "SSL_CERT_FILE": "/etc/cloud/ca.crt",
    }
    runner["env"] += [{"name": name, "value": value} for name, value in variables.items()]
    subject = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
    told = ["--port", str(PORT), "--certificate", "/etc/cloud/server.crt", "--key", "/etc/cloud/server.key"]
    told += ["--role", ROLE, "--provider", PROVIDER, "--subject", subject]
    spec["initContainers"] = [
        {
            "name": "cloud",
            "image": image,
            "restartPolicy": "Always",
            "command": ["python", "-m", "openapi", *told],
            "env": [{"name": "PYTHONPATH", "value": "/src/tests"}],
            "securityContext": runner["securityContext"],
            "startupProbe": {
                "exec": {"command": ["python", "-c", CONNECTS]},
                "periodSeconds": 1,
                "failureThreshold": 60,
            },
            "volumeMounts": [{"name": "cloud", "mountPath": "/etc/cloud", "readOnly": True}],
        }
    ]
    spec["nodeSelector"] = {"kubernetes.io/hostname": NODE}


def _volume() -> Object:
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}]}]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "npu-conformance-results"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "20Gi"},
            "local": {"path": VOLUME},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
            "claimRef": {"namespace": NAMESPACE, "name": "npu-conformance-results"},
        },
    }


def _secret(name: str, certificates: Certificates) -> Object:
    files = ("ca.crt", "server.crt", "server.key")
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "stringData": {file: Path(certificates.file(file)).read_text() for file in files},
    }
