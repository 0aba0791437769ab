"""The objects that were recorded of a check, `objects.json` of its evidence, as the rules of causes ask of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from gate.jsonfile import UnreadableError, parse, read_bounded, shown
from gate.results import Evidence

OBJECTS = "objects.json"
MOST_BYTES = 8 * 2**20
NOT_MADE = (
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun",
)  # fmt: skip
NOT_PULLED = (
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
    "ImageInspectError",
)  # fmt: skip


@dataclass(frozen=True)
class Container:
    """A container: how it ended, why it was not made, since when it runs (seconds since the epoch)."""

    name: str
    exit_code: int = 0
    reason: str = ""
    oom: bool = False
    not_made: str = ""
    running_since: float | None = None
    memory: str = ""


@dataclass(frozen=True)
class Found:
    """A pod.

    Attributes:
        namespace: of the pod.
        name: of the pod.
        uid: of the pod.
        node: to which it was bound; empty when it was not.
        phase: as its status has it.
        reason: as its status has it.
        message: as its status has it.
        npus: that it asks for.
        ready: whether it says so.
        unschedulable: the scheduler's words; empty when it was scheduled.
        unpulled: the image that cannot be had and the kubelet's words; None when all can.
        pull_secrets: that it names.
        unhealthy: devices of its that are.
        containers: of the pod.
    """

    namespace: str
    name: str
    uid: str = ""
    node: str = ""
    phase: str = ""
    reason: str = ""
    message: str = ""
    npus: int = 0
    ready: bool = False
    unschedulable: str = ""
    unpulled: tuple[str, str] | None = None
    pull_secrets: tuple[str, ...] = ()
    unhealthy: tuple[str, ...] = ()
    containers: tuple[Container, ...] = ()

    @property
    def title(self) -> str:
        """Namespace and name."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class NodeSeen:
    """A node; its NPUs are None where it never had the resource."""

    name: str
    capacity: int | None
    allocatable: int | None
    taints: tuple[str, ...] = ()
    ready: bool = True
    why_not_ready: str = ""


