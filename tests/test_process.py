"""Programs: what a failure says, and that an end is an end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from fixtures.process import ProgramError, ProgramsEndedError, run
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
