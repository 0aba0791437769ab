"""Programs: what a failure says, and that an end is an end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from fixtures.process import ProgramError, ProgramsEndedError, followed, run
from fixtures.sidebyside import side_by_side


def test_returns_stdout_and_keeps_both_streams_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import sys; print('to stdout'); print('to stderr', file=sys.stderr)"
    assert run([sys.executable, "-c", code], log=log) == "to stdout\n"
    assert set(log.read_text().splitlines()) == {"to stdout", "to stderr"}


def test_a_failure_names_command_status_and_last_lines() -> None:
    code = "import sys; [print('line', n, file=sys.stderr) for n in range(40)]; sys.exit(3)"
    with pytest.raises(ProgramError) as caught:
        run([sys.executable, "-c", code], remedy="Do the other thing.")
    assert caught.value.status == 3
    assert "failed with status 3" in caught.value.cause
    assert "line 39" in caught.value.cause
    assert "line 24" not in caught.value.cause
    assert caught.value.remedy == "Do the other thing."


def test_only_this_run_of_a_shared_log_is_quoted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("an older failure\n")
    with pytest.raises(ProgramError) as caught:
        run([sys.executable, "-c", "import sys; sys.exit('new failure')"], log=log)
    assert "new failure" in caught.value.cause
    assert "an older failure" not in caught.value.cause


def test_a_missing_program_is_an_error_with_a_sentence() -> None:
    with pytest.raises(ProgramError, match="could not be started"):
        run(["no-such-program-anywhere"])


def test_an_argument_is_never_a_shell_word() -> None:
    assert run([sys.executable, "-c", "import sys; print(sys.argv[1])", "$HOME; `id` 'x'"]) == "$HOME; `id` 'x'\n"


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


FAMILY = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1] + ".new").write_text(str(child.pid))
pathlib.Path(sys.argv[1] + ".new").rename(sys.argv[1])
time.sleep(600)
"""


def grandchild(file: Path) -> int:
    deadline = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < deadline
        os.sched_yield()
    return int(file.read_text())


def interrupt_once_started(file: Path) -> None:
    grandchild(file)
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


def test_an_interrupt_ends_the_program_and_its_children(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    threading.Thread(target=interrupt_once_started, args=[file]).start()
    with pytest.raises(KeyboardInterrupt):
        run([sys.executable, "-c", FAMILY, str(file)])
    assert gone(grandchild(file))


def test_a_deadline_ends_the_program_and_its_children(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with pytest.raises(ProgramError, match="was ended after 2 s"):
        run([sys.executable, "-c", FAMILY, str(file)], timeout=2)
    assert gone(grandchild(file))


def test_side_by_side_returns_every_result() -> None:
    assert side_by_side({"one": lambda: 1, "two": lambda: 2}) == {"one": 1, "two": 2}


def test_the_first_failure_ends_the_programs_of_the_others(tmp_path: Path) -> None:
    file = tmp_path / "pid"

    def fails() -> str:
        grandchild(file)
        raise ValueError("the cause")

    with pytest.raises(ValueError, match="the cause"):
        side_by_side({"slow": lambda: run([sys.executable, "-c", FAMILY, str(file)]), "fails": fails})
    assert gone(grandchild(file))


def test_an_interrupt_ends_the_programs_of_every_thread_and_lets_no_other_start(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    after = tmp_path / "after"
    seen: list[BaseException] = []

    def two_programs() -> str:
        try:
            run([sys.executable, "-c", FAMILY, str(file)])
        except ProgramsEndedError as error:
            seen.append(error)
            run(["touch", after])
        return ""

    threading.Thread(target=interrupt_once_started, args=[file]).start()
    with pytest.raises(KeyboardInterrupt):
        side_by_side({"a": two_programs})
    assert seen
    assert not after.exists()
    assert gone(grandchild(file))
    assert run(["echo", "again"]) == "again\n"


def test_a_program_that_ended_is_not_late_because_another_thread_waits_for_it_too() -> None:
    with followed(["true"], seconds=30) as program:
        assert program.process.stdout
        program.process.stdout.read()
        lock = program.process._waitpid_lock  # type: ignore[attr-defined]
        lock.acquire()
        threading.Timer(0.2, lock.release).start()
        program.success("Nothing to do.")


TALKER = "import sys, time; print('one'); print('two', file=sys.stderr, end='', flush=True); time.sleep(60)"


def test_lines_are_seen_while_the_program_runs_and_it_is_ended_with_the_block() -> None:
    began = time.monotonic()
    with followed([sys.executable, "-u", "-c", TALKER], seconds=30) as program:
        assert next(program.lines()) == "one"
    assert time.monotonic() - began < 10
    assert program.process.returncode == -signal.SIGTERM


def test_lines_end_at_the_deadline_with_what_was_said_last() -> None:
    with followed([sys.executable, "-u", "-c", TALKER], seconds=1) as program:
        assert list(program.lines()) == ["one", "two"]
        with pytest.raises(ProgramError, match="did not end in its time:\n    one\n    two"):
            program.success("Wait longer.")


@pytest.mark.parametrize("status", [0, 3])
def test_lines_end_with_the_program_and_its_status_is_known(status: int) -> None:
    with followed([sys.executable, "-c", f"print('one'); exit({status})"], seconds=30) as program:
        assert list(program.lines()) == ["one"]
        if status == 0:
            program.success("Nothing to do.")
        else:
            with pytest.raises(ProgramError, match="failed with status 3:\n    one"):
                program.success("Do the other thing.")


def test_a_program_to_follow_that_is_not_there_is_named() -> None:
    with pytest.raises(ProgramError, match="could not be started"), followed(["/no/such"], seconds=1):
        pass


def test_a_program_followed_in_another_thread_ends_when_the_work_is_given_up() -> None:
    begun = threading.Event()

    def follow() -> None:
        with followed([sys.executable, "-u", "-c", TALKER], seconds=60) as program:
            for _ in program.lines():
                begun.set()
            program.success("Nothing to do.")

    def fail() -> None:
        assert begun.wait(30)
        raise ValueError("the other piece")

    began = time.monotonic()
    with pytest.raises(ValueError, match="the other piece"):
        side_by_side({"follow": follow, "fail": fail})
    assert time.monotonic() - began < 20
