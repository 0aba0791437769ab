"""A cause with its next command, made of names that anyone may have made up."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from gate.decision import Cause
from gate.jsonfile import shown
from gate.recorded import Found

LONGEST_NAME = 253
"""Letters of a name: the most that the API server takes (RFC 1123)."""


def cause(code: str, sentence: str, command: str) -> Cause:
    """A cause, but for what was looked at; its command is not cut: that would be another command."""
    return Cause(code, shown(sentence, 600), command, ())


def kubectl(*words: str, names: Sequence[str] = (), namespace: str = "") -> str:
    """A command to type: `words`, then names of objects; a name that looks like an option is still a name.

    Without a name it is of all of them.
    """
    called = [shown(name, LONGEST_NAME) for name in names if name]
    options = ["--namespace", shown(namespace, LONGEST_NAME)] if namespace else []
    if any(name.startswith("-") for name in called):
        return shlex.join(["kubectl", *words, *options, "--", *called])
    return shlex.join(["kubectl", *words, *called, *options])


def describe_node(name: str) -> str:
    """The command for a node; for all of them when none is known."""
    return kubectl("describe", "node", names=[name])


def describe_pod(pod: Found) -> str:
    """The command for a pod."""
    return kubectl("describe", "pod", names=[pod.name], namespace=pod.namespace)


def logs_of(pod: Found, container: str, *, before: bool = False) -> str:
    """The command for a container's log; for that of its run before this one when `before`."""
    options = ["--container", shown(container, LONGEST_NAME), *(["--previous"] if before else [])]
    return kubectl("logs", *options, names=[pod.name], namespace=pod.namespace)
