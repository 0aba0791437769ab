"""The policy: what a candidate must show to be released. TOML, and every mistake in it is named with its line."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from gate.jsonfile import shown
from gate.policyrules import (
    ACCURACY,
    BASELINE,
    CANDIDATE,
    METRIC,
    RATE,
    REQUIRED,
    TIMING,
    TOP,
    WAIVER,
    PolicyError,
    table,
)
from gate.tomllines import line_of, lines_of

SHIPPED = Path(__file__).parent / "policies"
"""Policies that come with the gate, by name: `release` is the strict default."""
MOST_BYTES = 2**20
PROFILES: Mapping[str, frozenset[str]] = {
    "documented": frozenset({"documented"}),
    "conformance": frozenset({"documented", "conformance"}),
    "slow": frozenset({"slow"}),
    "release": frozenset({"documented", "conformance", "slow"}),
}
"""What a policy can ask for: by name, the profiles of the checks that it holds; as in a run's `--profile`."""


@dataclass(frozen=True)
class Waiver:
    """Leave to release although a check does not pass.

    Attributes:
        check: its id.
        outcomes: the statuses that are excused.
        reason: why.
        owner: who answers for it.
        expires: the last day on which it counts.
    """

    check: str
    outcomes: frozenset[str]
    reason: str
    owner: str
    expires: date


@dataclass(frozen=True)
class Candidate:
    """What the verdict must be about; an empty value matches anything.

    Attributes:
        node_image: of every node with NPUs, as the results have it.
        os_image: as the nodes report it.
        kernel: as the nodes report it.
        containerd: as the nodes report it.
        kubernetes: version of the API server.
        plugin: digest of the device plugin's image.
        workload: digest of the workload's image.
        catalogue: SHA-256 of the catalogue file, in hex.
    """

    node_image: str = ""
    os_image: str = ""
    kernel: str = ""
    containerd: str = ""
    kubernetes: str = ""
    plugin: str = ""
    workload: str = ""
    catalogue: str = ""


@dataclass(frozen=True)
class MetricLimits:
    """Of one accuracy; all are fractions from 0 to 1.

    Attributes:
        at_least: the share that a good candidate has; None to compare with the baseline alone.
        allowed_drop: below the baseline, that is no failure.
        visible_drop: the verdict is inconclusive when a true drop of this size could have been missed.
    """

    at_least: float | None
    allowed_drop: float
    visible_drop: float


@dataclass(frozen=True)
class Accuracy:
    """How accuracies are compared.

    Attributes:
        check: the id of the check that measures them.
        images: that one evaluation ranks; a value that is not a whole number of them is not believed.
        images_are: `fixed` when images and inference are the same each time, so that counts are equal; else `sample`.
        false_alarm: the chance, at most, that all comparisons together fail a good candidate.
        power: the chance with which `visible_drop` must be found.
        confidence: of the intervals that are shown.
        metrics: by name.
    """

    check: str
    images: int
    images_are: str
    false_alarm: float
    power: float
    confidence: float
    metrics: Mapping[str, MetricLimits]


@dataclass(frozen=True)
class Rate:
    """How the throughput is compared over repeats.

    Attributes:
        check: the id of the check that measures it.
        measure: its name there.
        unit: in which it is measured; a value in another is not believed.
        at_least: the lowest median, in the measure's unit; None to compare with the baseline alone.
        lowest_ratio: of candidate to baseline; None not to compare with it.
        false_alarm: the chance, at most, that the comparisons together fail a good candidate.
    """

    check: str
    measure: str
    unit: str
    at_least: float | None
    lowest_ratio: float | None
    false_alarm: float


@dataclass(frozen=True)
class Timing:
    """How times of NPU pods are compared with the baseline: `highest_ratio` of candidate to baseline."""

    highest_ratio: float
    false_alarm: float


@dataclass(frozen=True)
class Baseline:
    """What the accepted release is for.

    Attributes:
        required: whether there is no verdict without one.
        blocks: differences that make the verdict inconclusive; others are warnings.
        slow_wait: how many times as long a wait is a difference.
    """

    required: bool
    blocks: frozenset[str]
    slow_wait: float


