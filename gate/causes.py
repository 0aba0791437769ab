"""Why a pod or a check failed: one sentence and the next command, from the objects that were recorded of it.

Each rule looks for one cause, in the texts that Kubernetes 1.37 has for it; the first that finds it answers. When none
does, the cause is unknown, and everything that was looked at is listed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace

from gate.decision import Cause
from gate.jsonfile import shown
from gate.recorded import Found, Recorded

MOST_HOLDERS = 5
LAST_LINES = 3
SILENT_SECONDS = 60.0
"""Without a line in its log, and still running, a container counts as hanging."""

QUOTA = re.compile(
    r"exceeded quota: (?P<name>[^,\s]+), requested: (?P<wanted>.+?), used: (?P<used>.+?), limited: (?P<hard>\S+)"
)
REFUSED = re.compile(
    r"admission webhook \"[^\"]+\" denied the request: .+|ValidatingAdmissionPolicy .+ denied request: .+"
    r"|(?:pods|Pod) \"[^\"]+\" is (?:forbidden|invalid): .+|The Pod \"[^\"]+\" is invalid: .+"
)
UNAUTHORISED = re.compile(
    r"401 unauthorized|403 forbidden|pull access denied|authorization failed|no basic auth|authentication required"
    r"|insufficient_scope|access denied|unauthorized",
    re.IGNORECASE,
)
NOT_FOUND = re.compile(
    r"not found|manifest unknown|404|name unknown|does not exist|is not present with pull policy of Never",
    re.IGNORECASE,
)
UNREACHABLE = re.compile(
    r"no such host|i/o timeout|connection refused|network is unreachable|deadline exceeded|no route to host|x509|"
    r"server gave HTTP response|TLS handshake",
    re.IGNORECASE,
)
NO_SECRET = re.compile(r"Unable to retrieve some image pull secrets \((?P<names>[^)]*)\)")
TAINT = re.compile(r"untolerated taint(?:\(s\))?(?: \{(?P<taint>[^}]*)\})?")
OTHER_REASON = re.compile(r"Insufficient|didn't match")
PROGRESS = re.compile(r"(\d+)/(\d+) \[")
LOW = re.compile(r"top_[15] is [\d.]+, less than [\d.]*\d")

Rule = Callable[[Recorded], Cause | None]


def explain(recorded: Recorded, differences: Sequence[str] = ()) -> Cause:
    """The cause that the objects tell.

    Args:
        recorded: what was recorded of a check.
        differences: what of the subject differs from the baseline, as sentences.
    """
    for rule in RULES:
        if cause := rule(recorded):
            if differences and cause.code in ("accuracy-low", "training-incomplete"):
                return replace(cause, sentence=f"{cause.sentence} {differences[0]}")
            return replace(cause, looked_at=recorded.looked_at)
    if differences:
        command = "Run the same checks on the baseline's image, to see whether that is why."
        sentence = f"No object tells why, but the candidate is another than the baseline: {differences[0]}"
        return Cause("differs-from-baseline", sentence, command, (*recorded.looked_at, *differences))
    command = "Read what was recorded of it: the evidence of the check."
    return Cause("unknown", "The cause is unknown.", command, recorded.looked_at)


def _cause(code: str, sentence: str, command: str) -> Cause:
    return Cause(code, shown(sentence, 600), shown(command, 300), ())


def _kubectl(*words: str) -> str:
    """A command to type: its names come from objects that anyone may have made."""
    return shlex.join(["kubectl", *words])


def quota(recorded: Recorded) -> Cause | None:
    """A ResourceQuota lets no more be made."""
    for text in recorded.texts:
        if told := QUOTA.search(text):
            where = recorded.namespace or "NAMESPACE"
            counted = f"{told['used']} is used, and {told['wanted']} was asked for"
            sentence = f"The quota {told['name']} lets {told['hard']}, {counted}."
            return _cause("quota", sentence, _kubectl("describe", "resourcequota", told["name"], "--namespace", where))
    return None


def admission(recorded: Recorded) -> Cause | None:
    """The API server, a policy or the kubelet refused the pod; the reason is theirs, word for word."""
    for pod in recorded.pods:
        if (
            pod.phase == "Failed"
            and pod.reason not in ("", "Evicted")
            and pod.message.startswith(("Pod was rejected", "Pod ", "Allocate failed"))
        ):
            sentence = f"The kubelet of {pod.node or 'its node'} refused the pod: {pod.reason}: {pod.message}"
            return _cause("admission-rejected", sentence, _kubectl("describe", "node", pod.node))
    for text in recorded.texts:
        if told := REFUSED.search(text):
            return _cause("admission-rejected", f"It was refused: {told[0]}", "Correct the pod as the reason says.")
    return None


def no_npu_node(recorded: Recorded) -> Cause | None:
    """No node has ever had the resource."""
    if recorded.unschedulable and recorded.nodes and all(node.capacity is None for node in recorded.nodes):
        sentence = f"None of {len(recorded.nodes)} nodes has {recorded.resource}: no device plugin has registered it."
        return _cause("no-npu-node", sentence, "kubectl get nodes,pods --all-namespaces --output wide")
    return None


def plugin_not_registered(recorded: Recorded) -> Cause | None:
    """Nodes had the resource, and their device plugin is no longer there to give it."""
    without = [node for node in recorded.nodes if node.capacity is not None and node.allocatable == 0]
    if not recorded.unschedulable or not without or any(node.allocatable for node in recorded.nodes):
        return None
    running = {plugin.node for plugin in recorded.plugins if plugin.ready}
    gone = [node for node in without if node.name not in running or node.capacity == 0]
    if not gone:
        return None
    names = ", ".join(node.name for node in gone)
    sentence = f"The device plugin is not registered on {names}: {recorded.resource} is 0 of {gone[0].capacity} there."
    plugin = next(iter(recorded.plugins), None)
    where = ["--namespace", plugin.namespace, plugin.name] if plugin else ["--all-namespaces"]
    return _cause("plugin-not-registered", sentence, _kubectl("describe", "pods", *where))


def unhealthy_device(recorded: Recorded) -> Cause | None:
    """A device of the pod, or the ones it waits for, are unhealthy."""
    for pod in recorded.pods:
        if pod.unhealthy:
            sentence = f"The device {', '.join(pod.unhealthy)} of pod {pod.title} is unhealthy."
            return _cause("unhealthy-device", sentence, _kubectl("describe", "node", pod.node))
    sick = [node for node in recorded.nodes if node.capacity and (node.allocatable or 0) < node.capacity]
    if recorded.unschedulable and sick and recorded.lacks_npus:
        told = ", ".join(
            f"{(node.capacity or 0) - (node.allocatable or 0)} of {node.capacity} on {node.name}" for node in sick
        )
        return _cause("unhealthy-device", f"NPUs are unhealthy: {told}.", _kubectl("describe", "node", sick[0].name))
    return None


def npus_in_use(recorded: Recorded) -> Cause | None:
    """All NPUs are taken, by pods that are named."""
    total = sum(node.allocatable or 0 for node in recorded.nodes)
    taken = sum(holder.npus for holder in recorded.holders)
    wanted = max((pod.npus for pod in recorded.pods if pod.unschedulable), default=0)
    if not recorded.lacks_npus or not total:
        return None
    if wanted > max(node.allocatable or 0 for node in recorded.nodes):
        most = max(node.allocatable or 0 for node in recorded.nodes)
        sentence = f"The pod asks for {wanted} NPUs, and no node has more than {most}."
        return _cause("request-too-large", sentence, "kubectl describe nodes")
    if not recorded.holders:
        return None
    by = ", ".join(f"{one.namespace}/{one.name} ({one.npus} on {one.node})" for one in recorded.holders[:MOST_HOLDERS])
    more = f" and {len(recorded.holders) - MOST_HOLDERS} more" if len(recorded.holders) > MOST_HOLDERS else ""
    sentence = f"{taken} of {total} NPUs are in use, by {by}{more}."
    return _cause("npus-in-use", sentence, "kubectl get pods --all-namespaces --output wide")


def taint(recorded: Recorded) -> Cause | None:
    """Nodes where the pod could have been have a taint that it does not tolerate, or its selector fits none of them."""
    for pod in recorded.pods:
        nodes = [node for node in recorded.nodes if node.capacity is not None or not pod.npus]
        # every cluster has nodes that are tainted for all: they are the reason when no node has another one
        tainted = any(node.taints for node in nodes) or not OTHER_REASON.search(pod.unschedulable)
        if pod.unschedulable and tainted and (told := TAINT.search(pod.unschedulable)):
            named = told["taint"] or ", ".join(sorted({key for node in nodes for key in node.taints}))
            taints = f"the taint {named}" if named else "taints"
            sentence = f"Nodes have {taints}, which the pod does not tolerate: {pod.unschedulable}"
            return _cause(
                "taint", sentence, "kubectl get nodes --output custom-columns=NAME:.metadata.name,TAINTS:.spec.taints"
            )
        if pod.unschedulable and "didn't match Pod's node affinity/selector" in pod.unschedulable:
            sentence = f"No node fits the pod's selector or affinity: {pod.unschedulable}"
            return _cause("selector", sentence, "kubectl get nodes --show-labels")
    return None


def image(recorded: Recorded) -> Cause | None:
    """The image cannot be had: no secret, a wrong one, no such image, no way to the registry."""
    for pod in recorded.pods:
        if pod.unpulled:
            return _unpulled(recorded, pod, *pod.unpulled)
    return None


def _unpulled(recorded: Recorded, pod: Found, name: str, why: str) -> Cause:
    told = " ".join([why, *recorded.messages_of(pod, "Failed", "BackOff", "ErrImageNeverPull")])
    lost = [NO_SECRET.search(text) for text in recorded.messages_of(pod, "FailedToRetrieveImagePullSecret")]
    missing = next((found["names"] for found in lost if found), "")
    secret = missing or next(iter(pod.pull_secrets), "")
    refused = bool(UNAUTHORISED.search(told))
    in_order = (
        (missing, "pull-secret-missing", f"The pull secret {missing} is not in namespace {pod.namespace}: {why}"),
        (UNREACHABLE.search(told), "registry-unreachable", f"The registry of {name} cannot be reached: {why}"),
        (refused and secret, "pull-secret-wrong", f"The registry refuses the pull secret {secret} for {name}: {why}"),
        (refused, "pull-secret-missing", f"The registry of {name} asks for a secret, and the pod names none: {why}"),
        (NOT_FOUND.search(told), "image-not-found", f"There is no image {name}: {why}"),
        (True, "image-not-pulled", f"The image {name} cannot be pulled: {why}"),
    )
    code, sentence = next((code, sentence) for holds, code, sentence in in_order if holds)
    if code.startswith("pull-secret") and secret:
        return _cause(code, sentence, _kubectl("get", "secret", secret, "--namespace", pod.namespace))
    return _cause(code, sentence, _kubectl("describe", "pod", pod.name, "--namespace", pod.namespace))


def out_of_memory(recorded: Recorded) -> Cause | None:
    """The kernel killed a container, or the kubelet evicted the pod, for its memory."""
    for pod in recorded.pods:
        for container in pod.containers:
            if container.oom:
                limit = container.memory or "its node's memory"
                sentence = f"Container {container.name} of pod {pod.title} was killed as it took more than {limit}."
                return _cause("out-of-memory", sentence, "Raise resources.limits.memory of the container.")
        if pod.reason == "Evicted":
            sentence = f"Pod {pod.title} was evicted: {pod.message}"
            return _cause("evicted", sentence, _kubectl("describe", "node", pod.node))
    return None


def node_not_ready(recorded: Recorded) -> Cause | None:
    """The node of a pod does not answer."""
    for pod in recorded.pods:
        node = next((node for node in recorded.nodes if node.name == pod.node), None)
        if node and not node.ready and pod.phase != "Succeeded":
            sentence = f"Node {node.name}, on which pod {pod.title} is, is not ready: {node.why_not_ready}"
            return _cause("node-not-ready", sentence, _kubectl("describe", "node", node.name))
    return None


def crash(recorded: Recorded) -> Cause | None:
    """A container ended with an error, or could not be made."""
    for pod in recorded.pods:
        for container in pod.containers:
            if container.not_made:
                sentence = f"Container {container.name} of pod {pod.title} cannot be made: {container.not_made}"
                return _cause(
                    "container-not-made", sentence, _kubectl("describe", "pod", pod.name, "--namespace", pod.namespace)
                )
            if container.exit_code:
                last = " / ".join(recorded.last_lines(pod.name, container.name, LAST_LINES)) or "nothing"
                sentence = (
                    f"Container {container.name} of pod {pod.title} ended with {container.exit_code}"
                    f"{f' ({container.reason})' if container.reason not in ('', 'Error') else ''}; its log ends: {last}"
                )
                return _cause("crash", sentence, _log_command(pod, container.name))
    return None


def hang(recorded: Recorded) -> Cause | None:
    """A container still runs and has said nothing for long."""
    for pod in recorded.pods:
        for container in pod.containers:
            if pod.phase != "Running" or container.running_since is None:
                continue
            spoke = recorded.spoke_last(pod.name, container.name)
            silent = recorded.at - max(spoke or 0.0, container.running_since)
            if silent < SILENT_SECONDS:
                continue
            last = " / ".join(recorded.last_lines(pod.name, container.name, 1)) or "nothing at all"
            ran = recorded.at - container.running_since
            sentence = (
                f"Container {container.name} of pod {pod.title} has run for {ran:.0f} s"
                f" and has said nothing for {silent:.0f} s; its last line: {last}"
            )
            return _cause("hang", sentence, _log_command(pod, container.name))
    return None


def training(recorded: Recorded) -> Cause | None:
    """The training ended early, or its result is too low."""
    if low := LOW.search(recorded.said):
        return _cause(
            "accuracy-low", f"The accuracy is too low: {low[0]}.", "Compare the log with that of the baseline."
        )
    for pod in recorded.pods:
        if pod.phase != "Succeeded":
            continue
        for container in pod.containers:
            text = "\n".join(recorded.last_lines(pod.name, container.name, 1000))
            steps = PROGRESS.findall(text)
            ended = int(steps[-1][0]) >= int(steps[-1][1]) if steps else True
            if steps and (not ended or "result" not in text):
                done = f"{steps[-1][0]} of {steps[-1][1]} steps"
                sentence = (
                    f"The training of pod {pod.title} is incomplete: {done}{'' if not ended else ', and no result'}."
                )
                return _cause("training-incomplete", sentence, _log_command(pod, container.name))
    return None


def unscheduled(recorded: Recorded) -> Cause | None:
    """The scheduler found no node, for another reason; it is told word for word."""
    for pod in recorded.pods:
        if pod.unschedulable:
            sentence = f"Pod {pod.title} fits no node: {pod.unschedulable}"
            return _cause(
                "unschedulable", sentence, _kubectl("describe", "pod", pod.name, "--namespace", pod.namespace)
            )
    return None


def _log_command(pod: Found, container: str) -> str:
    return _kubectl("logs", pod.name, "--container", container, "--namespace", pod.namespace)


RULES: tuple[Rule, ...] = (
    quota, admission, no_npu_node, plugin_not_registered, unhealthy_device, npus_in_use, taint, image, out_of_memory,
    node_not_ready, crash, training, hang, unscheduled,
)  # fmt: skip
"""In this order: what keeps a pod from being made, from being scheduled, from starting, from going well."""
