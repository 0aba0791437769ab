"""`npu-e2e verify`: prints what was verified, or why it is refused."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fixtures.errors import ExitCode
from gate.envelope import RefusedError, public_key
from gate.jsonfile import shown
from gate.policy import policy_file, read_policy
from gate.policyrules import PolicyError
from gate.printing import print_lines
from gate.statement import Statement
from gate.verify import Asked, is_bundle, verified_bundle, verified_statement

ENDS = {"pass": ExitCode.OK, "fail": ExitCode.FAILED, "inconclusive": ExitCode.INCONCLUSIVE}


def run(arguments: argparse.Namespace) -> int:
    """Verify, print, and return OK only for what holds and says pass.

    Raises:
        HarnessError: something that is named cannot be read.
    """
    file = Path(arguments.file)
    catalogue = Path(arguments.catalogue) if arguments.catalogue else None
    try:
        policy = read_policy(policy_file(arguments.policy))
        pinned = policy.candidate.catalogue.removeprefix("sha256:")
        asked = Asked(public_key(Path(arguments.key)), arguments.image, policy.sha256, catalogue, pinned)
        bundle = is_bundle(file)
        if bundle and arguments.results:
            print(f"{shown(file)} is a bundle, which holds the results.\nLeave out --results.", file=sys.stderr)
            return ExitCode.USAGE
        if bundle:
            statement = verified_bundle(file, asked)
        else:
            statement = verified_statement(file, asked, [Path(folder) for folder in arguments.results])
    except RefusedError as error:
        print(f"REFUSED: {error.cause}\n{error.remedy}", file=sys.stderr)
        return ExitCode.FAILED
    except PolicyError as error:
        print(f"{error.cause}\n{error.remedy}", file=sys.stderr)
        return ExitCode.USAGE
    looked_at = f"{len(statement.files)} files" if bundle or arguments.results else "no file: give --results"
    print_lines(_lines(statement, asked, looked_at, _whose(asked, bundle=bundle)))
    return ENDS[statement.verdict]


def _whose(asked: Asked, *, bundle: bool) -> str:
    """Who says which checks there are: a check that was lost with its catalogue is missed by nobody otherwise."""
    if asked.catalogue:
        return f"that of {shown(asked.catalogue, 200)}"
    if asked.pinned:
        return "the one that the policy names"
    own = "from the bundle itself" if bundle else "the one beside the statement"
    return f"{own}: give --catalogue to require the checks of a release"


def _lines(statement: Statement, asked: Asked, looked_at: str, whose: str) -> list[str]:
    image = ", ".join(f"sha256:{digest}" for digest in statement.images)
    counted = f"{len(statement.passed)} passed, {len(statement.warned)} warned, {len(statement.failed)} failed"
    lines = [
        f"VERIFIED: {statement.verdict}",
        f"image      {image}",
        f"checks     {counted}, profile {shown(statement.profile, 40)}",
        f"policy     sha256:{statement.policy}",
        f"catalogue  sha256:{statement.catalogue}, {whose}",
        f"made       {shown(statement.made, 40)}, signed by {asked.key.keyid[:16]}…",
        f"compared   {looked_at}",
    ]
    return lines + [f"✗ {shown(reason)}" for reason in statement.reasons[:10]]
