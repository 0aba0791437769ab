"""What the verdict is about: the same nodes and images before and after each run, in all runs, and the candidate's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from gate.decision import Finding
from gate.policy import Candidate
from gate.results import Node, Results, Subject

OF_A_NODE = {
    # not the UID of the Node: a machine that leaves the cluster and joins again, as one of the checks has it do, is the
    # same one; another machine of that name has another boot id
    "image": "node image",
    "os_image": "OS image",
    "kernel": "kernel",
    "containerd": "container runtime",
    "kubelet": "kubelet",
    "boot_id": "boot id",
    "npus": "number of allocatable NPUs",
}
RELEASED = ("image", "os_image", "kernel", "containerd", "kubelet")
"""What makes two nodes the same release, whichever machine they are."""
KNOWN = (*RELEASED, "boot_id")
"""What must be known of each node with NPUs: without it no difference in it would be seen."""
AGAIN = "Run the checks again on nodes that nobody changes meanwhile."
APART = "Judge runs of one node image together, and others on their own."


def subject_of_runs(runs: Sequence[Results]) -> Subject | None:
    """What all runs tested: every node and image of theirs; None when a run does not say, or there is no run."""
    told = [results.after for results in runs]
    if not told or any(subject is None for subject in told):
        return None
    subjects = [subject for subject in told if subject is not None]
    # a node that was made anew under its name, as kind's are from run to run, is the same one if its release is
    nodes = {(node.name, *_release(node)): node for subject in subjects for node in subject.nodes}
    images = {image: None for subject in subjects for image in subject.images}
    return replace(subjects[0], nodes=tuple(nodes.values()), images=tuple(images))


def findings_of_subject(runs: Sequence[Results], candidate: Candidate) -> list[Finding]:
    """Where what was tested is unknown, changed while it was, differs between runs, or is not the candidate."""
    found: list[Finding] = []
    for results in runs:
        found += _within(results)
        found += _candidate(results, candidate)
    found += _between(runs)
    return found


def _within(results: Results) -> Iterable[Finding]:
    run, before, after = results.run.id, results.before, results.after
    if before is None or after is None:
        when = "before" if before is None else "after"
        sentence = f"Run {run} does not say what its nodes were {when} it."
        yield Finding("subject-unknown", "inconclusive", sentence, AGAIN, run=run)
        return
    if not before.nodes or not any(node.npus for node in before.nodes):
        yield Finding("subject-unknown", "inconclusive", f"Run {run} saw no node with NPUs before it.", AGAIN, run=run)
    for change in changes(before, after):
        yield Finding("subject-changed", "inconclusive", f"While run {run} lasted, {change}.", AGAIN, run=run)
    for image in after.images:
        if not image.digest:
            sentence = f"Run {run} does not know the digest of the {image.role} image {image.image}."
            yield Finding("subject-unknown", "inconclusive", sentence, AGAIN, run=run)
    for role in ("plugin", "workload"):
        if not any(image.role == role for image in after.images):
            sentence = f"Run {run} does not say which {role} image it ran."
            yield Finding("subject-unknown", "inconclusive", sentence, AGAIN, run=run)
    for missing in sorted(set(_unknown(before)) | set(_unknown(after))):
        remedy = "See that the account of the run may read it, then run the checks again."
        yield Finding("subject-unknown", "inconclusive", f"Run {run} does not know {missing}.", remedy, run=run)
    for several in sorted(set(_mixed(before)) | set(_mixed(after))):
        sentence = f"Run {run} is not of one release: {several}."
        yield Finding("subjects-differ", "inconclusive", sentence, APART, run=run)


def _release(node: Node) -> tuple[str, ...]:
    return tuple(getattr(node, field) for field in RELEASED)


def _unknown(subject: Subject) -> Iterable[str]:
    """What a reading lacks, in words that follow `does not know`."""
    if not subject.kubernetes:
        yield "the version of Kubernetes"
    for node in subject.nodes:
        for field in KNOWN:
            if node.npus and not getattr(node, field):
                yield f"the {OF_A_NODE[field]} of node {node.name}"


def _mixed(subject: Subject) -> Iterable[str]:
    """What a reading has several of where a release has one, in words."""
    nodes = [node for node in subject.nodes if node.npus]
    for field in RELEASED:
        on = {value: node.name for node in reversed(nodes) if (value := getattr(node, field))}
        if len(on) > 1:
            several = ", ".join(f"{value} ({name})" for value, name in sorted(on.items()))
            yield f"the {OF_A_NODE[field]} of its nodes with NPUs is {several}"
    for name, digests in _plugins(subject).items():
        if len(digests) > 1:
            yield f"the plugin image {name} is {', '.join(sorted(digests))}"


def _plugins(subject: Subject) -> dict[str, set[str]]:
    """By name, the digests of the plugin's images."""
    found: dict[str, set[str]] = {}
    for image in subject.images:
        if image.role == "plugin":
            found.setdefault(image.image, set()).add(image.digest)
    return found


