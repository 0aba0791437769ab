"""The statement: an in-toto Statement v1 that binds the verdict to the node image, the policy and every file.

Its predicate is test-result v0.1. What that has no field for is in one more, `npuConformance`: the verdict, which has
three words where the predicate's result has none for `inconclusive`, and every file that the verdict stands on by hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fixtures.errors import HarnessError
from gate.decision import Decision, Verdict
from gate.envelope import RefusedError
from gate.jsonfile import shown
from gate.results import Subject

STATEMENT = "statement.dsse.json"
TYPE = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
EXTENSION = "npuConformance"
FORMAT = 1
"""Of the extension; raised when a reader of it has to change."""
POLICY, CATALOGUE = "policy.toml", "catalogue.json"
"""Names of the two files of the configuration, in the statement and in a bundle."""
SHA256 = re.compile(r"[0-9a-f]{64}")
DIGEST = re.compile(r"sha256:([0-9a-f]{64})\b")


@dataclass(frozen=True)
class Kept:
    """A file that the verdict stands on: its path in a bundle, its SHA-256 in hex, its bytes."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Statement:
    """What a signed statement says.

    Attributes:
        images: node images by SHA-256 in hex, and their names.
        verdict: pass, fail or inconclusive.
        exit_code: of the gate.
        reasons: why it is not pass.
        passed: ids of checks that passed.
        warned: ids of checks that did not, and do not keep it from being released.
        failed: ids of checks that stand against it.
        outside: ids of checks of the catalogue that the policy's profile does not hold and nobody ran.
        profile: which the policy asks for.
        policy: SHA-256 of the policy, in hex.
        catalogue: SHA-256 of the check catalogue, in hex.
        made: when the gate was asked, RFC 3339.
        files: all that the verdict stands on, by path.
    """

    images: dict[str, str]
    verdict: Verdict
    exit_code: int
    reasons: tuple[str, ...]
    passed: tuple[str, ...]
    warned: tuple[str, ...]
    failed: tuple[str, ...]
    outside: tuple[str, ...]
    profile: str
    policy: str
    catalogue: str
    made: str
    files: dict[str, Kept]


def statement_of(decision: Decision, files: Sequence[Kept]) -> dict[str, Any]:
    """The statement on `decision`, which stands on `files`.

    Raises:
        HarnessError: the decision has no subject that a statement could name: no node image by digest, no catalogue.
    """
    if decision.subject is None:
        raise HarnessError(
            "There is nothing to sign: the results do not agree on what was tested.", "Run the checks again."
        )
    images = images_of(decision.subject)
    if not decision.catalogue.sha256:
        raise HarnessError(
            "There is nothing to sign: no catalogue says which checks there are.",
            "Give what `npu-e2e catalogue --format json` printed with `--catalogue`.",
        )
    passed = [row.id for row in decision.checks if row.status == "passed"]
    outside = [row.id for row in decision.checks if row.status == "outside"]
    others = [row for row in decision.checks if row.status not in ("passed", "outside")]
    warned = [row.id for row in others if not row.blocks]
    good = "WARNED" if warned or any(finding.effect == "warning" for finding in decision.findings) else "PASSED"
    return {
        "_type": TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}} for digest, name in images.items()],
        "predicateType": PREDICATE,
        "predicate": {
            "result": good if decision.verdict == "pass" else "FAILED",
            "configuration": [
                {"name": POLICY, "digest": {"sha256": decision.policy.sha256}},
                {"name": CATALOGUE, "digest": {"sha256": decision.catalogue.sha256}},
            ],
            "passedTests": passed,
            "warnedTests": warned,
            "failedTests": [row.id for row in others if row.blocks],
            EXTENSION: {
                "format": FORMAT,
                "verdict": decision.verdict,
                "exitCode": decision.exit_code,
                "reasons": list(decision.reasons),
                "outsideTests": outside,
                "profile": decision.profile,
                "made": datetime.fromtimestamp(decision.made, UTC).isoformat(timespec="seconds"),
                "runs": [results.run.id for results in decision.results],
                "tested": _tested(decision.subject),
                "files": [
                    {"name": file.name, "digest": {"sha256": file.sha256}, "bytes": file.bytes}
                    for file in sorted(files, key=lambda file: file.name)
                ],
            },
        },
    }


def images_of(subject: Subject) -> dict[str, str]:
    """The node images with NPUs by SHA-256 in hex, and their names.

    Raises:
        HarnessError: a node's image has no digest, so that nobody could tell it from another.
    """
    images: dict[str, str] = {}
    for node in subject.nodes:
        if not node.npus:
            continue
        digest = DIGEST.search(node.image)
        if digest is None:
            raise HarnessError(
                f"There is nothing to sign: the image of node {shown(node.name)} has no digest ({shown(node.image)}).",
                "Name the node image by digest, so that it can be told from another.",
            )
        images[digest[1]] = node.image
    if not images:
        raise HarnessError("There is nothing to sign: no node had an NPU.", "Run the checks again.")
    return images


def _tested(subject: Subject) -> dict[str, Any]:
    return {
        "kubernetes": subject.kubernetes,
        "nodes": [
            {
                "name": node.name,
                "osImage": node.os_image,
                "kernel": node.kernel,
                "containerd": node.containerd,
                "bootID": node.boot_id,
            }
            for node in subject.nodes
        ],
        "images": [{"role": image.role, "name": image.image, "digest": image.digest} for image in subject.images],
    }


