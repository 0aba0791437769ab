"""Runs that are interrupted or killed: what is torn down, what is written, and that none exits 0."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
from projects import PASSING, Project, new_project, summary_of

from fixtures.interrupts import DEAF_SECONDS, interrupts_raised_once

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def _hangups_are_heard() -> Iterator[None]:
    """Under `nohup` SIGHUP is ignored from the start, here and in every program that is started here."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    return new_project(pytester, monkeypatch, tmp_path_factory)


IN_CALL = PASSING.replace('"""Two holds."""', '"""Two holds."""\n    tell()\n    wait()')
IN_TEARDOWN = (
    """
@pytest.fixture(scope="session", autouse=True)
def target():
    yield
    tell()
    wait()
    open("torn-down", "w").close()
"""
    + PASSING
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_in_a_check_ends_the_run_and_what_is_known_is_written(
    project: Project, number: signal.Signals
) -> None:
    with project.started(
        IN_CALL.replace("@check", "@pytest.mark.usefixtures('end')\n@check")
        + """
@pytest.fixture(scope="session")
def end():
    yield
    open("torn-down", "w").close()
"""
    ) as process:
        assert project.results()["run"]["state"] == "running"
        process.send_signal(number)
        stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert (project.path / "torn-down").exists()
    assert project.outcomes() == {"one": "passed", "two": "not-run"}
    results = project.results()
    assert results["run"]["state"] == "interrupted"
    assert results["verdict"]["result"] == "inconclusive"
    assert results["verdict"]["reasons"][0] == f"The run was interrupted by {number.name}."
    assert project.junit() == {"test_one": "passed", "test_two": "skipped", "run": "error"}
    assert summary_of(stdout)[0] == "INCONCLUSIVE: 1 of 2 must-checks gave no answer."


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_in_the_last_tear_down_lets_it_end_and_the_run_does_not_pass(
    project: Project, number: signal.Signals
) -> None:
    with project.started(IN_TEARDOWN) as process:
        process.send_signal(number)
        process.go()  # type: ignore[attr-defined]
        stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert (project.path / "torn-down").exists()
    assert project.outcomes() == {"one": "passed", "two": "passed"}
    assert project.results()["run"]["state"] == "interrupted"
    assert project.results()["verdict"]["result"] == "inconclusive"
    assert project.junit() == {"test_one": "passed", "test_two": "passed", "run": "error"}
    assert summary_of(stdout)[0] == f"INCONCLUSIVE: The run was interrupted by {number.name}."


def test_a_second_signal_while_cleaning_up_after_the_first_does_no_harm(project: Project) -> None:
    with project.started(
        IN_TEARDOWN.replace('"""One holds."""', '"""One holds."""\n    tell()\n    wait()')
    ) as process:
        process.send_signal(signal.SIGTERM)
        # only a tear-down that has begun may be let go: the check's own wait() could take the byte beside the signal
        assert process.told() == b"x"  # type: ignore[attr-defined]
        process.send_signal(signal.SIGTERM)
        process.go()  # type: ignore[attr-defined]
        process.communicate(timeout=30)
    assert process.returncode == 2
    assert (project.path / "torn-down").exists()
    assert project.outcomes() == {"one": "not-run", "two": "not-run"}
    assert project.results()["run"]["state"] == "interrupted"


def test_a_check_that_swallows_an_interrupt_does_not_keep_the_run_going(project: Project) -> None:
    code = PASSING.replace(
        '"""One holds."""',
        '''"""One holds."""
    try:
        os.kill(os.getpid(), 15)
    except KeyboardInterrupt:
        pass''',
    )
    assert project.run_apart(code).ret == 2
    assert project.outcomes() == {"one": "passed", "two": "not-run"}
    assert project.results()["run"]["state"] == "interrupted"


def test_a_run_that_is_killed_leaves_a_file_that_says_running_and_the_next_one_starts(project: Project) -> None:
    with project.started(IN_CALL) as process:
        refused = project.run_pytest("e2e")
        assert refused.ret == 4
        refused.stderr.fnmatch_lines(["ERROR: Another run is writing to */results. *--results FOLDER*"])
        process.kill()
        process.communicate(timeout=30)
    results = project.results()
    assert results["run"]["state"] == "running"
    assert results["run"]["exit_code"] is None
    assert results["verdict"]["result"] == "inconclusive"
    assert project.outcomes() == {"one": "passed", "two": "not-run"}
    assert project.run(PASSING).ret == 0
    assert project.results()["verdict"]["result"] == "pass"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_second_signal_counts_only_after_a_while(clock: list[float]) -> None:
    with interrupts_raised_once() as interrupts:
        with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
            signal.raise_signal(signal.SIGTERM)
        clock[0] += DEAF_SECONDS - 1
        signal.raise_signal(signal.SIGINT)
        clock[0] += 1
        with pytest.raises(KeyboardInterrupt, match="SIGHUP"):
            signal.raise_signal(signal.SIGHUP)
        assert interrupts.heard == ["SIGTERM", "SIGINT", "SIGHUP"]


def test_the_first_signal_is_held_and_delivered_and_a_later_one_is_not_held(clock: list[float]) -> None:
    with interrupts_raised_once() as interrupts:
        interrupts.deliver()
        with interrupts.held():
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
            interrupts.deliver()
        clock[0] += DEAF_SECONDS
        with interrupts.held(), pytest.raises(KeyboardInterrupt, match="SIGINT"):
            signal.raise_signal(signal.SIGINT)
        interrupts.silence()
        interrupts.deliver()


def test_an_ignored_signal_stays_ignored_and_handlers_come_back() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        term = signal.getsignal(signal.SIGTERM)
        with interrupts_raised_once() as interrupts:
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) != term
        assert interrupts.heard == []
        assert signal.getsignal(signal.SIGTERM) == term
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
