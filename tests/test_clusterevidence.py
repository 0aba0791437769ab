"""Evidence of checks that look at the same pods: collected once, whole in the folder of each."""

from __future__ import annotations

from pathlib import Path

from apiserver import kubeconfig, listed, pod, serving

from fixtures.client import connect
from fixtures.clusterevidence import evidence_of
from fixtures.kubectl import Kubectl
from fixtures.record import Record
from fixtures.targets import Cluster

PODS = "GET /api/v1/namespaces/default/pods"


def test_what_two_checks_share_is_asked_for_once_and_is_there_for_each(tmp_path: Path) -> None:
    with serving() as server, connect(kubeconfig(tmp_path, server.url), Record()) as client:
        server.on(PODS, listed("1", pod("a", "Failed")))
        server.on("GET /api/v1/pods", listed("1"))
        server.on("GET /api/v1/nodes", listed("1", kind="Node"))
        server.on("GET /api/v1/nodes/n1", {"kind": "Node", "metadata": {"name": "n1"}})
        server.on("GET /api/v1/namespaces/default/events", listed("1", kind="Event"))
        kubectl = Kubectl(Path("kubectl"), tmp_path / "kubeconfig")
        cluster = Cluster("kind", client, kubectl, frozenset(), None, node_log=lambda node: f"kubelet of {node}\n")
        collect = evidence_of(cluster, "default")
        names = collect("one", tmp_path / "one")
        assert names == ["pod-a.yaml", "node-n1.yaml", "events.txt", "objects.json", "kubelet-n1.log"]
        assert collect("two", tmp_path / "two") == names
        assert len(server.asked_for(PODS)) == 2  # for the files, and for the objects that tell the cause
    for name in names:
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
        assert (tmp_path / "two" / name).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "two" / "kubelet-n1.log").read_text() == "kubelet of n1\n"


def test_credentials_that_a_run_made_meanwhile_are_not_kept(tmp_path: Path) -> None:
    known: set[str] = set()
    with serving() as server, connect(kubeconfig(tmp_path, server.url), Record()) as client:
        server.on(PODS, listed("1", pod("a", "Failed")))
        server.on("GET /api/v1/nodes/n1", {"kind": "Node", "metadata": {"name": "n1", "annotations": {"a": "sesame"}}})
        server.on("GET /api/v1/namespaces/default/events", listed("1", kind="Event"))
        kubectl = Kubectl(Path("kubectl"), tmp_path / "kubeconfig")
        cluster = Cluster("kind", client, kubectl, frozenset(), None, node_log=lambda _: "it said sesame\n")
        collect = evidence_of(cluster, "default", known)
        known.add("sesame")
        names = collect("one", tmp_path / "one")
    assert {"node-n1.yaml", "kubelet-n1.log"} <= set(names)
    assert not [name for name in names if "sesame" in (tmp_path / "one" / name).read_text()]
