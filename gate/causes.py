"""Why a pod or a check failed: one sentence and the next command, from the objects that were recorded of it.

Each rule looks for one cause, in the texts that Kubernetes 1.37 has for it; the first that finds it answers. When none
does, the cause is unknown, and everything that was looked at is listed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from gate.advice import cause, describe_node, describe_pod, kubectl, logs_of
from gate.decision import Cause
from gate.placing import no_npu_node, npus_lacking, taint_or_selector, unscheduled
from gate.pulling import image
from gate.recorded import Container, Found, Recorded, last_lines, recorded_from, recorded_of, spoke_last
from gate.results import Evidence

LAST_LINES = 3
MOST_DIFFERENCES = 3
SILENT_SECONDS = 60.0
"""Without a line in its log, and still running, a container counts as hanging."""

QUOTA = re.compile(
    r"exceeded quota: (?P<name>[^,\s]+), requested: (?P<wanted>.+?), used: (?P<used>.+?), limited: (?P<hard>\S+)"
)
PATH = re.compile(r"/namespaces/(?P<namespace>[a-z0-9-]+)/")
WEBHOOK = re.compile(
    r"failed calling webhook \"[^\"]+\": .+|admission webhook \"[^\"]+\" denied the request without explanation"
)
NO_RIGHT = re.compile(r"(?<![\w./-])[\w./-]+(?: \"[^\"]+\")? is forbidden: User .+")
REFUSED = re.compile(
    r"admission webhook \"[^\"]+\" denied the request: .+|ValidatingAdmissionPolicy .+ denied request: .+"
    r"|(?:pods|Pod) \"[^\"]+\" is (?:forbidden|invalid): .+|The Pod \"[^\"]+\" is invalid: .+"
)
REMEDIES = (
    (WEBHOOK, "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations"),
    (NO_RIGHT, "Give the account the right that it lacks, or use another account."),
    (REFUSED, "Correct the pod as the reason says."),
)
WAITED = re.compile(
    r"\bwaited \d|\bwait(?:ing|s)\b|\btimed? ?out\b|\bin time\b|\bdeadline\b|\bended after \d|\b(?:still|is) running\b"
    r"|\bh[au]ng",
    re.IGNORECASE,
)
"""What a check says that ended as something took too long; one that `waited in vain` saw something fail."""
PROGRESS = re.compile(r"(\d{1,9})/(\d{1,9}) \[")
RESULT = re.compile(r",[ \t]*result[ \t]*=")
LOW = re.compile(r"top_[15] is [\d.]+, less than [\d.]*\d")
KILLED = (137, 143)
"""Codes of a container that was killed from outside, by SIGKILL or SIGTERM."""

Rule = Callable[[Recorded], Cause | None]


def cause_of(evidence: Sequence[tuple[Path, Evidence]], said: str, differences: Sequence[str] = ()) -> Cause | None:
    """The cause of a check's failure; None when no objects were recorded of it, and what it said tells none.

    Args:
        evidence: each with its results folder.
        said: what the check itself said of its failure.
        differences: what of the subject differs from the baseline, as sentences.
    """
    if recorded := recorded_of(evidence, said):
        return explain(recorded, differences)
    found = explain(recorded_from({}, said))
    return _with_differences(found, differences) if found.code != "unknown" else None


def explain(recorded: Recorded, differences: Sequence[str] = ()) -> Cause:
    """The cause that the objects tell.

    Args:
        recorded: what was recorded of a check.
        differences: what of the subject differs from the baseline, as sentences.
    """
    for rule in RULES:
        if found := rule(recorded):
            return _with_differences(replace(found, looked_at=recorded.looked_at), differences)
    if differences:
        command = "Run the same checks on the baseline's image, to see whether that is why."
        sentence = f"No object tells why, but the candidate is another than the baseline: {_several(differences)}"
        return Cause("differs-from-baseline", sentence, command, (*recorded.looked_at, *differences))
    command = "Read what was recorded of it: the evidence of the check."
    return Cause("unknown", "The cause is unknown.", command, recorded.looked_at)


def _with_differences(found: Cause, differences: Sequence[str]) -> Cause:
    if not differences or found.code not in ("accuracy-low", "training-incomplete"):
        return found
    sentence = f"{found.sentence} {_several(differences)}"
    return replace(found, sentence=sentence, looked_at=(*found.looked_at, *differences))


def _several(differences: Sequence[str]) -> str:
    more = len(differences) - MOST_DIFFERENCES
    return " ".join([*differences[:MOST_DIFFERENCES], *([f"And {more} more."] if more > 0 else [])])


def accuracy_low(recorded: Recorded) -> Cause | None:
    """The check read an accuracy, and it is too low."""
    if low := LOW.search(recorded.said):
        return cause(
            "accuracy-low", f"The accuracy is too low: {low[0]}.", "Compare the log with that of the baseline."
        )
    return None


def refused(recorded: Recorded) -> Cause | None:
    """The API server refused what the check asked of it."""
    path = PATH.search(recorded.said)
    return _refused(recorded.said, path["namespace"] if path else recorded.namespace)


def refused_since(recorded: Recorded) -> Cause | None:
    """The API server refused what a controller asked of it, and has let no pod be made since."""
    last = max((pod.created for pod in recorded.pods if pod.created is not None), default=0.0)
    for event in recorded.events:
        made_since = event.at is not None and event.at < last
        if not made_since and (found := _refused(event.message, event.namespace or recorded.namespace)):
            return found
    return None


def _refused(text: str, namespace: str) -> Cause | None:
    """A quota, a policy, a webhook or a rule of the API refused it; the reason is theirs, word for word."""
    if told := QUOTA.search(text):
        counted = f"{told['used']} is used, and {told['wanted']} was asked for"
        sentence = f"The quota {told['name']} lets {told['hard']}, {counted}."
        command = kubectl("describe", "resourcequota", names=[told["name"]], namespace=namespace)
        return cause("quota", sentence, command if namespace else "kubectl get resourcequotas --all-namespaces")
    for pattern, command in REMEDIES:
        if told := pattern.search(text):
            return cause("admission-rejected", f"It was refused: {told[0]}", command)
    return None


def admission(recorded: Recorded) -> Cause | None:
    """The kubelet refused the pod; the reason is its own, word for word."""
    for pod in recorded.pods:
        if pod.phase == "Failed" and pod.message.startswith(("Pod was rejected", "Allocate failed")):
            sentence = f"The kubelet of {pod.node or 'its node'} refused the pod: {pod.reason}: {pod.message}"
            return cause("admission-rejected", sentence, describe_node(pod.node))
    return None


def unhealthy_device(recorded: Recorded) -> Cause | None:
    """A device that a container has is unhealthy."""
    for pod in recorded.pods:
        if pod.unhealthy:
            sentence = f"The device {', '.join(pod.unhealthy)} of pod {pod.title} is unhealthy."
            return cause("unhealthy-device", sentence, describe_node(pod.node))
    return None


def killed(recorded: Recorded) -> Cause | None:
    """The kernel killed a container for its memory, or the kubelet ended the pod and says why."""
    for pod in recorded.pods:
        for container in pod.containers:
            if container.oom:
                limit = container.memory or "its node's memory"
                sentence = f"Container {container.name} of pod {pod.title} was killed as it took more than {limit}."
                return cause("out-of-memory", sentence, "Raise resources.limits.memory of the container.")
        if pod.reason == "Evicted":
            sentence = f"Pod {pod.title} was evicted: {pod.message}"
            return cause("evicted", sentence, describe_node(pod.node) if pod.node else describe_pod(pod))
        if pod.phase == "Failed" and pod.reason and pod.message:
            return cause("pod-ended", f"Pod {pod.title} was ended: {pod.reason}: {pod.message}", describe_pod(pod))
    return None


def node_not_ready(recorded: Recorded) -> Cause | None:
    """The node of a pod does not answer; one that ended by itself before is no matter of its node."""
    for pod in recorded.pods:
        node = next((node for node in recorded.nodes if node.name == pod.node), None)
        over = pod.phase == "Succeeded" or (pod.phase == "Failed" and any(_ended_badly(one) for one in pod.containers))
        if node and not node.ready and not over:
            sentence = f"Node {node.name}, on which pod {pod.title} is, is not ready: {node.why_not_ready}"
            return cause("node-not-ready", sentence, describe_node(node.name))
    return None


def _ended_badly(container: Container) -> bool:
    return container.exit_code not in (0, *KILLED)


def crash(recorded: Recorded) -> Cause | None:
    """A container ended with an error, or could not be made."""
    for pod in recorded.pods:
        for container in pod.containers:
            if container.not_made:
                sentence = f"Container {container.name} of pod {pod.title} cannot be made: {container.not_made}"
                return cause("container-not-made", sentence, describe_pod(pod))
            if container.exit_code:
                return _crashed(recorded, pod, container)
    return None


def _crashed(recorded: Recorded, pod: Found, container: Container) -> Cause:
    log = recorded.log(pod, container, ended=True)
    last = " / ".join(last_lines(log or "", LAST_LINES)) or "nothing"
    reason = f" ({container.reason})" if container.reason not in ("", "Error") else ""
    ends = f"its log ends: {last}" if log is not None else "its log was not read"
    again = " and was started again" if container.before and container.running_since is not None else ""
    sentence = f"Container {container.name} of pod {pod.title} ended with {container.exit_code}{reason}{again}; {ends}"
    return cause("crash", sentence, logs_of(pod, container.name, before=container.before))


def training(recorded: Recorded) -> Cause | None:
    """The training ended early: its longest bar has not come to its end, or there is no result after it."""
    for pod in recorded.pods:
        for container in pod.containers if pod.phase == "Succeeded" else ():
            text = recorded.log(pod, container) or ""
            steps = [(int(done), int(total)) for done, total in PROGRESS.findall(text)]
            longest = max((total for _, total in steps), default=0)
            done = next((done for done, total in reversed(steps) if total == longest), 0)
            if steps and (done < longest or not RESULT.search(text)):
                sentence = f"The training of pod {pod.title} is incomplete: {done} of {longest} steps"
                sentence += "." if done < longest else ", and no result."
                return cause("training-incomplete", sentence, logs_of(pod, container.name))
    return None


def hang(recorded: Recorded) -> Cause | None:
    """A container for which the check waited still runs, and its log, which was read, has had no line for long."""
    if recorded.said and not WAITED.search(recorded.said):
        return None
    named = [pod for pod in recorded.pods if pod.name and pod.name in recorded.said]
    for pod in named or recorded.pods:
        for container in pod.containers:
            log, since = recorded.log(pod, container), container.running_since
            if pod.phase != "Running" or since is None or log is None:
                continue
            last = last_lines(log, 1)
            silent = recorded.at - max(spoke_last(log) or 0.0, since)
            if silent >= SILENT_SECONDS and (last or named):
                sentence = (
                    f"Container {container.name} of pod {pod.title} has run for {recorded.at - since:.0f} s"
                    f" and has said nothing for {silent:.0f} s; its last line: {last[0] if last else 'nothing at all'}"
                )
                return cause("hang", sentence, logs_of(pod, container.name))
    return None


RULES: tuple[Rule, ...] = (
    accuracy_low, refused, admission, no_npu_node, npus_lacking, taint_or_selector, image, unhealthy_device, killed,
    node_not_ready, crash, refused_since, training, hang, unscheduled,
)  # fmt: skip
"""In this order: what the check was told itself, what keeps a pod from being scheduled, from starting, from going well,
and from being made, which the events say long after it was."""
