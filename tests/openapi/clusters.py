"""A managed cluster with an API server on 127.0.0.1 behind it, as the target ack finds it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apiserver import ApiServer, Certificates, Object, kubeconfig, listed

from fixtures.ack.bounds import priority_class
from fixtures.options import Settings, settings_said
from openapi.account import CLUSTER
from openapi.server import KEY, SECRET, FakeOpenApi

LEASES = "/apis/coordination.k8s.io/v1/namespaces/npu-conformance/leases"
LEASE = f"{LEASES}/npu-conformance"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
CLASS = "/apis/scheduling.k8s.io/v1/priorityclasses/npu-conformance"


def grant_all(server: ApiServer) -> None:
    """The API server grants everything and holds one node and nothing else."""
    server.on(f"POST {REVIEWS}", {"status": {"allowed": True}})
    server.on(f"GET {CLASS}", priority_class())
    server.on(f"POST {LEASES}", lease("us"))
    server.on(f"PUT {LEASE}", lease("us"))
    server.on(f"DELETE {LEASE}", {"kind": "Status"})
    server.on("GET /api/v1/namespaces", listed("1", kind="Namespace"))
    server.on("GET /version", {"gitVersion": "v1.34.1-aliyun.1"})
    server.on("GET /api/v1/nodes", listed("1", {"metadata": {"name": "n"}, "status": {}, "spec": {}}, kind="Node"))


def lease(holder: str, *, ago: float = 0.0) -> Object:
    """A Lease that was renewed so many seconds ago."""
    renewed = f"{datetime.now(UTC) - timedelta(seconds=ago):%Y-%m-%dT%H:%M:%S.%fZ}"
    metadata = {"name": "npu-conformance", "uid": "lease-1", "resourceVersion": "7"}
    return {"metadata": metadata, "spec": {"holderIdentity": holder, "renewTime": renewed}}


def kubeconfig_of(folder: Path, server: ApiServer, certificates: Certificates) -> Path:
    """A kubeconfig for the server, as ACK gives one."""
    authority = base64.b64encode(Path(certificates.file("ca.crt")).read_bytes()).decode()
    return kubeconfig(folder, server.url, {"token": "t"}, {"certificate-authority-data": authority})


@dataclass(frozen=True)
class Prepared:
    """What a run is told, and the fake that it then finds."""

    fake: FakeOpenApi
    settings: Settings


def prepared(
    fake: FakeOpenApi, server: ApiServer, certificates: Certificates, folder: Path, patch: pytest.MonkeyPatch
) -> Prepared:
    """The settings of a run on the fake's cluster, whose kubeconfig leads to `server`; the allow-list has it."""
    patch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY)
    patch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)
    patch.setattr("fixtures.engine.tools.kubectl", lambda _version, _steps: Path("/nonexistent/kubectl"))
    source = folder / "source"
    source.mkdir()
    fake.account.kubeconfig = kubeconfig_of(source, server, certificates).read_text()
    digest = hashlib.sha256(Path(certificates.file("ca.crt")).read_bytes().strip()).hexdigest()
    allowed = folder / "allowed.toml"
    allowed.write_text(f'[[cluster]]\nid = "{CLUSTER}"\ncontext = "test"\nca-sha256 = "{digest}"\n')
    said = {"target": "ack", "cluster-id": CLUSTER, "region": "cn-shanghai", "allow-list": str(allowed)}
    return Prepared(fake, settings_said({**said, "ack-endpoint": fake.address, "ack-protocol": "http"}, {}))