def statement_in(content: Any) -> Statement:
    """The statement in `content`, whose signature was checked, if it is one and does not contradict itself.

    Raises:
        RefusedError: it is another kind of statement, or says two things that cannot both be.
    """
    try:
        read = _read(content)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise RefusedError(
            f"The statement is not one of the gate's: {shown(error, 80)}.", "Name the gate's statement."
        ) from error
    _require_sense(read, content["predicate"]["result"])
    return read


def _read(content: Any) -> Statement:
    if content["_type"] != TYPE:
        raise ValueError(f"its type is {content['_type']!r}")
    if content["predicateType"] != PREDICATE:
        raise ValueError(f"its predicate is {content['predicateType']!r}")
    predicate = content["predicate"]
    own = predicate[EXTENSION]
    if own["format"] != FORMAT:
        raise ValueError(f"its format is {own['format']!r}; this version reads {FORMAT}")
    configuration = {_text(one["name"]): _sha256(one) for one in predicate["configuration"]}
    files = [Kept(_text(one["name"]), _sha256(one), _count(one["bytes"])) for one in own["files"]]
    if len({file.name for file in files}) != len(files):
        raise ValueError("it names a file twice")
    if own["verdict"] not in ("pass", "fail", "inconclusive"):
        raise ValueError(f"its verdict is {own['verdict']!r}")
    return Statement(
        images={_sha256(one): _text(one["name"]) for one in content["subject"]},
        verdict=own["verdict"],
        exit_code=_count(own["exitCode"]),
        reasons=_texts(own["reasons"]),
        passed=_texts(predicate["passedTests"]),
        warned=_texts(predicate["warnedTests"]),
        failed=_texts(predicate["failedTests"]),
        outside=_texts(own["outsideTests"]),
        profile=_text(own["profile"]),
        policy=configuration[POLICY],
        catalogue=configuration[CATALOGUE],
        made=_text(own["made"]),
        files={file.name: file for file in files},
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} is no whole number")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"{values!r} is no list")
    return tuple(_text(value) for value in values)


def _sha256(descriptor: Any) -> str:
    digest = descriptor["digest"]["sha256"]
    if not isinstance(digest, str) or not SHA256.fullmatch(digest):
        raise ValueError(f"{digest!r} is no SHA-256")
    return digest


def _require_sense(statement: Statement, result: str) -> None:
    passes = result in ("PASSED", "WARNED")
    every = [*statement.passed, *statement.warned, *statement.failed, *statement.outside]
    nonsense = (
        (not statement.images, "names no node image"),
        (len(set(every)) != len(every), "names a check twice"),
        (passes != (statement.verdict == "pass"), f"says {shown(result, 20)} and {statement.verdict}"),
        (passes != (statement.exit_code == 0), f"says {shown(result, 20)} and exit code {statement.exit_code}"),
        (passes and bool(statement.failed), "says that it passed, and that checks failed"),
        (passes and not statement.passed, "says that it passed, and that no check did"),
    )
    for wrong, words in nonsense:
        if wrong:
            raise RefusedError(f"The statement contradicts itself: it {words}.", "Run the gate again.")


def require_about(
    statement: Statement, *, image: str, policy: str, catalogue: str, checks: Iterable[tuple[str, bool]]
) -> None:
    """Require that it is about this node image, was made by this policy, and leaves out no check of this catalogue.

    Args:
        statement: read, its signature checked.
        image: a node image by digest; all that is before `sha256:` is passed over.
        policy: SHA-256 of the policy that is to be met, in hex.
        catalogue: SHA-256 of the catalogue, in hex.
        checks: every check of that catalogue, and whether the statement's profile holds it.

    Raises:
        RefusedError: it is not.
    """
    digest = DIGEST.search(image)
    if digest is None:
        raise RefusedError(f"{shown(image)} is no digest.", "Name the node image as sha256:…, 64 hex digits.")
    if set(statement.images) != {digest[1]}:
        about = ", ".join(f"sha256:{one}" for one in statement.images)
        if digest[1] in statement.images:
            raise RefusedError(
                f"The statement is about {len(statement.images)} node images, {about}, and not about that one alone.",
                "Have this image judged by the gate on nodes that all have it.",
            )
        raise RefusedError(
            f"The statement is about {about}, and not about sha256:{digest[1]}.", "Have this image judged by the gate."
        )
    if statement.policy != policy:
        raise RefusedError(
            f"The statement was made by another policy (sha256:{statement.policy[:12]}…).",
            f"Name that policy with --policy, or have the image judged by this one (sha256:{policy[:12]}…).",
        )
    if statement.catalogue != catalogue:
        raise RefusedError(
            f"The statement was made with another catalogue (sha256:{statement.catalogue[:12]}…).",
            f"Name that catalogue, or have the image judged with this one (sha256:{catalogue[:12]}…).",
        )
    told = {*statement.passed, *statement.warned, *statement.failed}
    for check, in_profile in checks:
        if check not in told and (in_profile or check not in statement.outside):
            raise RefusedError(f"The statement says nothing of the check {check}.", "Run the gate again.")
