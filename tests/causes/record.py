"""`python -m tests.causes.record --kubeconfig FILE`: provoke causes of failures on a kind cluster, and keep objects.

Each is provoked in a namespace of its own, which is removed afterwards; nodes are only looked at, unless --disturb says
that the kind cluster is nobody else's: then every NPU is taken, made unhealthy, its plugin taken away, a kubelet
stopped, a registry with a password started. What the harness records of a failed check is written to
tests/causes/CODE.json, with the cause that must be told from it. Any other cause is recorded by `--namespace NAME
--code CODE WORD...` from whatever provokes it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from fixtures import podexec
from fixtures.apierrors import ApiError
from fixtures.apipaths import path_of
from fixtures.causeobjects import is_plugin, objects_text
from fixtures.client import Client, Object, connect
from fixtures.engine import private
from fixtures.engine.container import Engine, found_engine
from fixtures.engine.npuimage import fake_npu_image
from fixtures.engine.registry import started_registry
from fixtures.kubectl import Kubectl
from fixtures.kubelet import stopped
from fixtures.namespaces import namespace_of
from fixtures.pods import ended
from fixtures.record import Record
from fixtures.registry import pull_secret
from fixtures.steps import Steps
from fixtures.targets import Cluster
from fixtures.targets.kind import on_kind_node
from fixtures.targets.npus import NAMESPACE, PLUGIN, WORKERS
from fixtures.wait import Objects, condition, phase, wait_for, wait_for_all
from gate.causes import SILENT_SECONDS, explain
from gate.recorded import recorded_from

NPU = "aliyun.com/npu"
HERE = Path(__file__).parent
SECONDS = 120.0
ADDRESS = ("podIP", "podIPs", "hostIP", "hostIPs")


@dataclass(frozen=True)
class Provoked:
    """A cause, what makes it, and when it shows.

    Attributes:
        code: of the cause.
        words: that its sentence must have.
        pod: the pod's spec, but for its image.
        shows: whether a state of the pod has it.
        before: objects that are made first.
        said: what a check would say of it.
    """

    code: str
    words: tuple[str, ...]
    pod: dict[str, Any]
    shows: Callable[[Object | None], bool]
    before: tuple[dict[str, Any], ...] = ()
    said: str = ""
    more: dict[str, Any] = field(default_factory=dict)


def unschedulable(pod: Object | None) -> bool:
    conditions = ((pod or {}).get("status") or {}).get("conditions") or []
    return any(one["type"] == "PodScheduled" and one["status"] == "False" for one in conditions)


def waits_for(*reasons: str) -> Callable[[Object | None], bool]:
    def shows(pod: Object | None) -> bool:
        statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or []
        return any(((one.get("state") or {}).get("waiting") or {}).get("reason") in reasons for one in statuses)

    return shows


def counted(quota: Object | None) -> bool:
    return bool(((quota or {}).get("status") or {}).get("hard"))


def silent(pod: Object | None) -> bool:
    """Whether its container has been running for as long as a hang takes."""
    statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or []
    return any("running" in (one.get("state") or {}) for one in statuses)


def asks(number: int, **more: Any) -> dict[str, Any]:
    return {"resources": {"limits": {NPU: str(number), **more}}}


CONTROL_PLANE = {"nodeSelector": {"node-role.kubernetes.io/control-plane": ""}}
QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "npus"},
    "spec": {"hard": {f"requests.{NPU}": "1"}},
}
OTHER = {"resources": {"limits": {"example.com/npu": "1"}}}
WRITES = "head -c 50000000 /dev/zero > /tmp/full; sleep 600"
EATS = "import sys; print('eating', flush=True); x = [bytearray(2**20) for _ in range(4096)]"
PROVOKED = (
    Provoked("request-too-large", ("asks for 1000",), asks(1000), unschedulable),
    Provoked("no-npu-node", ("None of", "example.com/npu"), OTHER, unschedulable),
    Provoked("taint", ("node-role.kubernetes.io/control-plane",), {}, unschedulable, more=CONTROL_PLANE),
    Provoked("quota", ("The quota npus",), asks(2), ended, before=(QUOTA,)),
    Provoked("admission-rejected", ("must be equal to aliyun.com/npu limit of 2",),
             {"resources": {"limits": {NPU: "2"}, "requests": {NPU: "1"}}}, ended),
    Provoked("image-not-found", ("never-made:1",), {"image": "never-made:1", "imagePullPolicy": "Never"},
             waits_for("ErrImageNeverPull")),
    Provoked("registry-unreachable", ("registry.invalid",), {"image": "registry.invalid/team/resnet:1"},
             waits_for("ImagePullBackOff")),
    Provoked("pull-secret-missing", ("regsecret",), {"image": "registry.invalid/team/resnet:1"},
             waits_for("ImagePullBackOff"), more={"imagePullSecrets": [{"name": "regsecret"}]}),
    Provoked("out-of-memory", ("took more than 64Mi",),
             {**asks(1, memory="64Mi"), "command": ["python3", "-c", EATS]}, ended),
    Provoked("crash", ("ended with",), {**asks(1), "args": ["--crash-at", "3"]}, ended),
    Provoked("container-not-made", ("no-such-program",), {**asks(1), "command": ["/no-such-program"]},
             lambda pod: ended(pod) or waits_for("CreateContainerError", "RunContainerError")(pod)),
    Provoked("training-incomplete", ("of 98",), {**asks(1), "args": ["--stop-at", "97"]}, ended),
    Provoked("accuracy-low", ("top_1 is",), {**asks(1), "args": ["--prediction-noise", "0.5"]}, ended,
             said="top_1 is 0.4812, less than 0.74."),
    Provoked("selector", ("didn't match Pod's node affinity/selector",), asks(1), unschedulable,
             more={"nodeSelector": {"npu-conformance/nowhere": "true"}}),
    Provoked("evicted", ("ephemeral",),
             {**asks(1, **{"ephemeral-storage": "1Mi"}), "command": ["sh", "-c", WRITES]}, ended),
    Provoked("hang", ("has said nothing for",), {**asks(1), "args": ["--hang-at", "3"]}, silent),
)  # fmt: skip


def record(cluster: Cluster, provoked: Provoked, image: str) -> dict[str, Any]:
    """Provoke the cause, and return what the harness records of it."""
    resource = next((name for name in provoked.pod.get("resources", {}).get("limits", {}) if "npu" in name), NPU)
    container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", **provoked.pod}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, **provoked.more, "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "provoked"}, "spec": spec}
    said = provoked.said
    with namespace_of(cluster) as namespace:
        for one in provoked.before:
            made = cluster.client.create(path_of(one["kind"], namespace), one)
            path = path_of(one["kind"], namespace, made["metadata"]["name"])
            if one["kind"] == "ResourceQuota":
                wait_for(cluster.client, "the quota to be counted", path, counted, timeout=30)
        try:
            cluster.client.create(path_of("Pod", namespace), pod)
        except ApiError as error:
            said = str(error)
        else:
            path = path_of("Pod", namespace, "provoked")
            wait_for(cluster.client, f"{provoked.code} to show", path, provoked.shows, timeout=SECONDS)
            if provoked.shows is silent:
                time.sleep(SILENT_SECONDS + 5)  # there is nothing to wait for: that is what it is
        objects = objects_text(cluster.client, namespace, resource)
    return found(provoked.code, provoked.words, objects, said)


def npus_in_use(cluster: Cluster, image: str, _: Engine) -> dict[str, Any]:
    """What is recorded of a pod that asks for one NPU when others have them all."""

    def pod(name: str, npus: int, node: dict[str, str]) -> dict[str, Any]:
        container = {"name": "main", "image": image, "command": ["sleep", "600"], **asks(npus)}
        spec = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": node,
            "containers": [container],
        }
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}

    with namespace_of(cluster) as namespace:
        for number, node in enumerate(cluster.client.items(path_of("Node"))):
            if npus := int(node["status"]["allocatable"].get(NPU, "0")):
                where = {"kubernetes.io/hostname": node["metadata"]["labels"]["kubernetes.io/hostname"]}
                cluster.client.create(path_of("Pod", namespace), pod(f"holder-{number}", npus, where))
                path = path_of("Pod", namespace, f"holder-{number}")
                wait_for(cluster.client, "the holder to run", path, phase("Running"), timeout=SECONDS)
        cluster.client.create(path_of("Pod", namespace), pod("provoked", 1, {}))
        path = path_of("Pod", namespace, "provoked")
        wait_for(cluster.client, "npus-in-use to show", path, unschedulable, timeout=SECONDS)
        objects = objects_text(cluster.client, namespace, NPU)
    return found("npus-in-use", ["NPUs are in use", "holder-"], objects)


@contextmanager
def npus_gone(client: Client, away: Callable[[], None], back: Callable[[], None]) -> Iterator[None]:
    """What `away` does to the cluster while the block lasts: no node has an NPU to give."""
    away()
    try:
        what = "no NPU to be allocatable"
        wait_for_all(client, what, path_of("Node"), lambda nodes: not given(nodes), timeout=SECONDS)
        yield
    finally:
        back()
        wait_for_all(client, "the NPUs to be back", path_of("Node"), given, timeout=SECONDS)


def unhealthy(client: Client) -> AbstractContextManager[None]:
    """Every NPU is reported unhealthy while the block lasts."""
    plugins = client.items(path_of("Pod", NAMESPACE), labels=f"app.kubernetes.io/name={PLUGIN}")

    def report(word: str) -> None:
        for plugin in plugins:
            podexec.output(client, NAMESPACE, plugin["metadata"]["name"], ["npuctl", "health", "all", word])

    return npus_gone(client, partial(report, "Unhealthy"), partial(report, "Healthy"))


def without_plugin(client: Client) -> AbstractContextManager[None]:
    """No node has a device plugin while the block lasts."""
    path = path_of("DaemonSet", NAMESPACE, PLUGIN)
    chosen = client.get(path)["spec"]["template"]["spec"].get("nodeSelector") or {}
    nowhere = {"npu-conformance/nowhere": "true"}

    def select(selector: dict[str, str | None]) -> None:
        client.patch(path, {"spec": {"template": {"spec": {"nodeSelector": selector}}}})

    return npus_gone(client, lambda: select({**nowhere}), lambda: select({**chosen, **dict.fromkeys(nowhere)}))


def given(nodes: Objects) -> bool:
    """Whether any node has an NPU to give."""
    return any(node["status"]["allocatable"].get(NPU, "0") != "0" for node in nodes.values())


WAITS = asks(1), unschedulable


def unhealthy_device(cluster: Cluster, image: str, _: Engine) -> dict[str, Any]:
    with unhealthy(cluster.client):
        return record(cluster, Provoked("unhealthy-device", ("NPUs are unhealthy: 4 of 4 on",), *WAITS), image)


def plugin_not_registered(cluster: Cluster, image: str, _: Engine) -> dict[str, Any]:
    with without_plugin(cluster.client):
        return record(cluster, Provoked("plugin-not-registered", ("is 0 of 4 there",), *WAITS), image)


def pull_secret_wrong(cluster: Cluster, image: str, engine: Engine) -> dict[str, Any]:
    nodes, steps = workers(cluster), Steps(sys.stderr)
    with started_registry(engine, cluster.name, nodes, fake_npu_image(engine, steps), steps) as registry:
        secret = pull_secret("regsecret", "", host=registry.host, username=registry.username, password="another")
        del secret["metadata"]["namespace"]
        waits_in_vain = waits_for("ErrImagePull", "ImagePullBackOff")
        named = {"imagePullSecrets": [{"name": "regsecret"}]}
        wrong = Provoked("pull-secret-wrong", ("refuses the pull secret regsecret",),
                         {"image": registry.image("wrong"), "imagePullPolicy": "Always"}, waits_in_vain,
                         before=(secret,), more=named)  # fmt: skip
        return record(cluster, wrong, image)


def node_not_ready(cluster: Cluster, image: str, engine: Engine) -> dict[str, Any]:
    """What is recorded of a pod that runs where the kubelet has stopped, once the node controller has noticed."""
    node, client = workers(cluster)[-1], cluster.client
    container = {"name": "main", "image": image, "command": ["sleep", "600"], **asks(1)}
    spec = {"nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 1}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "provoked"},
        "spec": {**spec, "containers": [container]},
    }
    reached = replace(cluster, on_node=partial(on_kind_node, engine, cluster.name))
    with namespace_of(cluster) as namespace:
        client.create(path_of("Pod", namespace), pod)
        path = path_of("Pod", namespace, "provoked")
        wait_for(client, "the pod to run", path, phase("Running"), timeout=SECONDS)
        with stopped(reached, node):
            path = path_of("Node", None, node)
            wait_for(client, f"{node} to be NotReady", path, lambda it: not condition("Ready")(it), timeout=SECONDS)
            objects = objects_text(client, namespace, NPU)
    return found("node-not-ready", [f"Node {node}", "Kubelet stopped posting node status"], objects)


DISTURBING: dict[str, Callable[[Cluster, str, Engine], dict[str, Any]]] = {
    "unhealthy-device": unhealthy_device,
    "plugin-not-registered": plugin_not_registered,
    "pull-secret-wrong": pull_secret_wrong,
    "npus-in-use": npus_in_use,
    "node-not-ready": node_not_ready,
}
"""Causes that take the whole cluster, by their code."""


def workers(cluster: Cluster) -> list[str]:
    return [str(node["metadata"]["name"]) for node in cluster.client.items(path_of("Node"), labels=WORKERS)]


def found(code: str, words: Sequence[str], objects: str, said: str = "") -> dict[str, Any]:
    """What is kept of a cause: its code, words of its sentence, what a check said, and the objects."""
    return {"code": code, "words": list(words), "said": said, "objects": without_addresses(json.loads(objects))}


def without_addresses(objects: Any) -> Any:
    if isinstance(objects, list):
        return [without_addresses(one) for one in objects]
    if isinstance(objects, dict):
        return {key: without_addresses(value) for key, value in objects.items() if key not in ADDRESS}
    return objects


def write(content: dict[str, Any]) -> bool:
    """Keep it, and say whether the gate tells the cause from it."""
    cause = explain(recorded_from(content["objects"], content["said"]))
    right = cause.code == content["code"] and all(word in cause.sentence for word in content["words"])
    (HERE / f"{content['code']}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    print(f"{'ok   ' if right else 'WRONG'} {content['code']}: {cause.code}: {cause.sentence}", flush=True)
    return right


def workload_image(client: Client) -> str:
    """The image of the device plugin, which is the workload's too."""
    plugin = next(pod for pod in client.items(path_of("Pod")) if is_plugin(pod))
    return str(plugin["spec"]["containers"][0]["image"])


