"""What a results folder says, read without believing it: format 2 of results.json, and format 1 as format 2."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import jsonschema_rs

from gate.formats import as_format_2
from gate.jsonfile import AGAIN, UnreadableError, parse, read_bounded, shown

RESULTS = "results.json"
SCHEMA = Path(__file__).parent / "schema" / "results-2.schema.json"
OF_THE_CATALOGUE = ("source", "defects", "verbs")
"""What a run repeats of the catalogue and nothing here reads."""

Outcome = Literal["not-run", "passed", "known-upstream", "skipped", "error", "failed"]
Level = Literal["must", "should"]
State = Literal["running", "finished", "interrupted", "cannot-run"]


@dataclass(frozen=True)
class RunInfo:
    """One run: `began` and `ended` are seconds since the epoch; `running` is the state of a run that was killed."""

    id: str
    state: State
    began: float
    ended: float | None
    exit_code: int | None
    command: tuple[str, ...]
    stopped: str
    troubles: tuple[str, ...] = ()
    shard: tuple[int, int] | None = None


@dataclass(frozen=True)
class Evidence:
    """A file that was kept of a check: where it is in the results folder, its SHA-256 in hex, and its bytes."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Measured:
    """A number, or a word, that a check measured."""

    name: str
    value: float | str | bool
    unit: str


