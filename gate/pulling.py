"""Why an image cannot be had: no secret, a wrong one, no such image, no way to the registry."""

from __future__ import annotations

import re

from gate.advice import cause, describe_pod, kubectl
from gate.decision import Cause
from gate.recorded import Found, Recorded

UNAUTHORISED = re.compile(
    r"403 forbidden|pull access denied|authorization failed|no basic auth|authentication required"
    r"|insufficient_scope|access denied|\bunauthorized\b",
    re.IGNORECASE,
)
OR_NONE = re.compile(r"does not exist or may require", re.IGNORECASE)
NOT_FOUND = re.compile(
    r"not found|manifest unknown|\b404\b|name unknown|does not exist|is not present with pull policy of Never",
    re.IGNORECASE,
)
UNREACHABLE = re.compile(
    r"no such host|i/o timeout|connection refused|network is unreachable|deadline exceeded|no route to host|x509|"
    r"server gave HTTP response|TLS handshake",
    re.IGNORECASE,
)
SAYS_NOTHING = re.compile(r"\s*(?:Back-off pulling image|ErrImagePull|ImagePullBackOff)?[\s\"]*")
NO_SECRET = re.compile(r"Unable to retrieve some image pull secrets \((?P<names>[^)]*)\)")
REFERENCE = re.compile(r"https?://\S+|\"[^\"\s/:]*[/:][^\"\s]*\"")
"""An address or a quoted reference: its words and numbers are names, as 404 is in the tag v404."""


def image(recorded: Recorded) -> Cause | None:
    """The image of a pod cannot be had."""
    for pod in recorded.pods:
        if pod.unpulled:
            return _unpulled(recorded, pod, *pod.unpulled)
    return None


def _unpulled(recorded: Recorded, pod: Found, name: str, state: str) -> Cause:
    why = _why(recorded, pod, name, state)
    told = _without_names(why, name)
    refused, unreachable = bool(UNAUTHORISED.search(told)), bool(UNREACHABLE.search(told))
    lost = [NO_SECRET.search(text) for text in recorded.messages_of(pod, "FailedToRetrieveImagePullSecret")]
    missing = next((found["names"].split(", ") for found in lost if found), [])
    secrets = missing or list(pod.pull_secrets)
    named = f"pull {'secret' if len(secrets) == 1 else 'secrets'} {', '.join(secrets)}"
    not_there = f"the {named} {'is' if len(secrets) == 1 else 'are'} not in namespace {pod.namespace}"
    aside = f" ({not_there})" if missing else ""
    or_none = ", or there is no such image" if OR_NONE.search(told) else ""
    in_order = (
        (missing and unreachable, "pull-secret-missing",
         f"T{not_there[1:]}, and the registry of {name} cannot be reached: {why}"),
        (unreachable, "registry-unreachable", f"The registry of {name} cannot be reached: {why}"),
        (missing and refused, "pull-secret-missing", f"T{not_there[1:]}: {why}"),
        (refused and secrets, "pull-secret-wrong", f"The registry refuses the {named} for {name}{or_none}: {why}"),
        (refused, "pull-secret-missing",
         f"The registry of {name} asks for a secret, and the pod names none{or_none}: {why}"),
        (NOT_FOUND.search(told), "image-not-found", f"There is no image {name}: {why}{aside}"),
        (True, "image-not-pulled", f"The image {name} cannot be pulled: {why}{aside}"),
    )  # fmt: skip
    code, sentence = next((code, sentence) for holds, code, sentence in in_order if holds)
    if code.startswith("pull-secret") and secrets:
        return cause(code, sentence, kubectl("get", "secret", names=secrets, namespace=pod.namespace))
    return cause(code, sentence, describe_pod(pod))


def _why(recorded: Recorded, pod: Found, name: str, state: str) -> str:
    """What says why: the state of the container, which is the latest; where it says nothing, the latest event."""
    events = recorded.messages_of(pod, "Failed", "ErrImageNeverPull")
    texts = [state, *(text for text in events if name in text)]
    return next((text for text in texts if not SAYS_NOTHING.fullmatch(_without_names(text, name))), state)


def _without_names(text: str, name: str) -> str:
    return REFERENCE.sub(" ", re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", " ", text) if name else text)