@dataclass(frozen=True)
class Policy:
    """A policy file.

    Attributes:
        path: where it is.
        sha256: of its bytes, in hex.
        profile: every must-check of it is required.
        checks: further checks that are required, whatever their level.
        repeats: runs in which each required check must have passed.
        coverage: `nodes` when something must have run on every node with NPUs, `devices` on every NPU; else `none`.
        skips: capabilities that a target may lack: a check that needs one of them may be skipped or
            left out there.
        not_applicable: whether a check may have found that the cluster has nothing of what it is about.
        still_going: whether what a run deleted may still be there as it ends, being deleted.
        flaky: how many checks may have passed only at a later try.
        candidate: what the verdict must be about.
        accuracy: None not to compare.
        throughput: None not to compare.
        timing: None not to compare.
        baseline: what the accepted release is for.
        waivers: leave to release although a check does not pass.
    """

    path: str
    sha256: str
    profile: str
    checks: tuple[str, ...]
    repeats: int
    coverage: str
    skips: frozenset[str]
    not_applicable: bool
    still_going: bool
    flaky: int
    candidate: Candidate
    accuracy: Accuracy | None
    throughput: Rate | None
    timing: Timing | None
    baseline: Baseline
    waivers: tuple[Waiver, ...]


def policy_file(name: str) -> Path:
    """The file of a policy: of one that ships when `name` is one of theirs, else the file of that name."""
    return {file.stem: file for file in SHIPPED.glob("*.toml")}.get(name, Path(name))


def read_policy(file: Path) -> Policy:
    """The policy in `file`.

    Raises:
        PolicyError: it cannot be read, is not TOML, or says something that no policy can say; with line and remedy.
    """
    try:
        raw = file.read_bytes() if file.stat().st_size <= MOST_BYTES else b""
        text = raw.decode("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PolicyError(
            f"The policy {shown(file)} cannot be read ({shown(reason)}).", "Name a policy file."
        ) from None
    if not raw:
        raise PolicyError(f"The policy {shown(file)} is empty, or larger than a policy.", "Name a policy file.")
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PolicyError(f"{shown(file)} is not TOML: {shown(error)}.", "Correct it there.") from None
    return _policy(content, lines_of(text), file, hashlib.sha256(raw).hexdigest())


def _policy(content: dict[str, Any], lines: Mapping[Any, int], file: Path, sha256: str) -> Policy:
    def read(place: tuple[str | int, ...], rules: Any, value: Any) -> dict[str, Any]:
        return table(value, rules, place, lines, file)

    top = read((), TOP, content)
    accuracy = top["accuracy"]
    if accuracy is not None:
        accuracy = read(("accuracy",), ACCURACY, accuracy)
        metrics = {name: accuracy.pop(name) for name in ("top_1", "top_5")}
        accuracy["metrics"] = {
            name: MetricLimits(**read(("accuracy", name), METRIC, limits))
            for name, limits in metrics.items()
            if limits is not None
        }
        if not accuracy["metrics"]:
            where = f"{shown(file)}, line {line_of(('accuracy',), dict(lines))}"
            raise PolicyError(f"{where}: [accuracy] names no accuracy.", "Add [accuracy.top_1], or [accuracy.top_5].")
    waivers = [Waiver(**read(("waiver", number), WAIVER, waiver)) for number, waiver in enumerate(top["waiver"])]
    baseline = read(("baseline",), BASELINE, top["baseline"])
    throughput, timing = top["throughput"], top["timing"]
    if throughput is not None:
        throughput = Rate(**read(("throughput",), RATE, throughput))
        if throughput.at_least is None and throughput.lowest_ratio is None:
            where = f"{shown(file)}, line {line_of(('throughput',), dict(lines))}"
            raise PolicyError(f"{where}: [throughput] compares nothing.", "Add at_least, or lowest_ratio.")
    return Policy(
        path=str(file),
        sha256=sha256,
        profile=top["profile"],
        checks=tuple(read(("required",), REQUIRED, top["required"])["checks"]),
        repeats=top["repeats"],
        coverage=top["coverage"],
        skips=frozenset(top["skips"]),
        not_applicable=top["not_applicable"],
        still_going=top["still_going"],
        flaky=top["flaky"],
        candidate=Candidate(**read(("candidate",), CANDIDATE, top["candidate"])),
        accuracy=Accuracy(**accuracy) if accuracy is not None else None,
        throughput=throughput,
        timing=Timing(**read(("timing",), TIMING, timing)) if timing is not None else None,
        baseline=Baseline(**baseline),
        waivers=tuple(waivers),
    )