@dataclass(frozen=True)
class CheckResult:
    """How one check went in one run.

    Attributes:
        id: of the behaviour.
        level: how much it counts.
        claim: what is true of a conformant cluster.
        profile: the smallest that it belongs to.
        needs: the capabilities that a target must have for it.
        nodeid: pytest's name for it.
        outcome: what became of it.
        skipped_for: `capability` when the target lacks one of `needs`; empty when it was not skipped.
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
    skipped_for: Literal["", "capability", "other"]
    tries: int
    reason: str
    remedy: str
    detail: str
    seconds: Mapping[str, float]
    evidence: tuple[Evidence, ...]
    notes: tuple[str, ...]
    measured: tuple[Measured, ...]


@dataclass(frozen=True)
class Node:
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


@dataclass(frozen=True)
class Image:
    """An image that ran, by the digest that the node reported: `role` is `plugin` or `workload`."""

    role: str
    image: str
    digest: str


@dataclass(frozen=True)
class Subject:
    """What was tested, as it was read at one moment (`at`)."""

    at: float
    kubernetes: str
    nodes: tuple[Node, ...]
    images: tuple[Image, ...]


@dataclass(frozen=True)
class Difference:
    """Something of the cluster that the run did not leave as it had found it."""

    change: Literal["added", "removed", "changed"]
    what: str
    detail: str


@dataclass(frozen=True)
class Inventory:
    """How many things there were before and after the run, and what differs between the two."""

    before: int
    after: int
    left_behind: tuple[Difference, ...]


@dataclass(frozen=True)
class PodTimes:
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


@dataclass(frozen=True)
class Series:
    """A number over time: points of seconds since the epoch and value."""

    name: str
    unit: str
    check: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Warning:  # noqa: A001 - Kubernetes' own word for it
    """A Warning event: its reason, the object it is of, and how often it was seen."""

    reason: str
    of: str
    message: str
    count: int
    check: str = ""


@dataclass(frozen=True)
class Timed:
    """A step of the run, or a wait: `states` are seconds after `began` and a few words; steps have none."""

    what: str
    began: float
    seconds: float
    outcome: str
    states: tuple[tuple[float, str], ...] = ()
    check: str = ""


@dataclass(frozen=True)
class Retry:
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
        format: in which it was written.
        run: the run.
        verdict: what the run itself said: pass, fail or inconclusive. The gate does not count on it.
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
    format: int
    run: RunInfo
    verdict: str
    settings: Mapping[str, str]
    target: Mapping[str, str]
    catalogue: str
    before: Subject | None
    after: Subject | None
    inventory: Inventory | None
    checks: tuple[CheckResult, ...]
    deselected: tuple[str, ...]
    capabilities: frozenset[str] | None
    steps: tuple[Timed, ...]
    waits: tuple[Timed, ...]
    retries: tuple[Retry, ...]
    pods: tuple[PodTimes, ...]
    series: tuple[Series, ...]
    warnings: tuple[Warning, ...]
    violations: tuple[str, ...] = ()
    devices: Mapping[str, tuple[int, frozenset[str]]] = field(default_factory=dict)


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
    return _results(content, folder, hashlib.sha256(raw).hexdigest(), written)


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


def is_inside(path: str) -> bool:
    """Whether a path of evidence is a plain one below `evidence/`: no `..`, no backslash, nothing unprintable."""
    parts = PurePosixPath(path).parts
    plain = path == "/".join(parts) and ".." not in parts and "\\" not in path and path.isprintable()
    return plain and len(parts) >= 2 and parts[0] == "evidence"


def _results(content: dict[str, Any], folder: Path, sha256: str, written: int) -> Results:
    run, subject, inventory = content["run"], content["subject"], content["inventory"]
    shard = run.get("shard")
    return Results(
        folder=folder,
        sha256=sha256,
        format=written,
        run=RunInfo(
            id=run["id"],
            state=run["state"],
            began=float(run["began"]),
            ended=None if run["ended"] is None else float(run["ended"]),
            exit_code=run["exit_code"],
            command=tuple(run["command"]),
            stopped=run["stopped"],
            troubles=tuple(run.get("troubles", ())),
            shard=(shard["index"], shard["of"]) if shard else None,
        ),
        verdict=content["verdict"]["result"],
        settings=content["settings"],
        target=content["target"],
        catalogue=content["catalogue"]["sha256"] if content["catalogue"] else "",
        before=_subject(subject["before"]),
        after=_subject(subject["after"]),
        inventory=Inventory(
            inventory["before"],
            inventory["after"],
            tuple(Difference(one["change"], one["what"], one.get("detail", "")) for one in inventory["left_behind"]),
        )
        if inventory
        else None,
        checks=tuple(_check(check) for check in content["checks"]),
        deselected=tuple(content["deselected"]),
        capabilities=frozenset(content["capabilities"]) if "capabilities" in content else None,
        steps=tuple(Timed(one["name"], one["began"], one["seconds"], one["outcome"]) for one in content["steps"]),
        waits=tuple(_wait(one) for one in content["waits"]),
        retries=tuple(Retry(**one) for one in content["retries"]),
        pods=tuple(PodTimes(**one) for one in content.get("pods", ())),
        series=tuple(
            Series(one["name"], one["unit"], one["check"], tuple((at, value) for at, value in one["points"]))
            for one in content.get("series", ())
        ),
        warnings=tuple(Warning(**one) for one in content.get("warnings", ())),
        violations=tuple(content.get("violations", ())),
        devices={node: (one["of"], frozenset(one["exercised"])) for node, one in content.get("devices", {}).items()},
    )


def _subject(content: dict[str, Any] | None) -> Subject | None:
    if content is None:
        return None
    return Subject(
        content["at"],
        content["kubernetes"],
        tuple(Node(**node) for node in content["nodes"]),
        tuple(Image(**image) for image in content["images"]),
    )


def _check(content: dict[str, Any]) -> CheckResult:
    skipped_for = content.get("skipped_for", "")
    if content["outcome"] == "skipped" and not skipped_for:
        skipped_for = "capability" if content["reason"].startswith("The target lacks ") else "other"
    known = {name: value for name, value in content.items() if name not in OF_THE_CATALOGUE}
    made: dict[str, Any] = {
        **known,
        "needs": tuple(content["needs"]),
        "skipped_for": skipped_for,
        "tries": content.get("tries", 1),
        "evidence": tuple(Evidence(**one) for one in content["evidence"]),
        "notes": tuple(content["notes"]),
        "measured": tuple(Measured(**one) for one in content["measured"]),
    }
    return CheckResult(**made)


def _wait(content: dict[str, Any]) -> Timed:
    states = tuple((after, words) for after, words in content["states"])
    return Timed(content["what"], content["began"], content["seconds"], content["outcome"], states, content["check"])


def evidence_of(results: Results) -> Iterator[Evidence]:
    """Every file of evidence that the results name, in their order."""
    for check in results.checks:
        yield from check.evidence
