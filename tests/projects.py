"""Projects with checks of their own, run by pytest in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gate.results import read_results

ROOT = Path(__file__).parent.parent
HEAD = """
import os
import pytest
from fixtures.checks import check
from fixtures.errors import CannotRun, HarnessError
from fixtures.session import CAPABILITIES, EVIDENCE_COLLECTORS, FACTS

class ProductError(HarnessError):
    blames = "product"

def blames_product(): raise ProductError("The pod ended with 1. More.", "Read its log.")
def blames_harness(): raise HarnessError("The API server does not answer.", "Start it.")
"""
PASSING = '''
@check("one")
def test_one():
    """One holds."""

@check("two")
def test_two():
    """Two holds."""
'''
EVERYTHING = '''
@pytest.fixture(scope="session", autouse=True)
def collectors(pytestconfig):
    def collect(identity, folder):
        (folder / "pod.yaml").write_text(f"{identity}, torn down: {os.path.exists('torn-down')}")
        return ["pod.yaml"]
    def says_why(identity, folder): raise HarnessError("The log is gone.", "Nothing.")
    def is_wrong(identity, folder): return {}["x"]
    def of_others(identity, folder): return ["others.yaml"]
    pytestconfig.stash[EVIDENCE_COLLECTORS] += [("collectors", each) for each in (collect, says_why, is_wrong)]
    pytestconfig.stash[EVIDENCE_COLLECTORS].append(("a_fixture_of_others", of_others))

@pytest.fixture
def broken(): blames_harness()
@pytest.fixture
def not_product(): assert False, "an assertion of a fixture"
@pytest.fixture
def bad_product(): blames_product()
@pytest.fixture
def bad_end():
    yield
    open("torn-down", "w").close()
    raise RuntimeError("not removed")

@check("failed-assertion")
def test_failed_assertion(bad_end):
    """It fails."""
    assert 1 == 2, "one is not two"

@check("failed-product")
def test_failed_product():
    """It fails."""
    blames_product()

@check("failed-in-setup")
def test_failed_in_setup(bad_product):
    """It fails."""

@check("failed-group")
def test_failed_group():
    """It fails."""
    raise ExceptionGroup("both", [AssertionError("a"), ProductError("b", "c")])

@check("error-call")
def test_error_call():
    """It errs."""
    blames_harness()

@check("error-bug")
def test_error_bug():
    """It errs."""
    {}["x"]

@check("error-setup")
def test_error_setup(broken):
    """It errs."""

@check("error-setup-assertion")
def test_error_setup_assertion(not_product):
    """It errs."""

@check("error-teardown")
def test_error_teardown(bad_end):
    """It errs."""

@check("error-skipped-then-teardown")
def test_error_skipped(bad_end):
    """It errs."""
    pytest.skip("no reason")

@check("error-excuse")
@pytest.mark.xfail(reason="flaky")
def test_error_excuse():
    """It errs."""
    assert False

@check("error-unexpected")
@pytest.mark.xfail(reason="kubernetes/kubernetes#1, 1.37.0")
def test_error_unexpected():
    """It errs."""

@check("error-not-the-issue")
@pytest.mark.xfail(reason="kubernetes/kubernetes#1, 1.37.0")
def test_error_not_the_issue():
    """It errs."""
    blames_harness()

@check("known-upstream")
@pytest.mark.xfail(reason="kubernetes/kubernetes#1, 1.37.0")
def test_known_upstream():
    """It is known."""
    assert False

@check("skipped")
def test_skipped():
    """It is skipped."""
    pytest.skip("no reason")

@check("skipped-not-run")
@pytest.mark.xfail(run=False, reason="kubernetes/kubernetes#1")
def test_skipped_not_run():
    """It is skipped."""

@check("passed")
def test_passed():
    """It passes."""
'''
"""Every outcome, in every way that leads to it."""
PYTEST = "import signal, sys, pytest; signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(pytest.main())"


@contextmanager
def modules_apart() -> Iterator[None]:
    """Imports of the block are of the project: it does not see our test modules, which may be its own's namesakes."""
    modules, path = dict(sys.modules), list(sys.path)
    for name in [name for name in modules if name.startswith("test_") or name == "conftest"]:
        del sys.modules[name]
    try:
        yield
    finally:
        sys.modules.clear()
        sys.modules.update(modules)
        sys.path[:] = path


