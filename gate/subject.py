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
AGAIN = "Run the checks again on nodes that nobody changes meanwhile."


def subject_of_runs(runs: Sequence[Results]) -> Subject | None:
    """What all runs tested: every node and image of theirs; None when a run does not say, or there is no run."""
    told = [results.after for results in runs]
    if not told or any(subject is None for subject in told):
        return None
    subjects = [subject for subject in told if subject is not None]
    nodes = {(node.name, node.uid): node for subject in subjects for node in subject.nodes}
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
    images = {(image.role, image.image, image.digest) for image in before.images}
    for image in after.images:  # the workload's image is often known only once it has run
        others = {digest for role, name, digest in images if (role, name) == (image.role, image.image)}
        if others and image.digest not in others:
            yield f"the {image.role} image {image.image} became another"


def _candidate(results: Results, candidate: Candidate) -> Iterable[Finding]:
    subject = results.after or results.before
    if subject is None:
        return
    nodes = [node for node in subject.nodes if node.npus]
    wanted: list[tuple[str, str, set[str]]] = [
        ("node image", candidate.node_image, {node.image for node in nodes}),
        ("OS image", candidate.os_image, {node.os_image for node in nodes}),
        ("kernel", candidate.kernel, {node.kernel for node in nodes}),
        ("container runtime", candidate.containerd, {node.containerd for node in nodes}),
        ("Kubernetes", candidate.kubernetes, {subject.kubernetes}),
    ]
    for role, digest in (("plugin", candidate.plugin), ("workload", candidate.workload)):
        wanted.append((f"{role} image", digest, {image.digest for image in subject.images if image.role == role}))
    for words, wish, seen in wanted:
        if wish and seen != {wish}:
            had = ", ".join(sorted(one or "an unknown one" for one in seen)) or "none"
            yield Finding(
                "not-the-candidate",
                "nothing",
                f"Run {results.run.id} is of the {words} {had}; the candidate's is {wish}.",
                "Give the results of the candidate, or correct [candidate] in the policy.",
                run=results.run.id,
            )


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
                "Judge runs of one node image together, and others on their own.",
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
    """By node, how many of its NPUs ran nothing in any run, and of how many; without nodes that ran all of theirs."""
    ran: dict[str, set[str]] = {}
    has: dict[str, int] = {}
    for results in runs:
        for node, (of, exercised) in results.devices.items():
            ran.setdefault(node, set()).update(exercised)
            has[node] = max(of, has.get(node, 0))
    return {node: (of - len(ran[node]), of) for node, of in sorted(has.items()) if len(ran[node]) < of}
