"""`python -m tests.causes.record --kubeconfig FILE`: provoke causes of failures on a kind cluster, and keep objects.

Each is provoked in a namespace of its own, which is removed afterwards; nodes are only looked at, unless --disturb says
that the kind cluster is nobody else's: then every NPU is taken, made unhealthy, its plugin taken away, and a registry
with a password started. What the harness records of a failed check is written to tests/causes/CODE.json, with the cause
that must be told from it. Any other cause is recorded by `--namespace NAME --code CODE WORD...` from whatever provokes
it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fixtures import podexec
from fixtures.apierrors import ApiError
from fixtures.apipaths import path_of
from fixtures.causeobjects import is_plugin, objects_text
from fixtures.client import Client, Object, connect
from fixtures.engine import private
from fixtures.engine.container import found_engine
from fixtures.engine.npuimage import fake_npu_image
from fixtures.engine.registry import started_registry
from fixtures.kubectl import Kubectl
from fixtures.namespaces import namespace_of
from fixtures.pods import ended
from fixtures.record import Record
from fixtures.registry import pull_secret
from fixtures.steps import Steps
from fixtures.targets import Cluster
from fixtures.targets.npus import NAMESPACE, PLUGIN, WORKERS
from fixtures.wait import Objects, phase, wait_for, wait_for_all
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
        objects = json.loads(objects_text(cluster.client, namespace, resource))
    return {"code": provoked.code, "words": list(provoked.words), "said": said, "objects": without_addresses(objects)}


def filled(cluster: Cluster, image: str) -> dict[str, Any]:
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
        objects = json.loads(objects_text(cluster.client, namespace, NPU))
    words = ["NPUs are in use", "holder-"]
    return {"code": "npus-in-use", "words": words, "said": "", "objects": without_addresses(objects)}


@contextmanager
def unhealthy(client: Client) -> Iterator[None]:
    """Every NPU is reported unhealthy while the block lasts."""
    plugins = client.items(path_of("Pod", NAMESPACE), labels=f"app.kubernetes.io/name={PLUGIN}")

    def report(word: str) -> None:
        for plugin in plugins:
            podexec.output(client, NAMESPACE, plugin["metadata"]["name"], ["npuctl", "health", "all", word])

    report("Unhealthy")
    try:
        wait_for_all(
            client, "no NPU to be allocatable", path_of("Node"), lambda nodes: not given(nodes), timeout=SECONDS
        )
        yield
    finally:
        report("Healthy")
        wait_for_all(client, "the NPUs to be back", path_of("Node"), given, timeout=SECONDS)


@contextmanager
def without_plugin(client: Client) -> Iterator[None]:
    """No node has a device plugin while the block lasts."""
    path = path_of("DaemonSet", NAMESPACE, PLUGIN)
    chosen = client.get(path)["spec"]["template"]["spec"].get("nodeSelector") or {}
    nowhere = {"npu-conformance/nowhere": "true"}

    def select(selector: dict[str, str | None]) -> None:
        client.patch(path, {"spec": {"template": {"spec": {"nodeSelector": selector}}}})

    select({**nowhere})
    try:
        wait_for_all(
            client, "no NPU to be allocatable", path_of("Node"), lambda nodes: not given(nodes), timeout=SECONDS
        )
        yield
    finally:
        select({**chosen, **dict.fromkeys(nowhere)})
        wait_for_all(client, "the NPUs to be back", path_of("Node"), given, timeout=SECONDS)


def given(nodes: Objects) -> bool:
    """Whether any node has an NPU to give."""
    return any(node["status"]["allocatable"].get(NPU, "0") != "0" for node in nodes.values())


def disturbed(cluster: Cluster, image: str) -> Iterator[dict[str, Any]]:
    """What is recorded when the cluster is what is wrong."""
    waits = asks(1), unschedulable
    with unhealthy(cluster.client):
        yield record(cluster, Provoked("unhealthy-device", ("NPUs are unhealthy: 4 of 4 on",), *waits), image)
    with without_plugin(cluster.client):
        yield record(cluster, Provoked("plugin-not-registered", ("is 0 of 4 there",), *waits), image)
    engine, steps = found_engine() or private.running_engine(), Steps(sys.stderr)
    if engine is None:
        raise SystemExit("No engine runs here, so the registry cannot be had.")
    nodes = [str(node["metadata"]["name"]) for node in cluster.client.items(path_of("Node"), labels=WORKERS)]
    with started_registry(engine, cluster.name, nodes, fake_npu_image(engine, steps), steps) as registry:
        secret = pull_secret("regsecret", "", host=registry.host, username=registry.username, password="another")
        del secret["metadata"]["namespace"]
        waits_in_vain = waits_for("ErrImagePull", "ImagePullBackOff")
        named = {"imagePullSecrets": [{"name": "regsecret"}]}
        wrong = Provoked("pull-secret-wrong", ("refuses the pull secret regsecret",),
                         {"image": registry.image("wrong"), "imagePullPolicy": "Always"}, waits_in_vain,
                         before=(secret,), more=named)  # fmt: skip
        yield record(cluster, wrong, image)
    yield filled(cluster, image)


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
            objects = without_addresses(json.loads(objects_text(client, told.namespace, NPU)))
            return int(not write({"code": told.code, "words": told.words, "said": "", "objects": objects}))
        kubectl = Kubectl(told.kubectl, told.kubeconfig)
        cluster = Cluster("cluster", client, kubectl, frozenset(), None, name=told.disturb or "")
        image = told.image or workload_image(client)
        chosen = [one for one in PROVOKED if not told.only or one.code in told.only]
        right = [write(record(cluster, one, image)) for one in chosen]
        if told.disturb:
            right += map(write, disturbed(cluster, image))
        return int(not all(right))


if __name__ == "__main__":
    sys.exit(main())
