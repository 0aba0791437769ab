"""Whole runs in several processes: they say what a run in one process says, whatever becomes of a worker."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from projects import EVERYTHING, PASSING, PYTEST, Project, new_project, summary_of

pytest_plugins = ["pytester"]
IN_TWO = ("-p", "xdist", "-n", "2")


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    return new_project(pytester, monkeypatch, tmp_path_factory)


def without_times(results: Any) -> Any:
    """What two runs of the same checks must have in common."""
    for key in ("run", "time", "steps"):
        del results[key]
    for check in results["checks"]:
        assert set(check.pop("seconds")) >= {"setup", "teardown"}
        check["evidence"] = [file["file"] for file in check["evidence"]]  # what is in them tells of earlier runs too
    return results


def test_the_same_results_as_in_one_process(project: Project) -> None:
    code = EVERYTHING.replace(
        '"""It passes."""', '"""It passes."""\n    record_measurement("rate", 2.5, "it/s")'
    ).replace("def test_passed()", "def test_passed(record_measurement)")
    alone = project.run_apart(code)  # in this process its tracebacks would have pytester in them
    one, junit = without_times(project.results()), project.junit()
    several = project.run(code, *IN_TWO)
    assert several.ret == alone.ret == 1
    assert without_times(project.results()) == one
    assert len(one["checks"]) == 17
    assert project.junit() == junit
    assert "[[PROPERTY|rate [it/s]=2.5]]" in (project.path / "results/junit.xml").read_text()
    for check in one["checks"]:
        for file in check["evidence"]:
            assert (project.path / "results" / file).read_text().startswith(check["id"])
    shown = summary_of(several.stdout.str())
    assert [line for line in shown if not line.startswith("time ")] == [
        line for line in summary_of(alone.stdout.str()) if not line.startswith("time ")
    ]
    assert "The API server does not answer.\nStart it.\n" in several.stdout.str()


SHARED = '''
from contextlib import contextmanager
import time
from fixtures.once import Shared, given
from fixtures.record import Retry, Wait
from fixtures.session import RECORD, STEPS

def log(line):
    with open("log", "a") as file:
        file.write(f"{line} {os.getpid()}\\n")

@contextmanager
def made(config):
    log("made")
    yield "a cluster"
    log("gone")

@contextmanager
def rebuilt(config, description):
    yield f"{description['name']}, rebuilt"

CLUSTER = Shared("cluster", made=made, described=lambda value: {"name": value}, rebuilt=rebuilt)

class Announces:
    def pytest_made_once(self, config): return [CLUSTER, "flow"]

@pytest.fixture(scope="session")
def cluster(pytestconfig):
    with given(pytestconfig, CLUSTER) as value:
        pytestconfig.stash[FACTS]["target"] = value
        pytestconfig.stash[CAPABILITIES] = frozenset()
        yield value
@pytest.fixture(scope="session")
def flow(cluster, pytestconfig):
    with pytestconfig.stash[STEPS].step("run the flow"):
        log("flow")

@check("alone")
def test_alone(cluster):
    """It runs alone."""
    log("alone")
@check("slow")
def test_slow(cluster, pytestconfig):
    """It is known to be slow."""
    log("slow")
    time.sleep(0.02)  # or a fast machine's checks add up to no time at all, of which there is no ratio
    record = pytestconfig.stash[RECORD]
    record.add(Wait("the pod", 1.0, 0.25, "met", [(0.1, "Running")]))
    record.add(Retry("GET /", 1.0, "503", 0.1))
    record.queued["slow"] = 1.5
@check("flow-one")
def test_flow_one(flow):
    """It looks at the flow."""
    log("flow-one")
@check("incapable", needs=["faults"])
def test_incapable(cluster):
    """It needs faults."""
    log("incapable")
@check("flow-two")
def test_flow_two(flow):
    """It looks at the flow too."""
    log("flow-two")
'''


@pytest.fixture
def shared(project: Project) -> Project:
    with (project.path / "conftest.py").open("a") as conftest:
        conftest.write(
            "def pytest_collection_modifyitems(config, items):\n"
            "    config.pluginmanager.register(items[0].module.Announces())\n"
        )
    return project


def logged(project: Project) -> list[tuple[str, int]]:
    lines = (project.path / "log").read_text().splitlines()
    (project.path / "log").unlink()
    return [(name, int(pid)) for name, _, pid in (line.partition(" ") for line in lines)]


def test_what_a_run_makes_once_is_made_once(shared: Project) -> None:
    (shared.path / "cache").mkdir()
    (shared.path / "cache/steps.json").write_text(json.dumps({"check slow": 60.0, "check alone": 0.5}))
    result = shared.run(SHARED, *IN_TWO)
    assert result.ret == 2
    outcomes = {"alone": "passed", "slow": "passed", "flow-one": "passed", "incapable": "skipped", "flow-two": "passed"}
    assert shared.outcomes() == outcomes
    lines = logged(shared)
    pid = dict(lines)
    assert [name for name, _ in lines].count("flow") == 1
    assert lines[0] == ("made", pid["gone"])
    assert lines[-1] == ("gone", pid["gone"])
    assert pid["flow"] == pid["flow-one"] == pid["flow-two"]
    assert pid["gone"] not in {pid["slow"], pid["flow"], pid["alone"]}
    results = shared.results()
    assert results["target"] == {"target": "a cluster, rebuilt"}
    assert [step["name"] for step in results["steps"]] == ["run the flow"]
    (wait,) = results["waits"]
    assert (wait["check"], wait["seconds"], wait["states"]) == ("slow", 0.25, [[0.1, "Running"]])
    assert [retry["check"] for retry in results["retries"]] == ["slow"]
    assert (results["time"]["waits"], results["time"]["queued"]) == (0.25, 1.5)
    took = sum(sum(check["seconds"].values()) for check in results["checks"])
    assert results["time"]["checks"] == pytest.approx(took, abs=0.01)
    assert results["run"]["ended"] - results["run"]["began"] >= results["time"]["wall"] > 0
    (line,) = [line for line in summary_of(result.stdout.str()) if line.startswith("time ")]
    assert ", 0.2 s of them waits in the cluster and 1.5 s in line for NPUs, ratio " in line
    took = json.loads((shared.path / "cache/steps.json").read_text())["check slow"]
    assert took < 60, "what it waited for others is not what it is known to take"

    (shared.path / "cache/steps.json").write_text(json.dumps({"check slow": 60.0, "check alone": 0.5}))
    # one worker shows the order: the longest and the shortest by turns, what is not known between them
    assert shared.run(SHARED, "-p", "xdist", "-n", "1", "-k", "not incapable").ret == 0
    assert [name for name, _ in logged(shared)] == ["made", "slow", "alone", "flow", "flow-one", "flow-two", "gone"]


def test_any_order_and_any_number_of_processes(shared: Project) -> None:
    (shared.path / "cache").mkdir()
    chosen = ("-k", "not incapable")
    orders = []
    for number in ("0", "1"):
        result = shared.run(SHARED, "-p", "xdist", "-n", number, *chosen, "--shuffle", "3")
        assert result.ret == 0
        orders.append([name for name, _ in logged(shared) if name in ("slow", "flow", "alone")])
        assert shared.results()["settings"]["shuffle"] == "3"
        assert "in the order of --shuffle 3" in result.stdout.str()
    assert orders[0] == orders[1] != ["alone", "slow", "flow"]
    # the profile alone decides on processes; more of them than units are not started
    result = shared.run(SHARED.replace('check("slow"', 'check("slow", profile="conformance"'), "-p", "xdist", *chosen,
                        "--profile", "conformance", "--shuffle", "random")  # fmt: skip
    assert result.ret == 0
    assert "3 processes" in result.outlines
    assert shared.results()["settings"]["shuffle"].isdigit()
    logged(shared)
    # a single unit needs no worker, unless one is asked for
    result = shared.run(SHARED, "-p", "xdist", "--profile", "conformance", "-k", "flow")
    assert result.ret == 0
    assert len({pid for _, pid in logged(shared)}) == 1


def test_a_target_that_cannot_be_made_ready_starts_no_worker(shared: Project) -> None:
    code = SHARED.replace(
        '    yield "a cluster"\n', '    raise CannotRun("No engine is running.", "Start Docker.")\n    yield\n'
    )
    result = shared.run(code, *IN_TWO)
    assert result.ret == 6
    assert result.stdout.str().count("No engine is running.") == 1
    assert "processes" not in result.stdout.str()
    assert set(shared.outcomes().values()) == {"not-run"}
    assert shared.results()["run"]["state"] == "cannot-run"
    assert shared.junit()["run"] == "error"


def test_a_worker_that_finds_its_target_gone_ends_the_run(project: Project) -> None:
    code = PASSING.replace("def test_one():", "def test_one(target):").replace(
        "def test_two():", "def test_two(target):"
    )
    code += """
