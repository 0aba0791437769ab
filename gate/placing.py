"""Why a pod fits no node: rules of causes on NPUs, taints, selectors and the scheduler's own words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from gate.advice import cause, describe_node, describe_pod, kubectl
from gate.decision import Cause
from gate.recorded import Found, NodeSeen, Recorded
from gate.taints import Taint, untolerated

MOST_HOLDERS = 5
TAINT = re.compile(r"untolerated taint(?:\(s\))?(?: \{(?P<taint>[^}]*)\})?")
SELECTOR = "didn't match Pod's node affinity/selector"
AVAILABLE = re.compile(r"nodes are available: (?P<reasons>.*?)\.?(?: preemption: .*)?$", re.DOTALL)
WORDS = re.compile(r"[a-z0-9]+")


def no_npu_node(recorded: Recorded) -> Cause | None:
    """No node has ever had the resource."""
    wants = any(pod.unschedulable and (pod.npus or recorded.lacks_npus(pod)) for pod in recorded.pods)
    if wants and recorded.nodes and all(node.capacity is None for node in recorded.nodes):
        sentence = f"None of {len(recorded.nodes)} nodes has {recorded.resource}: no device plugin has registered it."
        return cause("no-npu-node", sentence, "kubectl get nodes,pods --all-namespaces --output wide")
    return None


class Lack(NamedTuple):
    """One reason for which NPUs are lacking, and whether the pod would fit if it were mended."""

    code: str
    sentence: str
    command: str
    matters: bool


def npus_lacking(recorded: Recorded) -> Cause | None:
    """The pod asks for more than any node has, or a plugin is gone, NPUs are unhealthy, or others hold them.

    All of these are told of the nodes that the pod may use; the first without which it would fit names the cause.
    """
    lacking = [pod for pod in recorded.pods if recorded.lacks_npus(pod)]
    pod = max(lacking, key=lambda pod: pod.npus, default=None)
    nodes = [node for node in _usable(recorded, pod) if node.capacity is not None] if pod else []
    if pod is None or not nodes:
        return None
    most = max(max(node.capacity or 0, node.allocatable or 0) for node in nodes)
    others = [node.name for node in recorded.nodes if node.allocatable and node not in nodes]
    aside = f" The pod's selector and tolerations leave out {', '.join(others)}." if others else ""
    if most and pod.npus > most:
        sentence = (
            f"The pod asks for {pod.npus} NPUs, and no node {'that it may use ' if others else ''}has more than {most}."
        )
        return cause("request-too-large", sentence + aside, "kubectl describe nodes")
    lacks = [
        *_without_plugin(recorded, nodes, pod.npus),
        *_unhealthy(recorded, nodes, pod.npus),
        *_in_use(recorded, nodes),
    ]
    if not lacks:
        return None
    first = next((lack for lack in lacks if lack.matters), lacks[0])
    told = [first.sentence, *(lack.sentence for lack in lacks if lack is not first)]
    return cause(first.code, " ".join(told) + aside, first.command)


def _usable(recorded: Recorded, pod: Found) -> list[NodeSeen]:
    """The nodes on which the pod may be: it tolerates their taints, and its selector fits."""
    return [node for node in _selected(recorded, pod) if not untolerated(node.taints, pod.tolerations)]


def _selected(recorded: Recorded, pod: Found) -> list[NodeSeen]:
    return [node for node in recorded.nodes if pod.selector.items() <= node.labels.items()]


def _plugins(recorded: Recorded) -> tuple[list[Found], bool]:
    """The pods that may register the NPUs, and whether they are known to: any vendor's plugin mounts the same folder.

    Those with the resource's name in theirs, as `npu` is in fake-npu-x7k2p, are; where none has it, each may be.
    """
    name = set(WORDS.findall(recorded.resource.rpartition("/")[2].lower()))
    named = [pod for pod in recorded.plugins if name & set(WORDS.findall(pod.name.lower()))]
    return named or list(recorded.plugins), bool(named)


def _without_plugin(recorded: Recorded, nodes: Iterable[NodeSeen], wanted: int) -> Iterable[Lack]:
    plugins, known = _plugins(recorded)
    running = {plugin.node for plugin in plugins if plugin.ready}
    gone = [node for node in nodes if not node.allocatable and (node.name not in running or not node.capacity)]
    if not gone:
        return
    names = ", ".join(node.name for node in gone)
    sentence = f"The device plugin is not registered on {names}: {recorded.resource} is 0 of {gone[0].capacity} there."
    lost = [plugin for plugin in plugins if plugin.node in {node.name for node in gone} and (known or not plugin.ready)]
    if there := next(iter(lost), None):
        command = kubectl("describe", "pods", names=[there.name], namespace=there.namespace)
    elif known:
        command = kubectl("get", "daemonsets,pods", "--output", "wide", namespace=plugins[0].namespace)
    else:
        command = "kubectl get daemonsets --all-namespaces --output wide"
    matters = any(not node.capacity or _would_fit(recorded, node, wanted) for node in gone)
    yield Lack("plugin-not-registered", sentence, command, matters)


def _unhealthy(recorded: Recorded, nodes: Iterable[NodeSeen], wanted: int) -> Iterable[Lack]:
    plugins, known = _plugins(recorded)
    running = {plugin.node for plugin in plugins if plugin.ready}
    sick = [
        (node, node.capacity - (node.allocatable or 0))
        for node in nodes
        if node.capacity and (node.allocatable or 0) < node.capacity and (node.allocatable or node.name in running)
    ]
    if sick:
        told = ", ".join(f"{count} of {node.capacity} on {node.name}" for node, count in sick)
        sure = known or all(node.allocatable for node, _ in sick)
        sentence = f"NPUs are unhealthy{'' if sure else ', or their device plugin is not registered'}: {told}."
        matters = any(_would_fit(recorded, node, wanted) for node, _ in sick)
        yield Lack("unhealthy-device", sentence, describe_node(sick[0][0].name), matters)


def _in_use(recorded: Recorded, nodes: Iterable[NodeSeen]) -> Iterable[Lack]:
    giving = {node.name: node for node in nodes if node.allocatable}
    holders = [holder for holder in recorded.holders if holder.node in giving]
    if holders:
        taken, total = sum(holder.npus for holder in holders), sum(node.capacity or 0 for node in giving.values())
        by = ", ".join(f"{one.title} ({one.npus} on {one.node})" for one in holders[:MOST_HOLDERS])
        more = f" and {len(holders) - MOST_HOLDERS} more" if len(holders) > MOST_HOLDERS else ""
        sentence = f"{taken} of {total} NPUs are in use, by {by}{more}."
        yield Lack("npus-in-use", sentence, "kubectl get pods --all-namespaces --output wide", matters=True)


def _would_fit(recorded: Recorded, node: NodeSeen, wanted: int) -> bool:
    """Whether the node would have as many NPUs free if all of its own were healthy."""
    held = sum(holder.npus for holder in recorded.holders if holder.node == node.name)
    return (node.capacity or 0) - held >= max(wanted, 1)


def taint_or_selector(recorded: Recorded) -> Cause | None:
    """Nodes where the pod could have been have a taint that it does not tolerate, or its selector fits none of them."""
    for pod in recorded.pods:
        if found := _taint(recorded, pod) or _selector(recorded, pod):
            return found
    return None


def _reasons(pod: Found) -> list[str]:
    """What the scheduler says of its nodes, such as `2 Insufficient cpu`; of each, what the first filter says of it."""
    told = AVAILABLE.search(pod.unschedulable)
    return re.split(r", (?=\d+ )", told["reasons"]) if told else []


def _keeping_away(recorded: Recorded, pod: Found) -> tuple[tuple[Taint, ...], ...]:
    """Of each node where the pod could have been, the taints that it does not tolerate."""
    return tuple(untolerated(node.taints, pod.tolerations) for node in _with_npus(pod, _selected(recorded, pod)))


def _with_npus(pod: Found, nodes: Iterable[NodeSeen]) -> list[NodeSeen]:
    """The nodes that have what the pod asks for."""
    return [node for node in nodes if node.capacity is not None or not pod.npus]


def _taint(recorded: Recorded, pod: Found) -> Cause | None:
    reasons, taints = _reasons(pod), _keeping_away(recorded, pod)
    tainted = [told for reason in reasons if (told := TAINT.search(reason))]
    # every cluster has nodes that are tainted for all: they are the reason when no node has another one
    everywhere = bool(taints) and all(taints) and (bool(pod.npus) or not _others(recorded, pod))
    if not tainted or not (everywhere or len(tainted) == len(reasons)):
        return None
    named = [told["taint"] for told in tainted if told["taint"]]
    # the scheduler asks for taints before it asks for labels
    nodes = _with_npus(pod, _selected(recorded, pod) or recorded.nodes)
    named = named or sorted({str(one) for node in nodes for one in untolerated(node.taints, pod.tolerations)})
    which = f"the {'taint' if len(named) == 1 else 'taints'} {', '.join(named)}" if named else "taints"
    sentence = f"Nodes have {which}, which the pod does not tolerate: {pod.unschedulable}"
    command = "kubectl get nodes --output custom-columns=NAME:.metadata.name,TAINTS:.spec.taints"
    return cause("taint", sentence, command)


def _selector(recorded: Recorded, pod: Found) -> Cause | None:
    taints = _keeping_away(recorded, pod)
    unfit = any(SELECTOR in reason for reason in _reasons(pod))
    if not unfit or any(taints) or (taints and _others(recorded, pod)):
        return None
    sentence = f"No node fits the pod's selector or affinity: {pod.unschedulable}"
    return cause("selector", sentence, "kubectl get nodes --show-labels")


def _others(recorded: Recorded, pod: Found) -> list[str]:
    """The scheduler's reasons but taints, the selector, and nodes without NPUs for a pod that wants some."""
    known = ("untolerated taint", SELECTOR, *([f"Insufficient {recorded.resource}"] if pod.npus else []))
    return [reason for reason in _reasons(pod) if not any(words in reason for words in known)]


def unscheduled(recorded: Recorded) -> Cause | None:
    """The scheduler found no node, for another reason; it is told word for word."""
    for pod in recorded.pods:
        if pod.unschedulable:
            return cause("unschedulable", f"Pod {pod.title} fits no node: {pod.unschedulable}", describe_pod(pod))
    return None
