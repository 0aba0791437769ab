"""Pods reach each other and a Service across nodes: what a training that spans nodes stands on."""

from __future__ import annotations

from typing import Any

from fixtures.apipaths import path_of
from fixtures.checks import check
from fixtures.describe import summary
from fixtures.pods import ended, ended_too_early, ready
from fixtures.targets import Cluster
from fixtures.wait import wait_for

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


@check(
    "network-across-nodes",
    profile="conformance",
    needs=["own-cluster"],
    source="the Kubernetes network model",
    defects=["pods-unreachable"],
    verbs=["pods: create delete get list watch", "pods/log: get", "services: create"],
)
def test_pods_and_services_are_reached_across_nodes(cluster: Cluster, namespace: str, npu_anywhere: list[str]) -> None:
    """A pod reaches a pod on another node by its address, and by the DNS name of a Service."""
    client, pods = cluster.client, path_of("Pod", namespace)
    workers = npu_anywhere  # as long as this check has an NPU of each, nobody stops its kubelet
    assert len(workers) >= 2, f"This takes two workers; there are {workers}."
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server", "namespace": namespace},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": PORT}]},
    }
    client.create(path_of("Service", namespace), service)
    server = _pod(cluster, namespace, "server", workers[0], ["python3", "-m", "http.server", str(PORT)])
    server["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    client.create(pods, server)
    serving = wait_for(client, "the server to be ready", f"{pods}/server", ready, timeout=60, failed=ended_too_early)
    addresses = [f"{serving['status']['podIP']}:{PORT}", f"server.{namespace}.svc.cluster.local:{PORT}"]
    client.create(pods, _pod(cluster, namespace, "client", workers[1], ["python3", "-c", CLIENT, *addresses]))
    end = wait_for(client, "the client to end", f"{pods}/client", ended, timeout=90)
    log = cluster.kubectl.run("logs", "client", "--namespace", namespace)
    assert end["status"]["phase"] == "Succeeded", f"{summary(end)}:\n{log}"
    assert log.splitlines() == [f"{address} 200 SimpleHTTP" for address in addresses]


def _pod(cluster: Cluster, namespace: str, name: str, node: str, command: list[str]) -> dict[str, Any]:
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
