"""`npu-e2e gate`: prints the verdict and returns its exit code, which is 0 for a pass and for nothing else."""

from __future__ import annotations

import argparse
import contextlib
import gc
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path

from fixtures.errors import ExitCode, HarnessError
from gate.beside import beside
from gate.decision import Decision
from gate.jsonfile import shown
from gate.judge import decide
from gate.layout import REPORT
from gate.policy import policy_file, read_policy
from gate.policyrules import PolicyError
from gate.printing import print_lines
from gate.report.drawing import load
from gate.screen import screen_lines


def run(arguments: argparse.Namespace) -> int:
    """Judge, print, write what is asked for, and return the exit code of the decision, or USAGE.

    Raises:
        HarnessError: what was asked for cannot be written or signed, so that there is no pass to be had.
    """
    if arguments.key and not arguments.output:
        print("There is no place for a signed statement.\nName a folder with --output.", file=sys.stderr)
        return ExitCode.USAGE
    with _without_collection(), beside(len(arguments.results) + len(arguments.baseline)) as helper:
        if arguments.output:
            helper.submit(load)  # while this process loads what is needed to judge
        try:
            decision = decision_of(arguments, helper)
        except (PolicyError, NotAFolderError) as error:
            print(f"{error.cause}\n{error.remedy}", file=sys.stderr)
            return ExitCode.USAGE
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print_lines(screen_lines(decision, width))
        if arguments.output:
            _write(decision, Path(arguments.output), Path(arguments.key) if arguments.key else None, helper)
        return decision.exit_code


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Results are kept to the end and hold no circles: to look for those takes a seventh of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _write(decision: Decision, folder: Path, key: Path | None, helper: Executor) -> None:
    from gate.outputs import write_outputs  # noqa: PLC0415 - what signs and renders takes a while to load

    try:
        statement = write_outputs(decision, folder, key, helper)
    except OSError as error:
        reason = f"{shown(error.filename or folder)} cannot be written ({error.strerror})"
        raise HarnessError(f"{reason}.", "Name another folder with `--output`.") from error
    signed = f", signed in {statement}" if statement else ", not signed: give `--key`"
    print_lines([shown(f"{'report':<11} {folder / REPORT}{signed}", 2000)])


class NotAFolderError(HarnessError):
    """Something was named that is no results folder; a mistake of usage."""


def decision_of(arguments: argparse.Namespace, helper: Executor | None = None) -> Decision:
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
    return decide(folders, policy, now=time.time(), baseline=baseline, catalogue=catalogue, helper=helper)


def _folders(names: Sequence[str]) -> list[Path]:
    folders = [Path(name) for name in names]
    for folder in folders:
        if not folder.is_dir():
            raise NotAFolderError(f"{folder} is no folder.", "Name the folder that a run was given with `--results`.")
    return folders