@pytest.fixture
def target():
    raise CannotRun("No engine is running.", "Start Docker.")
"""
    result = project.run(code, *IN_TWO)
    assert result.ret == 6
    assert result.stdout.str().count("No engine is running.") == 1
    assert project.outcomes() == {"one": "not-run", "two": "not-run"}


def test_a_worker_that_dies_makes_its_check_an_error_and_loses_no_other(project: Project) -> None:
    code = PASSING + "    os.kill(os.getpid(), 9)\n"
    code += "".join(
        f'@check("more-{number}")\ndef test_more_{number}():\n    """More holds."""\n' for number in range(4)
    )
    result = project.run(code, *IN_TWO)
    assert result.ret == 1
    outcomes = project.outcomes()
    assert outcomes.pop("two") == "error"
    assert len(outcomes) == 5
    assert set(outcomes.values()) == {"passed"}
    results = project.results()
    assert results["verdict"]["result"] == "inconclusive"
    assert results["checks"][1]["reason"].endswith(" died while it ran, ended by SIGKILL.")
    assert project.junit()["test_two"] == "error"
    assert not [line for line in result.outlines if "INTERNALERROR" in line]


def test_the_first_failures_end_the_run_and_are_run_again(project: Project) -> None:
    code = PASSING.replace('"""One holds."""', '"""One holds."""\n    assert os.path.exists("mended"), "no"')
    code += "".join(f'@check("c-{number}")\ndef test_c_{number}():\n    """It holds."""\n' for number in range(9))
    cached = ("-o", "addopts=-ra", *IN_TWO)
    result = project.run(code, "-x", *cached)
    assert result.ret == 1
    results = project.results()
    assert results["run"]["state"] == "finished"
    assert results["run"]["stopped"] == "pytest stopped: stopping after 1 failures."
    assert results["checks"][0]["outcome"] == "failed"
    assert "not-run" in project.outcomes().values()
    (project.path / "mended").touch()
    assert project.run(code, "--lf", *cached).ret == 0
    assert project.outcomes() == {"one": "passed"}


def test_what_cannot_be_collected_is_said_once(project: Project) -> None:
    (project.path / "e2e").mkdir()
    (project.path / "e2e/test_broken.py").write_text("import no_such_module\n")
    (project.path / "e2e/test_gone.py").write_text("import pytest\npytest.skip('x', allow_module_level=True)\n")
    refused = project.run(PASSING, *IN_TWO)
    assert refused.ret == 2
    assert "processes" not in refused.stdout.str()
    assert project.results()["run"]["state"] == "cannot-run"
    result = project.run(PASSING, "--continue-on-collection-errors", *IN_TWO)
    assert result.ret == 1
    result.assert_outcomes(passed=2, errors=1, skipped=1)
    assert project.results()["verdict"]["reasons"] == [
        "e2e/test_broken.py could not be collected, so its checks are not known.",
        "e2e/test_gone.py skips itself, so its checks are not known.",
    ]
    assert project.outcomes() == {"one": "passed", "two": "passed"}


def test_an_error_inside_pytest_is_no_pass(project: Project) -> None:
    with (project.path / "conftest.py").open("a") as conftest:
        conftest.write("def pytest_runtest_logfinish(): raise RuntimeError('a plugin is broken')\n")
    assert project.run(PASSING, *IN_TWO).ret == 3
    assert project.results()["run"]["state"] == "interrupted"
    assert project.results()["verdict"]["result"] == "inconclusive"
    assert project.junit()["run"] == "error"


BLOCKED = """
import signal
@pytest.fixture
def namespace(request):
    yield
    open(f"{request.node.name}-removed", "w").write(str(os.getpid()))
