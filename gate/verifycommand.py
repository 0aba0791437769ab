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
from gate.verify import Asked, verified_bundle, verified_statement

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
        asked = Asked(public_key(Path(arguments.key)), arguments.image, policy.sha256, catalogue)
        if file.suffix == ".json":
            statement = verified_statement(file, asked, [Path(folder) for folder in arguments.results])
        else:
            statement = verified_bundle(file, asked)
    except RefusedError as error:
        print(f"REFUSED: {error.cause}\n{error.remedy}", file=sys.stderr)
        return ExitCode.FAILED
    except PolicyError as error:
        print(f"{error.cause}\n{error.remedy}", file=sys.stderr)
        return ExitCode.USAGE
    alone = file.suffix == ".json" and not arguments.results
    looked_at = "no file: give --results" if alone else f"{len(statement.files)} files"
    print_lines(_lines(statement, asked, looked_at))
    return ENDS[statement.verdict]


def _lines(statement: Statement, asked: Asked, looked_at: str) -> list[str]:
    image = ", ".join(f"sha256:{digest}" for digest in statement.images)
    counted = f"{len(statement.passed)} passed, {len(statement.warned)} warned, {len(statement.failed)} failed"
    lines = [
        f"VERIFIED: {statement.verdict}",
        f"image      {image}",
        f"checks     {counted}, profile {shown(statement.profile, 40)}",
        f"policy     sha256:{statement.policy}",
        f"catalogue  sha256:{statement.catalogue}",
        f"made       {shown(statement.made, 40)}, signed by {asked.key.keyid[:16]}…",
        f"compared   {looked_at}",
    ]
    return lines + [f"✗ {shown(reason)}" for reason in statement.reasons[:10]]
