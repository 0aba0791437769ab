"""The objects that were recorded of a check, `objects.json` of its evidence, as the rules of causes ask of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from gate.jsonfile import UnreadableError, parse, read_bounded, shown
from gate.results import Evidence
from gate.taints import Taint, Toleration

OBJECTS = "objects.json"
MOST_BYTES = 8 * 2**20
MOST_LETTERS = 8192
"""Of a message; those of Kubernetes are shorter, and patterns are sought in it."""
LAST_MOMENT = 253_402_300_800.0
"""The end of the year 9999, seconds since the epoch."""
UNREAD = "(the log could not be read"
"""How what stands for a log begins when there was none to be had."""
PREVIOUS = " (previous)"
"""After the name of a log: it is of the run before the one that goes on."""
NOT_MADE = (
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun",
)  # fmt: skip
NOT_PULLED = (
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
    "ImageInspectError",
)  # fmt: skip


@dataclass(frozen=True)
class Container:
    """A container: how it ended, why it was not made, since when it runs (seconds since the epoch).

    How it ended is of its run before this one where `before` says so: it was started again, or is to be.
    """

    name: str
    exit_code: int = 0
    reason: str = ""
    oom: bool = False
    not_made: str = ""
    running_since: float | None = None
    memory: str = ""
    before: bool = False


@dataclass(frozen=True)
class Event:
    """An event: its reason and message, the UID and namespace of what it is of, when it was last seen, if it says."""

    reason: str
    message: str
    uid: str = ""
    namespace: str = ""
    at: float | None = None


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
        created: when, seconds since the epoch.
        tolerations: of the pod.
        selector: labels that its node must have.
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
    created: float | None = None
    tolerations: tuple[Toleration, ...] = ()
    selector: Mapping[str, str] = field(default_factory=dict)

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
    taints: tuple[Taint, ...] = ()
    ready: bool = True
    why_not_ready: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


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
        events: of its namespace, the latest first.
        logs: the last lines of a container, by `POD.CONTAINER`, each with its time in front.
    """

    resource: str
    at: float
    said: str = ""
    pods: tuple[Found, ...] = ()
    nodes: tuple[NodeSeen, ...] = ()
    holders: tuple[Found, ...] = ()
    plugins: tuple[Found, ...] = ()
    events: tuple[Event, ...] = ()
    logs: Mapping[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """Of the check's pods; empty when there is none."""
        return self.pods[0].namespace if self.pods else ""

    def lacks_npus(self, pod: Found) -> bool:
        """Whether the scheduler says that NPUs are lacking for the pod; `NAME-memory` is another resource than NAME."""
        return bool(re.search(rf"Insufficient {re.escape(self.resource)}(?![\w/-]|\.\w)", pod.unschedulable))

    def messages_of(self, pod: Found, *reasons: str) -> list[str]:
        """What events of the pod with one of these reasons say."""
        return [event.message for event in self.events if event.uid == pod.uid and event.reason in reasons]

    def log(self, pod: Found, container: Container, *, ended: bool = False) -> str | None:
        """The last lines of the container that runs, or with `ended` of the run whose end it tells.

        None when nobody has read it.
        """
        again = ended and container.before and container.running_since is not None
        text = self.logs.get(f"{pod.name}.{container.name}{PREVIOUS if again else ''}")
        return None if text is None or text.startswith(UNREAD) else text

    @property
    def looked_at(self) -> tuple[str, ...]:
        """All that was looked at, each in a few words."""
        told = [f"what the check said: {shown(self.said)}"] if self.said else []
        told += [f"pod {pod.title}: {_state(pod)}" for pod in self.pods]
        told += [f"node {node.name}: {_npus(node)}" for node in self.nodes]
        told += [f"pod {pod.title} holds {pod.npus} NPUs on {pod.node}" for pod in self.holders]
        told += [f"device plugin {pod.title} on {pod.node}: {pod.phase}" for pod in self.plugins]
        told += [f"event {event.reason}: {event.message}" for event in self.events]
        told += [f"log of {name}: {len(text.splitlines())} lines" for name, text in self.logs.items()]
        return tuple(shown(line) for line in told) or ("nothing was recorded",)


def last_lines(log: str, most: int) -> list[str]:
    """The last lines of a log that say something, without their times."""
    return [text for line in log.replace("\r", "\n").splitlines() if (text := _without_time(line))][-most:]


def spoke_last(log: str) -> float | None:
    """When the last line of a log was written, seconds since the epoch; None without one."""
    times = [_time(line.partition(" ")[0]) for line in log.splitlines()]
    return max((time for time in times if time is not None), default=None)


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
    taints = f", taints {', '.join(map(str, node.taints))}" if node.taints else ""
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
        at=float(at) if isinstance(at, int | float) and abs(at) < LAST_MOMENT else 0.0,
        said=_text(said or top.get("said")),
        pods=tuple(sorted(pods, key=lambda pod: pod.phase == "Succeeded")),
        nodes=tuple(_node(one, resource) for one in _tables(top.get("nodes"))),
        holders=tuple(_pod(one, resource) for one in _tables(top.get("holders"))),
        plugins=tuple(_pod(one, resource) for one in _tables(top.get("plugins"))),
        events=tuple(sorted(map(_event, _tables(top.get("events"))), key=lambda event: -(event.at or 0.0))),
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


def _text(value: Any) -> str:
    return str(value or "")[:MOST_LETTERS]


def _words(value: Any) -> dict[str, str]:
    return {str(key): str(word) for key, word in _table(value).items()}


def _named(value: dict[str, Any], *keys: str) -> list[str]:
    return [str(value.get(key) or "") for key in keys]


def _event(one: dict[str, Any]) -> Event:
    of = _words(one.get("involvedObject"))
    return Event(
        reason=str(one.get("reason", "")),
        message=_text(one.get("message")),
        uid=of.get("uid", ""),
        namespace=of.get("namespace", ""),
        at=_time(one.get("lastTimestamp") or one.get("eventTime") or one.get("firstTimestamp")),
    )


def _node(one: dict[str, Any], resource: str) -> NodeSeen:
    metadata, spec, status = (_table(one.get(key)) for key in ("metadata", "spec", "status"))
    capacity, allocatable = _table(status.get("capacity")), _table(status.get("allocatable"))
    ready = next(
        (each for each in _tables(status.get("conditions")) if each.get("type") == "Ready"), {"status": "True"}
    )
    return NodeSeen(
        name=str(metadata.get("name", "")),
        labels=_words(metadata.get("labels")),
        capacity=_count(capacity[resource]) if resource in capacity else None,
        allocatable=_count(allocatable[resource]) if resource in allocatable else None,
        taints=tuple(Taint(*_named(taint, "key", "value", "effect")) for taint in _tables(spec.get("taints"))),
        ready=ready.get("status") == "True",
        why_not_ready=str(ready.get("message", "")),
    )


def _pod(one: dict[str, Any], resource: str) -> Found:
    metadata, spec, status = (_table(one.get(key)) for key in ("metadata", "spec", "status"))
    containers, first = _tables(spec.get("containers")), _tables(spec.get("initContainers"))
    conditions = {str(each.get("type")): each for each in _tables(status.get("conditions"))}
    scheduled, ready = conditions.get("PodScheduled", {}), conditions.get("Ready", {})
    memory = {
        str(each.get("name")): str(_table(_table(each.get("resources")).get("limits")).get("memory", ""))
        for each in [*first, *containers]
    }
    statuses = [*_tables(status.get("initContainerStatuses")), *_tables(status.get("containerStatuses"))]
    waiting = [(each, _table(_table(each.get("state")).get("waiting"))) for each in statuses]
    unpulled = next(
        ((_text(each.get("image")), _text(why.get("message") or why.get("reason"))) for each, why in waiting
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
        message=_text(status.get("message")),
        npus=max([sum(_asked(each, resource) for each in containers), *(_asked(each, resource) for each in first)]),
        ready=ready.get("status") == "True",
        unschedulable=_text(scheduled.get("message")) if scheduled.get("status") == "False" else "",
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
        created=_time(metadata.get("creationTimestamp")),
        tolerations=tuple(
            Toleration(*_named(each, "key", "operator", "value", "effect")) for each in _tables(spec.get("tolerations"))
        ),
        selector=_words(spec.get("nodeSelector")),
    )


def _asked(container: dict[str, Any], resource: str) -> int:
    return _count(_table(_table(container.get("resources")).get("requests")).get(resource))


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
        before=bool(ended) and not _table(state.get("terminated")),
    )