def changes(before: Subject, after: Subject) -> Iterable[str]:
    """What differs between two readings of the same cluster, in words that follow `while the run lasted,`."""
    if before.kubernetes != after.kubernetes:
        yield f"Kubernetes went from {before.kubernetes} to {after.kubernetes}"
    first, last = ({node.name: node for node in subject.nodes} for subject in (before, after))
    if len(first) < len(before.nodes) or len(last) < len(after.nodes):
        yield "two nodes had one name"
    for name in sorted(first.keys() - last.keys()):
        yield f"node {name} went away"
    for name in sorted(last.keys() - first.keys()):
        yield f"node {name} came"
    for name in sorted(first.keys() & last.keys()):
        for field, words in OF_A_NODE.items():
            old, new = getattr(first[name], field), getattr(last[name], field)
            if old != new:
                yield f"the {words} of node {name} went from {old or 'nothing'} to {new or 'nothing'}"
    earlier, later = _plugins(before), _plugins(after)
    if not earlier:
        yield "a plugin came, where none had been seen before it"
    for name in sorted(earlier.keys() | later.keys() if earlier else ()):
        if earlier.get(name) != later.get(name):
            digests = [", ".join(sorted(one.get(name, ()))) or "nothing" for one in (earlier, later)]
            yield f"the plugin image {name} went from {digests[0]} to {digests[1]}"
    known = {(image.image, image.digest) for image in before.images if image.role == "workload"}
    for image in after.images:  # the workload's is often known only once it has run
        others = {digest for name, digest in known if name == image.image}
        if image.role == "workload" and others and image.digest not in others:
            yield f"the workload image {image.image} became another"


def _candidate(results: Results, candidate: Candidate) -> Iterable[Finding]:
    had: dict[str, str] = {}
    for subject in filter(None, (results.after, results.before)):
        for words, wish, seen in _wanted(subject, candidate, ran=subject is results.after):
            if wish and seen != {wish} and words not in had:
                had[words] = ", ".join(sorted(one or "an unknown one" for one in seen)) or "none"
                yield Finding(
                    "not-the-candidate",
                    "nothing",
                    f"Run {results.run.id} is of the {words} {had[words]}; the candidate's is {wish}.",
                    "Give the results of the candidate, or correct [candidate] in the policy.",
                    run=results.run.id,
                )


def _wanted(subject: Subject, candidate: Candidate, *, ran: bool) -> Iterable[tuple[str, str, set[str]]]:
    """Of each part what it is called, what the policy wants, and what a reading has of it.

    Args:
        subject: the reading.
        candidate: of the policy.
        ran: whether the workload had run by then.
    """
    nodes = [node for node in subject.nodes if node.npus]
    yield "node image", candidate.node_image, {node.image for node in nodes}
    yield "OS image", candidate.os_image, {node.os_image for node in nodes}
    yield "kernel", candidate.kernel, {node.kernel for node in nodes}
    yield "container runtime", candidate.containerd, {node.containerd for node in nodes}
    yield "Kubernetes", candidate.kubernetes, {subject.kubernetes}
    yield "plugin image", candidate.plugin, {image.digest for image in subject.images if image.role == "plugin"}
    if ran:
        workloads = {image.digest for image in subject.images if image.role == "workload"}
        yield "workload image", candidate.workload, workloads


def _between(runs: Sequence[Results]) -> Iterable[Finding]:
    seen: dict[str, dict[str, str]] = {}
    for results in runs:
        subject = results.after
        for words, value in identity_of(subject) if subject else ():
            seen.setdefault(words, {}).setdefault(value, results.run.id)
    for words, values in seen.items():
        if len(values) > 1:
            several = ", ".join(f"{value} (run {run})" for value, run in values.items())
            yield Finding(
                "subjects-differ",
                "inconclusive",
                f"The runs are not of one release: the {words} is {several}.",
                APART,
            )


def identity_of(subject: Subject) -> Iterable[tuple[str, str]]:
    """What makes it the release that it is, and not another: name and value of each part."""
    yield "Kubernetes version", subject.kubernetes
    nodes = [node for node in subject.nodes if node.npus]
    for field in RELEASED:
        values = sorted({str(getattr(node, field)) for node in nodes})
        yield f"{OF_A_NODE[field]} of the nodes with NPUs", ", ".join(values)
    for role in ("plugin", "workload"):
        digests = sorted({image.digest for image in subject.images if image.role == role})
        yield f"{role} image", ", ".join(digests)


def nodes_not_exercised(runs: Sequence[Results]) -> tuple[Node, ...]:
    """Nodes with NPUs on which no pod with NPUs has succeeded, and no NPU has run anything, in any run."""
    exercised = {pod.node for results in runs for pod in results.pods if pod.npus and pod.phase == "Succeeded"}
    exercised |= {node for results in runs for node, (_, ran) in results.devices.items() if ran}
    nodes = {node.name: node for results in runs if results.after for node in results.after.nodes if node.npus}
    return tuple(node for name, node in sorted(nodes.items()) if name not in exercised)


def devices_not_exercised(runs: Sequence[Results]) -> dict[str, tuple[int, int]]:
    """By node, how many of its NPUs ran nothing in any run, and of how many; without nodes that ran all of theirs.

    A node has as many as it had allocatable, if the run saw fewer devices or none: those that nobody saw ran nothing.
    """
    ran: dict[str, set[str]] = {}
    has: dict[str, int] = {}
    for results in runs:
        for node in results.after.nodes if results.after and results.devices else ():
            if node.npus:
                has[node.name] = max(node.npus, has.get(node.name, 0))
        for name, (of, exercised) in results.devices.items():
            ran.setdefault(name, set()).update(exercised)
            has[name] = max(of, has.get(name, 0))
    left = {name: (of - len(ran.get(name, ())), of) for name, of in sorted(has.items())}
    return {name: (idle, of) for name, (idle, of) in left.items() if idle > 0}
