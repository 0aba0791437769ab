"""How long a device is one container's, and that it is the next one's afterwards."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from fixtures.apipaths import path_of
from fixtures.checkfixtures import Share
from fixtures.checks import check
from fixtures.client import Object
from fixtures.describe import summary
from fixtures.dryrun import causes, refusal
from fixtures.ownplugin import OwnPlugin
from fixtures.podresources import Account, account
from fixtures.probe import CONTAINER, TELL, Family, at_end, container, created, pod, running, sight, told
from fixtures.targets import Cluster
from fixtures.upstream import known_upstream
from fixtures.wait import phase, wait_for

CLAIM = r"""
for file in /run/npu/*.json; do
  exec 9< "$file"
  if flock -n 9; then echo "alone ${file##*/}"; else echo "shared ${file##*/}"; fi
done
"""
"""Holds the kernel's lock on the file of facts of its device, which is the same file in every container of a node, as
long as it lives, and tells whether another one holds it already. Plugins of one node share the files, so that a check
that claims takes all NPUs of its node."""
LINGER = """
trap '' TERM
sleep 3600 & wait
"""
"""Takes all the time to end that it is given."""
GRACE_SECONDS = 2
ROUNDS = 3
ROUND_SECONDS = 90.0
"""For as many pods to run as there are devices, once those before them are deleted: they have GRACE_SECONDS to end."""
JOB_SECONDS = 150.0


@check(
    "release-terminal",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:581",
    defects=["allocates-once"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_the_npu_of_a_pod_that_has_ended_goes_to_the_next(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """The only NPU goes from a pod that has succeeded to one that fails, and on to a third, which holds it alone."""
    own = plugin(count=1)
    own.advertised(1, 1)
    ours = replace(family, resource=own.resource)
    well = at_end(cluster, created(cluster, namespace, pod("well", container(ours, cluster.image, 1))))
    assert well["status"]["phase"] == "Succeeded", summary(well)
    badly = container(ours, cluster.image, 1, tell=TELL + "exit 1")
    failed = at_end(cluster, created(cluster, namespace, pod("badly", badly)))
    (state,) = failed["status"].get("containerStatuses", [{"state": {}}])
    assert state["state"].get("terminated", {}).get("exitCode") == 1, summary(failed)
    third = created(cluster, namespace, pod("third", container(ours, cluster.image, 1, stays=True)))
    held = running(cluster, third)
    seen = sight(cluster.client, held)
    assert len(seen.opened) == 1
    assert seen == sight(cluster.client, well) == sight(cluster.client, failed)
    said = account(cluster, own.node)
    assert said.of(held, own.resource) == {CONTAINER: frozenset(seen.visible)}
    assert f"{namespace}/well" not in said.held
    assert f"{namespace}/badly" not in said.held


@check(
    "no-device-resize",
    profile="conformance",
    needs=["podresources"],
    source="k8s 1.37.2 pkg/apis/core/validation/validation.go:6573",
    defects=["resize-taken"],
    verbs=["pods/log: get", "pods/resize: patch", "pods: create delete get list watch"],
)
def test_the_npus_of_a_running_container_do_not_change(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """A running container's CPU can be changed in place, its NPUs cannot, and it keeps those that it has."""
    share = npus(1)
    one = container(family, cluster.image, 1, stays=True)
    one["resources"] = {"limits": {family.resource: "1"}, "requests": {family.resource: "1", "cpu": "10m"}}
    held = running(cluster, created(cluster, namespace, pod("one", one, node=share.node)))
    before = account(cluster, share.node).of(held, family.resource)
    resize = path_of("Pod", namespace, "one") + "/resize"

    def changed(**requests: str) -> Object:
        limits = {family.resource: requests.get("npus", "1")}
        wanted = {"limits": limits, "requests": {**limits, "cpu": requests.get("cpu", "10m")}}
        return {"spec": {"containers": [{"name": CONTAINER, "resources": wanted}]}}

    strategic = "application/strategic-merge-patch+json"
    for count in ("0", "2"):
        with refusal(f"A change to {count} NPUs") as refusals:
            cluster.client.patch(resize, changed(npus=count), strategic)
        assert ("spec", "Forbidden: only cpu and memory resources are mutable") in causes(refusals[0])
    done = cluster.client.patch(resize, changed(cpu="20m"), strategic)
    assert done["spec"]["containers"][0]["resources"]["requests"] == {family.resource: "1", "cpu": "20m"}
    assert len(sight(cluster.client, held).opened) == 1
    assert account(cluster, share.node).of(held, family.resource) == before != {}


@check(
    "force-delete-storm",
    profile="conformance",
    needs=["faults", "podresources"],
    source="kubernetes/kubernetes#104824",
    defects=["same-device"],
    verbs=["nodes: get", "pods: create delete get list watch", "pods/log: get"],
)
def test_no_device_is_given_while_its_pod_still_ends(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """On a full node whose pods are force-deleted and replaced at once, no device is in two running containers.

    Kubelets of up to 1.37 forget a pod that is force-deleted, and give its device on while its container still ends:
    that alone is excused. A pod that comes too early may be refused by the kubelet; it is replaced then, as by a
    controller. The kernel is the witness: each container holds a lock of its device as long as it lives, and takes all
    the time that it is given to end.
    """
    share = npus()
    one = container(family, cluster.image, 1, tell=CLAIM + "echo end\n" + LINGER)
    manifest = pod("none", one, node=share.node, terminationGracePeriodSeconds=GRACE_SECONDS)
    names = iter(f"pod-{number}" for number in range(1000))
    held: list[Object] = []
    rounds: list[list[str]] = []
    for _ in range(ROUNDS):
        for each in held:
            path = path_of("Pod", namespace, each["metadata"]["name"])
            cluster.client.delete(path, uid=each["metadata"]["uid"], grace=0)
        held = _filled(cluster, namespace, manifest, names, count=share.count)
        assert _held(account(cluster, share.node), family.resource) == share.count
        rounds.append([line for each in held for line in told(cluster.client, each)])
        assert len({line.partition(" ")[2] for line in rounds[-1]}) == share.count, f"They tell {rounds[-1]}."
    assert not _shared(rounds[0]), f"Before any was deleted they tell {rounds[0]}."
    version = cluster.client.get(path_of("Node", None, share.node))["status"]["nodeInfo"]["kubeletVersion"]
    with known_upstream("kubernetes/kubernetes#104824", "..1.37", seen=version):
        shared = [_shared(lines) for lines in rounds[1:]]
        assert not any(shared), f"While the pods before them still end, they tell {shared}."


@check(
    "never-two-holders",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:700",
    defects=["device-held-twice", "same-device"],
    verbs=[
        "jobs.batch: create get",
        "pods: create delete list watch",
        "pods/log: get",
    ],
)
def test_a_device_never_has_two_holders(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """While more pods than there are NPUs come and go, no NPU has two holders, and each of the pods has had one.

    As the kubelet says whenever it is asked, and as the kernel says to the containers: see force-delete-storm.
    """
    share = npus()
    one = container(family, cluster.image, 1, tell=CLAIM + "sleep 1\n")
    wanted, completions = pod("none", one, node=share.node), 2 * share.count
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "many"},
        "spec": {
            "completions": completions,
            "parallelism": completions,
            "backoffLimit": 0,
            "template": {"metadata": {"labels": {"app": "many"}}, "spec": wanted["spec"]},
        },
    }
    cluster.client.create(path_of("Job", namespace), job)
    deadline, most = time.monotonic() + JOB_SECONDS, 0
    while True:
        most = max(most, _held(account(cluster, share.node), family.resource))
        status = cluster.client.get(path_of("Job", namespace, "many"))["status"]
        if status.get("succeeded") == completions:
            break
        assert not status.get("failed"), f"A pod of the job failed: {status}."
        assert time.monotonic() < deadline, f"The job has not ended within {JOB_SECONDS:g} s: {status}."
    pods = cluster.client.items(path_of("Pod", namespace), labels="app=many")
    logs = [cluster.kubectl.run("logs", each["metadata"]["name"], "--namespace", namespace).split() for each in pods]
    assert [log[0] for log in logs] == ["alone"] * completions, f"They tell {logs}."
    assert most > 1, f"At most {most} device was seen in use at one time, which proves nothing."


def _shared(lines: list[str]) -> list[str]:
    """The lines of containers that were not alone with their device."""
    return [line for line in lines if not line.startswith("alone ")]


def _filled(cluster: Cluster, namespace: str, manifest: Object, names: Iterator[str], *, count: int) -> list[Object]:
    """So many pods that run; one that its kubelet refuses is replaced.

    Raises:
        AssertionError: they do not run within ROUND_SECONDS.
    """
    deadline = time.monotonic() + ROUND_SECONDS
    held: list[Object] = []
    refused: Counter[str] = Counter()
    waiting: list[Object] = []
    while len(held) < count:
        while len(held) + len(waiting) < count:
            named = {**manifest, "metadata": {"name": next(names)}}
            waiting.append(created(cluster, namespace, named))
        made = waiting.pop(0)
        left = deadline - time.monotonic()
        assert left > 0, f"{len(held)} of {count} pods run after {ROUND_SECONDS:g} s; refused were {dict(refused)}."
        path = path_of("Pod", namespace, made["metadata"]["name"])
        what = f"{made['metadata']['name']} to run or to be refused"
        now = wait_for(
            cluster.client, what, path, phase("Running", "Failed"), timeout=left, uid=made["metadata"]["uid"]
        )
        if now["status"]["phase"] == "Running":
            held.append(now)
        else:
            assert now["status"].get("reason"), f"It was not refused, it has failed: {summary(now)}"
            refused[now["status"]["reason"]] += 1
    return held


def _held(said: Account, resource: str) -> int:
    """How many devices are held; none of them by two containers."""
    held = [
        (device, f"{name}/{container}")
        for name, containers in said.held.items()
        for container, ids in containers.items()
        for device in ids.get(resource, ())
    ]
    twice = {device: [who for of, who in held if of == device] for device, _ in held}
    assert len(twice) == len(held), (
        f"Devices have several holders: {[one for one in twice.items() if len(one[1]) > 1]}."
    )
    return len(twice)