""" + "".join(
    f'''
@check("{name}")
def test_{name}(namespace):
    """It holds."""
    with open("begun-{name}", "w") as pipe:
        pipe.write("x")
    signal.pause()
'''
    for name in ("one", "two")
)


@contextmanager
def pipe(path: Path) -> Iterator[int]:
    """A named pipe for a check that is about to block; readable once the check has written to it."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield reader
    finally:
        os.close(reader)


@pytest.mark.parametrize("whole_group", [True, False], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupt_ends_every_worker_and_what_it_holds(project: Project, *, whole_group: bool) -> None:
    project.write(BLOCKED + PASSING.replace('"one"', '"later"').replace("test_one", "test_later").replace(
        '"two"', '"last"').replace("test_two", "test_last"))  # fmt: skip
    with pipe(project.path / "begun-one") as one, pipe(project.path / "begun-two") as two:
        process = subprocess.Popen(
            [sys.executable, "-c", PYTEST, "e2e", *IN_TWO],
            cwd=project.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            assert select.select([one], [], [], 30)[0]
            assert select.select([two], [], [], 30)[0]
            if whole_group:
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.send_signal(signal.SIGTERM)
            stdout, _ = process.communicate(timeout=30)
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == 2, stdout
    results = project.results()
    assert results["run"]["state"] == "interrupted"
    assert results["verdict"]["reasons"][0] == f"The run was interrupted by {'SIGINT' if whole_group else 'SIGTERM'}."
    assert set(project.outcomes().values()) == {"not-run"}, stdout
    reasons = {check["id"]: check["reason"] for check in results["checks"]}
    assert reasons["one"] == reasons["two"] == "The run was interrupted while it ran."
    assert reasons["later"] == results["run"]["stopped"]
    for name in ("one", "two"):
        worker = int((project.path / f"test_{name}-removed").read_text())
        assert not Path(f"/proc/{worker}").exists()
    assert "INTERNALERROR" not in stdout
    assert summary_of(stdout)[0] == "INCONCLUSIVE: nothing was tested."
