"""Pods reach each other and a Service across nodes: what a training that spans nodes stands on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fixtures.checks import check
from fixtures.namespaces import namespace_of
from fixtures.podwatch import PodWatch, is_terminal, summary
from fixtures.session import RECORD
from fixtures.targets import Cluster
from fixtures.targets.npus import WORKERS

PORT = 8080
CLIENT = """
import sys, time, urllib.error, urllib.request
deadline = time.monotonic() + 40
for address in sys.argv[1:]:
    while True:
        try:
            answer = urllib.request.urlopen(f"http://{address}/", timeout=5)
            print(address, answer.status, answer.headers["Server"].split("/")[0], flush=True)
            break
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"{address}: {error}")
            time.sleep(0.2)
"""
"""Asks until it is answered: kube-proxy brings a new Service to a node some time after the Service is there."""


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    with namespace_of(cluster) as name:
        yield name


@check(
    "network-across-nodes",
    profile="conformance",
    needs=["own-cluster"],
    source="the Kubernetes network model",
    verbs=["nodes: list", "pods: create get list watch", "pods/log: get", "services: create get"],
)
def test_pods_and_services_are_reached_across_nodes(
    cluster: Cluster, namespace: str, request: pytest.FixtureRequest
) -> None:
    """A pod reaches a pod on another node by its address, and by the DNS name of a Service."""
    record = request.config.stash[RECORD]
    answer = cluster.kubectl.run("get", "nodes", "--selector", WORKERS, "-o", "json")
    workers = [node["metadata"]["name"] for node in json.loads(answer)["items"]]
    assert len(workers) >= 2, f"This takes two workers; there are {workers}."
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server", "namespace": namespace},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": PORT}]},
    }
    server = _pod(cluster, namespace, "server", workers[0], ["python3", "-m", "http.server", str(PORT)])
    server["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    cluster.kubectl.apply(service, server)
    watch = PodWatch(cluster.kubectl, namespace, "server", record)
    ready = watch.until("the server is ready", _is_ready, timeout=60, failed=_end)
    addresses = [f"{ready['status']['podIP']}:{PORT}", f"server.{namespace}.svc.cluster.local:{PORT}"]
    cluster.kubectl.apply(_pod(cluster, namespace, "client", workers[1], ["python3", "-c", CLIENT, *addresses]))
    end = PodWatch(cluster.kubectl, namespace, "client", record).until("the client has ended", is_terminal, timeout=90)
    log = cluster.kubectl.run("logs", "client", "--namespace", namespace)
    assert end["status"]["phase"] == "Succeeded", f"The client is {summary(end)}:\n{log}"
    assert log.splitlines() == [f"{address} 200 SimpleHTTP" for address in addresses]


def _pod(cluster: Cluster, namespace: str, name: str, node: str, command: list[str]) -> Any:
    container = {"name": name, "image": cluster.image, "command": command, "imagePullPolicy": "IfNotPresent"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": [container],
        },
    }


def _is_ready(pod: Any) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def _end(pod: Any) -> str:
    return f"The server ended: {summary(pod)}." if is_terminal(pod) else ""
