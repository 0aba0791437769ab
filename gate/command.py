"""`npu-e2e gate`: prints the verdict and returns its exit code, which is 0 for a pass and for nothing else."""

from __future__ import annotations

import argparse
import contextlib
import gc
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from fixtures.errors import ExitCode, HarnessError
from gate.beside import beside
from gate.decision import Decision
from gate.jsonfile import shown
from gate.judge import decide
from gate.layout import REPORT
from gate.policy import Policy, policy_file, read_policy
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
            asked = asked_of(arguments)
        except (PolicyError, NotAFolderError) as error:
            print(f"{error.cause}\n{error.remedy}", file=sys.stderr)
            return ExitCode.USAGE
        if not arguments.output:
            decision = asked.decide(helper)
            print_lines(_screen(decision))
            return decision.exit_code
        folder, key = Path(arguments.output), Path(arguments.key) if arguments.key else None
        with _told_by_its_name(folder):
            _require_writable(folder, key, asked)
        decision = asked.decide(helper)
        try:
            with _told_by_its_name(folder):
                written = _write(decision, folder, key, helper)
        except HarnessError:
            if decision.exit_code:  # a pass that is not written, or not signed, is none
                print_lines(_screen(decision))
            raise
        print_lines([*_screen(decision), written])
        return decision.exit_code


def _screen(decision: Decision) -> list[str]:
    return screen_lines(decision, shutil.get_terminal_size().columns if sys.stdout.isatty() else None)


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


@contextlib.contextmanager
def _told_by_its_name(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = f"{shown(error.filename2 or error.filename or folder)} cannot be written ({error.strerror})"
        raise HarnessError(f"{reason}.", "Name another folder with `--output`.") from error


def _require_writable(folder: Path, key: Path | None, asked: Asked) -> None:
    """Find what is wrong with the folder and the key before anything is judged."""
    from gate.envelope import signer_of  # noqa: PLC0415 - as below
    from gate.outputs import take_over  # noqa: PLC0415 - what signs and renders takes a while to load

    if key:
        signer_of(key)
    take_over(folder, [*asked.folders, *asked.baseline])


def _write(decision: Decision, folder: Path, key: Path | None, helper: Executor) -> str:
    from gate.outputs import write_outputs  # noqa: PLC0415 - as above

    statement = write_outputs(decision, folder, key, helper)
    signed = f", signed in {statement}" if statement else ", not signed: give `--key`"
    return shown(f"{'report':<11} {folder / REPORT}{signed}", 2000)


class NotAFolderError(HarnessError):
    """Something was named that is no results folder; a mistake of usage."""


@dataclass(frozen=True)
class Asked:
    """What the command line asks for: results folders of the candidate and of the baseline, and what to judge by."""

    folders: list[Path]
    baseline: list[Path]
    policy: Policy
    catalogue: Path | None

    def decide(self, helper: Executor) -> Decision:
        """The decision; `helper` hashes and compares."""
        return decide(
            self.folders,
            self.policy,
            now=time.time(),
            baseline=self.baseline,
            catalogue=self.catalogue,
            helper=helper,
        )


def asked_of(arguments: argparse.Namespace) -> Asked:
    """What the command line asks for.

    Raises:
        PolicyError: the policy cannot be read, or says what no policy can say.
        NotAFolderError: something that is named is not a folder, or not a file.
    """
    policy = read_policy(policy_file(arguments.policy))
    folders, baseline = _folders(arguments.results), _folders(arguments.baseline)
    catalogue = Path(arguments.catalogue) if arguments.catalogue else None
    if catalogue and not _is(stat.S_ISREG, catalogue):
        raise NotAFolderError(f"{catalogue} is no file.", "Name what `npu-e2e catalogue --format json` printed.")
    return Asked(folders, baseline, policy, catalogue)


def _folders(names: Sequence[str]) -> list[Path]:
    folders = [Path(name) for name in names]
    for folder in folders:
        if not _is(stat.S_ISDIR, folder):
            raise NotAFolderError(f"{folder} is no folder.", "Name the folder that a run was given with `--results`.")
    return folders


def _is(kind: Callable[[int], bool], path: Path) -> bool:
    """Whether `path` is of a kind; of one at which nobody may look that is left to whoever reads it, and says why."""
    try:
        return kind(path.stat().st_mode)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