@dataclass(frozen=True)
class Recorded:
    """What was recorded.

    Attributes:
        resource: the NPUs' name.
        at: when, seconds since the epoch.
        said: what the check itself said of its failure.
        pods: of the check; those that did not succeed first.
        nodes: of the cluster.
        holders: pods of all namespaces that hold NPUs.
        plugins: pods that register devices.
        events: reason, the UID of what it is of, and message.
        logs: the last lines of a container, by `POD.CONTAINER`, each with its time in front.
    """

    resource: str
    at: float
    said: str = ""
    pods: tuple[Found, ...] = ()
    nodes: tuple[NodeSeen, ...] = ()
    holders: tuple[Found, ...] = ()
    plugins: tuple[Found, ...] = ()
    events: tuple[tuple[str, str, str], ...] = ()
    logs: Mapping[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """Of the check's pods; empty when there is none."""
        return self.pods[0].namespace if self.pods else ""

    @property
    def texts(self) -> Iterator[str]:
        """What the check and the events said."""
        yield self.said
        for _, _, message in self.events:
            yield message

    @property
    def unschedulable(self) -> bool:
        """Whether a pod of the check fits no node."""
        return any(pod.unschedulable for pod in self.pods)

    @property
    def lacks_npus(self) -> bool:
        """Whether the scheduler says that NPUs are lacking."""
        return any(f"Insufficient {self.resource}" in pod.unschedulable for pod in self.pods)

    def messages_of(self, pod: Found, *reasons: str) -> list[str]:
        """What events of the pod with one of these reasons say."""
        return [message for reason, uid, message in self.events if uid == pod.uid and reason in reasons]

    def last_lines(self, pod: str, container: str, most: int) -> list[str]:
        """The last lines of a container's log that say something, without their times."""
        lines = self.logs.get(f"{pod}.{container}", "").replace("\r", "\n").splitlines()
        return [text for line in lines if (text := _without_time(line))][-most:]

    def spoke_last(self, pod: str, container: str) -> float | None:
        """When the last line of a container's log was written; None without one."""
        times = [_time(line.partition(" ")[0]) for line in self.logs.get(f"{pod}.{container}", "").splitlines()]
        return max((time for time in times if time is not None), default=None)

    @property
    def looked_at(self) -> tuple[str, ...]:
        """All that was looked at, each in a few words."""
        told = [f"what the check said: {shown(self.said)}"] if self.said else []
        told += [f"pod {pod.title}: {_state(pod)}" for pod in self.pods]
        told += [f"node {node.name}: {_npus(node)}" for node in self.nodes]
        told += [f"pod {pod.title} holds {pod.npus} NPUs on {pod.node}" for pod in self.holders]
        told += [f"device plugin {pod.title} on {pod.node}: {pod.phase}" for pod in self.plugins]
        told += [f"event {reason}: {message}" for reason, _, message in self.events]
        told += [f"log of {name}: {len(text.splitlines())} lines" for name, text in self.logs.items()]
        return tuple(shown(line) for line in told) or ("nothing was recorded",)


def _without_time(line: str) -> str:
    first, _, rest = line.partition(" ")
    return (rest if _time(first) is not None else line).strip()


def _time(text: object) -> float | None:
    try:
        moment = datetime.fromisoformat(str(text))
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _state(pod: Found) -> str:
    parts = [pod.phase or "no phase", pod.reason, pod.message, pod.unschedulable, f"on {pod.node}" if pod.node else ""]
    parts += [f"{one.name} ended with {one.exit_code}" for one in pod.containers if one.exit_code]
    return ", ".join(part for part in parts if part)


def _npus(node: NodeSeen) -> str:
    ready = "" if node.ready else f", not ready: {node.why_not_ready}"
    taints = f", taints {', '.join(node.taints)}" if node.taints else ""
    counted = "no NPUs" if node.capacity is None else f"{node.allocatable} of {node.capacity} NPUs to give"
    return f"{counted}{taints}{ready}"


def recorded_of(evidence: Sequence[tuple[Path, Evidence]], said: str) -> Recorded | None:
    """What was recorded as evidence of a check; None when nothing was, or it is damaged.

    Args:
        evidence: each with its results folder.
        said: what the check itself said of its failure.
    """
    for folder, kept in evidence:
        if kept.file.rpartition("/")[2] == OBJECTS:
            file = folder / kept.file
            try:
                return recorded_from(parse(read_bounded(file, MOST_BYTES), file), said)
            except UnreadableError:
                return None
    return None


def recorded_from(content: Any, said: str = "") -> Recorded:
    """The same from the content of the file; what is not as Kubernetes has it is passed over."""
    top = _table(content)
    resource = str(top.get("resource", "aliyun.com/npu"))
    pods = [_pod(one, resource) for one in _tables(top.get("pods"))]
    at = top.get("at")
    return Recorded(
        resource=resource,
        at=float(at) if isinstance(at, int | float) else 0.0,
        said=said or str(top.get("said", "")),
        pods=tuple(sorted(pods, key=lambda pod: pod.phase == "Succeeded")),
        nodes=tuple(_node(one, resource) for one in _tables(top.get("nodes"))),
        holders=tuple(_pod(one, resource) for one in _tables(top.get("holders"))),
        plugins=tuple(_pod(one, resource) for one in _tables(top.get("plugins"))),
        events=tuple(_event(one) for one in _tables(top.get("events"))),
        logs={str(name): text for name, text in _table(top.get("logs")).items() if isinstance(text, str)},
    )


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _tables(value: Any) -> Iterable[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _count(quantity: Any) -> int:
    """A whole number; the API server writes 1000 as 1k."""
    text = str(quantity if quantity is not None else 0)
    factor = {"k": 1000, "M": 10**6}.get(text[-1:], 1)
    digits = text[:-1] if factor > 1 else text
    return int(digits) * factor if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0


def _event(one: dict[str, Any]) -> tuple[str, str, str]:
    of = _table(one.get("involvedObject"))
    return str(one.get("reason", "")), str(of.get("uid", "")), str(one.get("message", ""))


def _node(one: dict[str, Any], resource: str) -> NodeSeen:
    status, spec = _table(one.get("status")), _table(one.get("spec"))
    capacity, allocatable = _table(status.get("capacity")), _table(status.get("allocatable"))
    ready = next(
        (each for each in _tables(status.get("conditions")) if each.get("type") == "Ready"), {"status": "True"}
    )
    return NodeSeen(
        name=str(_table(one.get("metadata")).get("name", "")),
        capacity=_count(capacity[resource]) if resource in capacity else None,
        allocatable=_count(allocatable[resource]) if resource in allocatable else None,
        taints=tuple(f"{taint.get('key')}: {taint.get('value', '')}" for taint in _tables(spec.get("taints"))),
        ready=ready.get("status") == "True",
        why_not_ready=str(ready.get("message", "")),
    )


def _pod(one: dict[str, Any], resource: str) -> Found:
    metadata, spec, status = (_table(one.get(key)) for key in ("metadata", "spec", "status"))
    asked = [_table(_table(each.get("resources")).get("requests")) for each in _tables(spec.get("containers"))]
    conditions = {str(each.get("type")): each for each in _tables(status.get("conditions"))}
    scheduled, ready = conditions.get("PodScheduled", {}), conditions.get("Ready", {})
    memory = {
        str(each.get("name")): str(_table(_table(each.get("resources")).get("limits")).get("memory", ""))
        for each in _tables(spec.get("containers"))
    }
    statuses = [*_tables(status.get("initContainerStatuses")), *_tables(status.get("containerStatuses"))]
    waiting = [(each, _table(_table(each.get("state")).get("waiting"))) for each in statuses]
    unpulled = next(
        ((str(each.get("image", "")), str(why.get("message") or why.get("reason"))) for each, why in waiting
         if why.get("reason") in NOT_PULLED),
        None,
    )  # fmt: skip
    return Found(
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        node=str(spec.get("nodeName") or ""),
        phase=str(status.get("phase", "")),
        reason=str(status.get("reason", "")),
        message=str(status.get("message", "")),
        npus=sum(_count(requests.get(resource)) for requests in asked),
        ready=ready.get("status") == "True",
        unschedulable=str(scheduled.get("message", "")) if scheduled.get("status") == "False" else "",
        unpulled=unpulled,
        pull_secrets=tuple(str(each.get("name")) for each in _tables(spec.get("imagePullSecrets"))),
        unhealthy=tuple(
            str(device.get("resourceID"))
            for each in statuses
            for of in _tables(each.get("allocatedResourcesStatus"))
            for device in _tables(of.get("resources"))
            if device.get("health") == "Unhealthy"
        ),
        containers=tuple(_container(each, memory.get(str(each.get("name")), "")) for each in statuses),
    )


def _container(status: dict[str, Any], memory: str) -> Container:
    state, last = _table(status.get("state")), _table(status.get("lastState"))
    ended = _table(state.get("terminated")) or _table(last.get("terminated"))
    waiting = _table(state.get("waiting"))
    not_made = f"{waiting.get('reason')}: {waiting.get('message', '')}" if waiting.get("reason") in NOT_MADE else ""
    if ended.get("reason") in NOT_MADE:
        not_made = f"{ended.get('reason')}: {ended.get('message', '')}"
    return Container(
        name=str(status.get("name", "")),
        exit_code=_count(ended.get("exitCode")),
        reason=str(ended.get("reason", "")),
        oom=ended.get("reason") == "OOMKilled",
        not_made=not_made,
        running_since=_time(_table(state.get("running")).get("startedAt")),
        memory=memory,
    )