@dataclass
class Project:
    """A project with checks of its own, and the files that a run of them leaves."""

    pytester: pytest.Pytester

    @property
    def path(self) -> Path:
        return self.pytester.path

    def run(self, code: str, *args: str) -> pytest.RunResult:
        self.write(code)
        return self.run_pytest("e2e", *args)

    def run_pytest(self, *args: str) -> pytest.RunResult:
        """A run in this process: most of one in a process of its own is the start of Python."""
        with modules_apart():
            return self.pytester.runpytest_inprocess(*args)

    def run_apart(self, code: str, *args: str) -> pytest.RunResult:
        """A run in a process of its own, for a run that is interrupted or whose tracebacks are looked at."""
        self.write(code)
        return self.pytester.runpytest_subprocess("e2e", *args)

    def write(self, code: str) -> None:
        (self.path / "e2e").mkdir(exist_ok=True)
        (self.path / "e2e/test_it.py").write_text(HEAD + code)

    def results(self) -> Any:
        """What the file holds, once the gate has read it: it is as the schema has it."""
        assert read_results(self.path / "results").format == 2
        return json.loads((self.path / "results/results.json").read_text())

    def outcomes(self) -> dict[str, str]:
        return {entry["id"]: entry["outcome"] for entry in self.results()["checks"]}

    def junit(self, file: str = "results/junit.xml") -> dict[str, str]:
        """The outcome of every testcase, from a file that is whole: one testcase a test, and counts that are right."""
        suites = ET.parse(self.path / file).getroot()  # noqa: S314
        (suite,) = suites
        cases = {}
        for case in suite.findall("testcase"):
            said = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
            assert len(said) <= 1
            assert case.attrib["name"] not in cases
            cases[case.attrib["name"]] = said[0] if said else "passed"
        assert int(suite.attrib["tests"]) == len(cases)
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[attribute]) == list(cases.values()).count(tag)
        return cases

    @contextmanager
    def started(self, code: str) -> Iterator[subprocess.Popen[str]]:
        """A run that has called `tell()`; its `wait()` returns after `go()`, `told()` after its next `tell()`."""
        self.write(
            'def tell(): os.write(int(os.environ["TELL"]), b"x")\ndef wait(): os.read(int(os.environ["WAIT"]), 1)\n'
            + code
        )
        told, tell = os.pipe()
        wait, go = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-c", PYTEST, "e2e"],
            cwd=self.path,
            env={**os.environ, "TELL": str(tell), "WAIT": str(wait)},
            pass_fds=(tell, wait),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        os.close(tell)
        os.close(wait)
        try:
            assert os.read(told, 1) == b"x", process.communicate()[0]
            process.go = lambda: os.write(go, b"x")  # type: ignore[attr-defined]
            process.told = lambda: os.read(told, 1)  # type: ignore[attr-defined]
            yield process
        finally:
            process.kill()
            process.communicate()
            os.close(told)
            os.close(go)


def new_project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """An empty project whose runs see nothing of this one's environment."""
    ours = ("NPU_E2E_", "PYTEST_ADDOPTS", "PYTEST_XDIST", "CI", "COLUMNS")
    for name in [name for name in os.environ if name.startswith(ours)]:
        monkeypatch.delenv(name)
    if (
        sys.dont_write_bytecode
    ):  # what the runs' processes compile is still kept for all of them, but not in the sources
        monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.getbasetemp() / "bytecode"))
    # Python tells a changed file by its size and the second: two runs in this process may well be in one second
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("NPU_E2E_CACHE", str(pytester.path / "cache"))
    (pytester.path / "pytest.ini").write_text(
        "[pytest]\naddopts = -ra -p no:cacheprovider\nfilterwarnings = error\nstrict_xfail = true\n"
    )
    (pytester.path / "conftest.py").write_text('pytest_plugins = ["fixtures.plugin"]\n')
    return Project(pytester)


def summary_of(stdout: str) -> list[str]:
    lines = stdout.partition("= NPU conformance =")[2].splitlines()[1:]
    return lines[: next(n for n, line in enumerate(lines) if line.startswith("results "))]