def main() -> int:
    """Record all, or what is asked for; 1 when the gate does not tell a cause."""
    parser = argparse.ArgumentParser(prog="python -m tests.causes.record", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--kubectl", type=Path, default=Path("kubectl"))
    parser.add_argument("--image", help="of the workload; the device plugin's by default")
    parser.add_argument("--only", action="append", help="a code; can be repeated")
    parser.add_argument("--disturb", metavar="NAME", help="the kind cluster, which nobody else uses: all else as well")
    parser.add_argument("--namespace", help="record what is in this one, which something else has provoked")
    parser.add_argument("--code", help="of what is in --namespace")
    parser.add_argument("words", nargs="*", help="that the sentence of --code must have")
    told = parser.parse_args()
    with connect(told.kubeconfig, Record()) as client:
        if told.namespace:
            return int(not write(found(told.code, told.words, objects_text(client, told.namespace, NPU))))
        kubectl = Kubectl(told.kubectl, told.kubeconfig)
        cluster = Cluster("cluster", client, kubectl, frozenset(), None, name=told.disturb or "")
        image = told.image or workload_image(client)
        chosen = [one for one in PROVOKED if not told.only or one.code in told.only]
        right = [write(record(cluster, one, image)) for one in chosen]
        if told.disturb:
            engine = found_engine() or private.running_engine()
            if engine is None:
                raise SystemExit("No engine runs here, so neither nodes nor a registry can be had.")
            disturbing = [make for code, make in DISTURBING.items() if not told.only or code in told.only]
            right += [write(make(cluster, image, engine)) for make in disturbing]
        return int(not all(right))


if __name__ == "__main__":
    sys.exit(main())
