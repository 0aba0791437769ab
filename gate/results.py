"""What a results folder says, read without believing it: format 2 of results.json, and format 1 as format 2."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import jsonschema_rs
import msgspec
from msgspec import Struct

from gate.formats import as_format_2
from gate.jsonfile import AGAIN, UnreadableError, parse, read_bounded, shown

RESULTS = "results.json"
SCHEMA = Path(__file__).parent / "schema" / "results-2.schema.json"

Outcome = Literal["not-run", "passed", "known-upstream", "skipped", "error", "failed"]
Level = Literal["must", "should"]
SEVERITY: tuple[Outcome, ...] = ("passed", "known-upstream", "skipped", "not-run", "error", "failed")
"""The gravest last."""
PASSING: frozenset[Outcome] = frozenset({"passed", "known-upstream"})
TESTED: frozenset[Outcome] = PASSING | {"failed"}
"""Of a check that came to an answer."""
State = Literal["running", "finished", "interrupted", "cannot-run"]


class Shard(Struct, frozen=True, gc=False):
    """Part `index`, counted from 1, `of` so many of a run."""

    index: int
    of: int


class RunInfo(Struct, frozen=True, gc=False):
    """One run: `began` and `ended` are seconds since the epoch; `running` is the state of a run that was killed."""

    id: str
    state: State
    began: float
    ended: float | None
    exit_code: int | None
    command: tuple[str, ...]
    stopped: str
    troubles: tuple[str, ...] = ()
    shard: Shard | None = None


class Evidence(Struct, frozen=True, gc=False):
    """A file that was kept of a check: where it is in the results folder, its SHA-256 in hex, and its bytes."""

    file: str
    sha256: str
    bytes: int


class Measured(Struct, frozen=True, gc=False):
    """A number, or a word, that a check measured."""

    name: str
    value: int | float | str | bool
    unit: str


class CheckResult(Struct, frozen=True, gc=False):
    """How one check went in one run.

    Attributes:
        id: of the behaviour.
        level: how much it counts.
        claim: what is true of a conformant cluster.
        profile: the smallest that it belongs to.
        needs: the capabilities that a target must have for it.
        nodeid: pytest's name for it.
        outcome: what became of it.
        skipped_for: `capability` when the target lacks one of `needs`, `not-applicable` when it has nothing of what the
            check is about; empty when it was not skipped.
        tries: how often it was run until this outcome.
        reason: why it did not pass, on one line.
        remedy: what to do next.
        detail: all that is known of the reason.
        seconds: by phase: setup, call, teardown.
        evidence: what was kept.
        notes: what went wrong beside the outcome.
        measured: what it measured.
    """

    id: str
    level: Level
    claim: str
    profile: str
    needs: tuple[str, ...]
    nodeid: str
    outcome: Outcome
    reason: str
    remedy: str
    detail: str
    seconds: Mapping[str, float]
    evidence: tuple[Evidence, ...]
    notes: tuple[str, ...]
    measured: tuple[Measured, ...]
    skipped_for: Literal["", "capability", "not-applicable", "other"] = ""
    tries: int = 1


class Node(Struct, frozen=True, gc=False):
    """A node as its status described it; `image` is the node image, by digest where the target knows one."""

    name: str
    uid: str
    image: str
    os_image: str
    kernel: str
    containerd: str
    boot_id: str
    kubelet: str
    npus: int


class Image(Struct, frozen=True, gc=False):
    """An image that ran, by the digest that the node reported: `role` is `plugin` or `workload`."""

    role: str
    image: str
    digest: str


class Subject(Struct, frozen=True, gc=False):
    """What was tested, as it was read at one moment (`at`)."""

    at: float
    kubernetes: str
    nodes: tuple[Node, ...]
    images: tuple[Image, ...]


class Difference(Struct, frozen=True, gc=False):
    """Something of the cluster that the run did not leave as it had found it."""

    change: Literal["added", "removed", "changed"]
    what: str
    detail: str = ""
    going: bool = False


class Inventory(Struct, frozen=True, gc=False):
    """How many things there were before and after the run, and what differs between the two."""

    before: int
    after: int
    left_behind: tuple[Difference, ...]


class PodTimes(Struct, frozen=True, gc=False):
    """One pod from its creation to its end; a time that was not seen is None."""

    namespace: str
    name: str
    uid: str
    node: str
    phase: str
    npus: int
    check: str
    created: float | None = None
    scheduled: float | None = None
    pulled: float | None = None
    started: float | None = None
    finished: float | None = None


class Series(Struct, frozen=True, gc=False):
    """A number over time: points of seconds since the epoch and value."""

    name: str
    unit: str
    check: str
    points: tuple[tuple[float, float], ...]


class Warning(Struct, frozen=True, gc=False):  # noqa: A001 - Kubernetes' own word for it
    """A Warning event: its reason, the object it is of, and how often it was seen."""

    reason: str
    of: str
    message: str
    count: int
    check: str = ""


class Timed(Struct, frozen=True, gc=False):
    """A step of the run, or a wait: `states` are seconds after `began` and a few words; steps have none."""

    what: str
    began: float
    seconds: float
    outcome: str
    states: tuple[tuple[float, str], ...] = ()
    check: str = ""


class Retry(Struct, frozen=True, gc=False):
    """A request that was sent again, and why."""

    what: str
    at: float
    reason: str
    pause: float
    check: str


@dataclass(frozen=True)
class Results:
    """One results folder.

    Attributes:
        folder: where it is.
        sha256: of its results.json, in hex.
        bytes: of its results.json.
        format: in which it was written.
        run: the run.
        verdict: what the run itself said: pass, fail or inconclusive. The gate does not count on it.
        reasons: why, in sentences.
        settings: what the run was told.
        target: what it ran against.
        catalogue: SHA-256 of the catalogue that the run chose from; empty when it did not say.
        before: the subject before the first check; None when it was not read.
        after: the subject after the last check; None when it was not read.
        inventory: what was left behind; None when nobody looked.
        checks: every check that was selected, in the order of the file; an id may be there twice.
        deselected: ids of checks of the profile that were left out.
        capabilities: what the target allows; None when the run did not say.
        steps: what the run did.
        waits: what it waited for.
        retries: what it sent again.
        pods: the pods that it ran.
        series: numbers over time.
        warnings: Warning events.
        violations: where a device was in two containers at once, or lost.
        devices: by node, how many NPUs it had, and which of them ran anything.
    """

    folder: Path
    sha256: str
    bytes: int
    format: int
    run: RunInfo
    verdict: str
    reasons: tuple[str, ...]
    settings: Mapping[str, str]
    target: Mapping[str, str]
    catalogue: str
    before: Subject | None
    after: Subject | None
    inventory: Inventory | None
    checks: tuple[CheckResult, ...]
    deselected: tuple[str, ...]
    steps: tuple[Timed, ...]
    waits: tuple[Timed, ...]
    retries: tuple[Retry, ...]
    pods: tuple[PodTimes, ...] = ()
    series: tuple[Series, ...] = ()
    warnings: tuple[Warning, ...] = ()
    capabilities: frozenset[str] | None = None
    violations: tuple[str, ...] = ()
    devices: Mapping[str, tuple[int, frozenset[str]]] = field(default_factory=dict)


TYPES: dict[str, Any] = {
    "run": RunInfo,
    "inventory": Inventory | None,
    "deselected": tuple[str, ...],
    "waits": tuple[Timed, ...],
    "retries": tuple[Retry, ...],
    "pods": tuple[PodTimes, ...],
    "series": tuple[Series, ...],
    "warnings": tuple[Warning, ...],
    "capabilities": frozenset[str],
    "violations": tuple[str, ...],
}
"""Parts of the file that are attributes of Results, as they stand there."""


def read_results(folder: Path) -> Results:
    """The results in `folder`.

    Raises:
        UnreadableError: there are none, or they are damaged, of an unknown format, or not as the schema has them.
    """
    file = folder / RESULTS
    raw = read_bounded(file)
    content = parse(raw, file)
    content, written = as_format_2(content, file)
    require_schema(content, file)
    if written > 1:
        _require_hashes(content, file)
    try:
        return _results(content, folder, raw, written)
    except msgspec.ValidationError as error:  # a number that the schema allows and no machine holds
        raise UnreadableError(f"{shown(file)} holds what no results hold: {shown(str(error))}.", AGAIN) from None


@cache
def _validator() -> Any:
    return jsonschema_rs.validator_for(json.loads(SCHEMA.read_text(encoding="utf-8")))


def require_schema(content: dict[str, Any], file: Path) -> None:
    """Refuse what is not as the schema has it, and a path of evidence that leads out of the folder.

    Raises:
        UnreadableError: the first such place.
    """
    try:
        _validator().validate(content)
    except jsonschema_rs.ValidationError as error:
        where = "/".join(str(step) for step in error.instance_path) or "its top"
        problem = shown(str(error).partition("\n")[0])
        raise UnreadableError(
            f"{shown(file)} is not as its format has it at {shown(where)}: {problem}.", AGAIN
        ) from None
    except ValueError as error:  # seen of whole numbers that have more than 64 bits
        raise UnreadableError(f"{shown(file)} holds what no results hold: {shown(str(error))}.", AGAIN) from None
    for check in content["checks"]:
        for kept in check["evidence"]:
            if not is_inside(kept["file"]):
                raise UnreadableError(
                    f"{shown(file)} names the evidence {shown(repr(kept['file']))}, which is not in its folder.", AGAIN
                )


def _require_hashes(content: dict[str, Any], file: Path) -> None:
    """Refuse evidence that is named without its hash, as format 1 did: it could be anything."""
    for check in content["checks"]:
        for kept in check["evidence"]:
            if not kept["sha256"]:
                raise UnreadableError(f"{shown(file)} names {shown(kept['file'])} without its SHA-256.", AGAIN)


def is_inside(path: str) -> bool:
    """Whether a path of evidence is a plain one below `evidence/`: no `..`, no backslash, nothing unprintable."""
    parts = PurePosixPath(path).parts
    plain = path == "/".join(parts) and ".." not in parts and "\\" not in path and path.isprintable()
    return plain and len(parts) >= 2 and parts[0] == "evidence"


def _results(content: dict[str, Any], folder: Path, raw: bytes, written: int) -> Results:
    known = {name: _as(type_, content[name]) for name, type_ in TYPES.items() if name in content}
    subject, devices = content["subject"], content.get("devices", {})
    return Results(
        folder=folder,
        sha256=hashlib.sha256(raw).hexdigest(),
        bytes=len(raw),
        format=written,
        verdict=content["verdict"]["result"],
        reasons=tuple(content["verdict"]["reasons"]),
        settings=content["settings"],
        target=content["target"],
        catalogue=content["catalogue"]["sha256"] if content["catalogue"] else "",
        before=_as(Subject | None, subject["before"]),
        after=_as(Subject | None, subject["after"]),
        checks=tuple(map(_with_its_skip, _as(tuple[CheckResult, ...], content["checks"]))),
        steps=tuple(Timed(one["name"], one["began"], one["seconds"], one["outcome"]) for one in content["steps"]),
        devices={node: (one["of"], frozenset(one["exercised"])) for node, one in devices.items()},
        **known,
    )


def _as(type_: Any, value: Any) -> Any:
    """What the schema has found to be well-formed, as objects: whole numbers as floats where those are wanted."""
    return msgspec.convert(value, type_)


def _with_its_skip(check: CheckResult) -> CheckResult:
    """Older runs tell of a skip only in words."""
    if check.outcome != "skipped" or check.skipped_for:
        return check
    lacks = check.reason.startswith("The target lacks ")
    return msgspec.structs.replace(check, skipped_for="capability" if lacks else "other")


def evidence_of(results: Results) -> list[Evidence]:
    """Every file of evidence that the results name, in their order."""
    return [kept for check in results.checks for kept in check.evidence]
