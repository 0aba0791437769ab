"""`npu-e2e gate`: prints the verdict and returns its exit code, which is 0 for a pass and for nothing else."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fixtures.errors import ExitCode, HarnessError
from gate.decision import Decision
from gate.judge import decide
from gate.policy import policy_file, read_policy
from gate.policyrules import PolicyError
from gate.screen import screen_lines


def run(arguments: argparse.Namespace) -> int:
    """Judge, print, and return the exit code of the decision, or USAGE."""
    try:
        decision = decision_of(arguments)
    except (PolicyError, NotAFolderError) as error:
        print(f"{error.cause}\n{error.remedy}", file=sys.stderr)
        return ExitCode.USAGE
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    letters = sys.stdout.encoding or "utf-8"
    for line in screen_lines(decision, width):
        print(line.encode(letters, "replace").decode(letters))
    return decision.exit_code


class NotAFolderError(HarnessError):
    """Something was named that is no results folder; a mistake of usage."""


def decision_of(arguments: argparse.Namespace) -> Decision:
    """The decision that the command line asks for.

    Raises:
        PolicyError: the policy cannot be read, or says what no policy can say.
        NotAFolderError: something that is named is not a folder, or not a file.
    """
    policy = read_policy(policy_file(arguments.policy))
    folders, baseline = _folders(arguments.results), _folders(arguments.baseline)
    catalogue = Path(arguments.catalogue) if arguments.catalogue else None
    if catalogue and not catalogue.is_file():
        raise NotAFolderError(f"{catalogue} is no file.", "Name what `npu-e2e catalogue --format json` printed.")
    return decide(folders, policy, now=time.time(), baseline=baseline, catalogue=catalogue)


def _folders(names: Sequence[str]) -> list[Path]:
    folders = [Path(name) for name in names]
    for folder in folders:
        if not folder.is_dir():
            raise NotAFolderError(f"{folder} is no folder.", "Name the folder that a run was given with `--results`.")
    return folders
