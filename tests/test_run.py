"""Whole runs of pytest with the plugin: outcomes, files, screen and exit code agree."""

from __future__ import annotations

import hashlib
import re

import pytest
from projects import EVERYTHING, PASSING, Project, new_project, summary_of

from gate.catalogue import read_catalogue

pytest_plugins = ["pytester"]


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    return new_project(pytester, monkeypatch, tmp_path_factory)


def test_a_run_that_passes_says_what_it_tested_and_replaces_only_its_own_earlier_files(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    code = '''
@pytest.fixture(scope="session", autouse=True)
def target(pytestconfig):
    pytestconfig.stash[FACTS].update({"target": "kind", "kubernetes version": "v1.37.2", "node image": "node:1"})

@check("one", needs=["faults"])
def test_one(record_measurement):
    """One holds."""
    record_measurement("rate", 2.5, "it/s")
    record_measurement("broken", float("nan"), "")
'''
    (project.path / "results/evidence/old").mkdir(parents=True)
    (project.path / "results/evidence/.made-by-npu-conformance").touch()
    (project.path / "results/results.json").write_text('{"format": 1, "run": {}, "checks": []}')
    (project.path / "results/mine.txt").write_text("mine")
    result = project.run(code, "--pull-secret=ns/regsecret", "-o", "junit_suite_name=x")
    assert result.ret == 0
    summary = summary_of(result.stdout.str())
    assert summary[0] == "PASS: 1 of 1 check passed."
    assert summary[1] == "tested   target kind, Kubernetes v1.37.2, node image node:1, 1 check (1 passed)"
    assert not (project.path / "results/evidence").exists()
    assert (project.path / "results/mine.txt").read_text() == "mine"

    results = project.results()
    assert results["format"] == 2
    assert results["run"]["state"] == "finished"
    assert results["run"]["exit_code"] == 0
    assert results["run"]["ended"] >= results["run"]["began"]
    assert "--pull-secret=ns/regsecret" in results["run"]["command"]
    assert results["verdict"] == {"result": "pass", "reasons": []}
    assert results["target"]["node image"] == "node:1"
    (entry,) = results["checks"]
    assert entry["claim"] == "One holds."
    assert entry["needs"] == ["faults"]
    assert entry["measured"] == [
        {"name": "rate", "value": 2.5, "unit": "it/s"},
        {"name": "broken", "value": "nan", "unit": ""},
    ]
    assert read_catalogue(project.path / "results/catalogue.json").file.sha256 == results["catalogue"]["sha256"]
    assert set(entry["seconds"]) == {"setup", "call", "teardown"}

    assert project.junit() == {"test_one": "passed"}
    text = (project.path / "results/junit.xml").read_text()
    assert '<property name="kubernetes version" value="v1.37.2" />' in text
    for name, value in {"id": "one", "level": "must", "rate [it/s]": "2.5"}.items():
        assert f"[[PROPERTY|{name}={value}]]" in text


def test_a_part_of_a_check_that_did_not_pass_is_never_within_one_that_did(project: Project) -> None:
    code = '''
@check("part-skipped")
def test_part_skipped(subtests):
    """Each part holds."""
    with subtests.test("here"):
        pass
    with subtests.test("there"):
        pytest.skip("Not there.")

@check("part-failed")
def test_part_failed(subtests):
    """Each part holds."""
    with subtests.test("here"):
        assert False, "It does not."
    with subtests.test("there"):
        pass

@check("parts-passed")
def test_parts_passed(subtests):
    """Each part holds."""
    with subtests.test("here"):
        pass
'''
    result = project.run(code)
    assert result.ret == 1
    assert project.outcomes() == {"part-skipped": "skipped", "part-failed": "failed", "parts-passed": "passed"}


def test_every_check_has_one_outcome_and_all_accounts_agree(project: Project) -> None:
    result = project.run(EVERYTHING)
    assert result.ret == 1
    outcomes = project.outcomes()
    assert len(outcomes) == 17
    for identity, outcome in outcomes.items():
        assert identity == outcome or identity.startswith(f"{outcome}-"), identity
    entries = {entry["id"]: entry for entry in project.results()["checks"]}
    tags = {"failed": "failure", "error": "error", "passed": "passed"}
    assert project.junit() == {
        entry["nodeid"].rpartition("::")[2]: tags.get(entry["outcome"], "skipped") for entry in entries.values()
    }
    assert project.results()["verdict"]["result"] == "fail"

    failed = entries["failed-assertion"]
    assert failed["reason"] == "one is not two"
    assert "assert 1 == 2" in failed["detail"]
    assert "teardown: RuntimeError: not removed" in failed["notes"]
    text = "failed-assertion, torn down: False"
    digest = hashlib.sha256(text.encode()).hexdigest()
    file = "evidence/failed-assertion/pod.yaml"
    assert failed["evidence"] == [{"file": file, "sha256": digest, "bytes": len(text)}]
    assert (project.path / "results" / file).read_text() == text
    assert "evidence: The log is gone." in failed["notes"]
    assert any("KeyError: 'x'" in note for note in failed["notes"])
    assert entries["failed-product"]["remedy"] == "Read its log."
    assert entries["failed-group"]["reason"] == "a"
    assert entries["error-call"]["reason"] == "The API server does not answer."
    assert entries["error-setup"]["evidence"]
    assert not entries["passed"]["evidence"]
    assert not entries["skipped"]["evidence"]

    stdout = result.stdout.str()
    assert "in blames_product" not in stdout
    assert "The API server does not answer.\nStart it.\n" in stdout
    summary = summary_of(stdout)
    assert summary[0] == "FAIL: 4 of 17 must-checks failed."
    assert len(summary) < 23
    assert "✗ failed-product: It fails." in summary
    assert "  failed: The pod ended with 1." in summary
    assert "  to do: Read its log." in summary
    assert "  evidence: results/evidence/failed-product/" in summary
    assert any(re.fullmatch(r"and \d+ more, see results/results.json", line) for line in summary)


def test_a_should_that_fails_is_reported_and_does_not_fail_the_run(project: Project) -> None:
    code = (
        PASSING
        + '''
@check("three", level="should")
def test_three():
    """Three holds."""
    assert False, "three does not"
'''
    )
    result = project.run(code)
    assert result.ret == 0
    assert project.outcomes() == {"one": "passed", "two": "passed", "three": "failed"}
    assert project.results()["verdict"]["result"] == "pass"
    assert project.results()["verdict"]["reasons"] == ["three (should): failed: three does not"]
    summary = summary_of(result.stdout.str())
    assert summary[0] == "PASS: 2 of 3 checks passed, 1 should failed."
    assert "✗ three (should): Three holds." in summary


def test_a_capability_that_the_target_lacks_skips_before_anything_is_set_up(project: Project) -> None:
    code = '''
@pytest.fixture(scope="session", autouse=True)
def target(pytestconfig): pytestconfig.stash[CAPABILITIES] = frozenset({"registry"})
@pytest.fixture
def fault(): open("fault", "a").close()

@check("one", needs=["faults", "registry"])
def test_one(fault):
    """One holds."""
@check("two", needs=["faults"])
def test_two():
    """Two holds."""
    open("fault", "a").close()
'''
    result = project.run(code)
    assert result.ret == 3
    assert not (project.path / "fault").exists()
    assert project.outcomes() == {"one": "skipped", "two": "skipped"}
    reason = "The target lacks a capability: faults (the device plugin is ours to break)."
    assert {entry["reason"] for entry in project.results()["checks"]} == {reason}
    assert project.results()["verdict"]["result"] == "inconclusive"
    assert "Nothing was tested." in project.results()["verdict"]["reasons"]
    assert project.junit() == {"test_one": "skipped", "test_two": "skipped", "run": "error"}
    assert summary_of(result.stdout.str())[0] == "INCONCLUSIVE: nothing was tested."
    assert "SKIPPED [1] e2e/test_it.py" in result.stdout.str()


def test_what_a_skipped_check_was_to_have_is_there_for_the_next_one(project: Project) -> None:
    code = '''
@pytest.fixture(scope="session")
def target(pytestconfig): pytestconfig.stash[CAPABILITIES] = frozenset({"registry"})
@pytest.fixture(scope="session")
def dear(target): open("dear", "a").close()
@pytest.fixture
def own(target): return 1

@check("one", needs=["faults"])
def test_one(dear, own):
    """One holds."""
@check("two")
def test_two(own):
    """Two holds."""
@check("three", needs=["registry"])
def test_three(dear, own):
    """Three holds."""
    assert own == 1
'''
    project.run(code)
    assert project.outcomes() == {"one": "skipped", "two": "passed", "three": "passed"}


def test_a_must_without_an_answer_is_inconclusive_though_all_others_passed(project: Project) -> None:
    result = project.run(PASSING + '    pytest.skip("not today")\n')
    assert result.ret == 2
    assert project.results()["verdict"] == {"result": "inconclusive", "reasons": ["two: skipped: not today"]}
    assert project.junit() == {"test_one": "passed", "test_two": "skipped", "run": "error"}
    assert summary_of(result.stdout.str())[0] == "INCONCLUSIVE: 1 of 2 must-checks gave no answer."


PROFILED = PASSING.replace('check("two")', 'check("two", profile="conformance")')


def test_checks_outside_of_the_profile_are_deselected_and_profiles_are_nested(project: Project) -> None:
    result = project.run(PROFILED)
    assert result.ret == 0
    result.assert_outcomes(passed=1, deselected=1)
    assert project.outcomes() == {"one": "passed"}
    assert project.results()["deselected"] == []
    assert project.run(PROFILED, "--profile", "conformance").ret == 0
    assert project.outcomes() == {"one": "passed", "two": "passed"}


def test_a_run_in_which_nothing_is_selected_does_not_exit_0(project: Project) -> None:
    result = project.run(PROFILED, "-k", "two")
    assert result.ret == 5
    assert project.results()["verdict"]["result"] == "inconclusive"
    assert project.junit() == {"run": "error"}


def test_a_choice_on_the_command_line_is_said_beside_the_verdict(project: Project) -> None:
    result = project.run(PASSING, "-k", "one", "--junitxml", "mine/junit.xml")
    assert result.ret == 0
    assert project.results()["deselected"] == ["two"]
    assert summary_of(result.stdout.str())[0] == "PASS: 1 of 1 check passed, 1 left out by the command line."
    assert project.junit("mine/junit.xml") == {"test_one": "passed"}
    assert not (project.path / "results/junit.xml").exists()


def test_what_x_leaves_out_is_not_run(project: Project) -> None:
    result = project.run(PASSING.replace('"""One holds."""', '"""One holds."""\n    assert False, "no"'), "-x")
    assert result.ret == 1
    assert project.outcomes() == {"one": "failed", "two": "not-run"}
    assert project.results()["run"]["state"] == "finished"
    assert project.results()["checks"][1]["reason"] == "pytest stopped: stopping after 1 failures."
    assert project.junit() == {"test_one": "failure", "test_two": "skipped"}


def test_a_target_that_cannot_be_made_ready_ends_the_run_with_one_message(project: Project) -> None:
    code = """
@pytest.fixture(scope="session")
def target():
    raise CannotRun("No engine is running.", "Start Docker.")
@pytest.fixture(autouse=True)
def uses(target): pass
"""
    result = project.run(code + PASSING)
    assert result.ret == 6
    stdout = result.stdout.str()
    assert "Traceback" not in stdout
    assert stdout.count("No engine is running.") == 1
    assert stdout.count("Start Docker.") == 1
    assert project.outcomes() == {"one": "not-run", "two": "not-run"}
    assert project.results()["run"]["state"] == "cannot-run"
    assert project.junit() == {"test_one": "skipped", "test_two": "skipped", "run": "error"}


def test_a_wrong_declaration_ends_the_run_with_a_sentence(project: Project) -> None:
    result = project.run(PASSING.replace('"""Two holds."""', "pass"))
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: The check 'two' of *test_two makes no claim: give it a docstring *"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert project.results()["run"]["state"] == "cannot-run"
    assert project.junit()["run"] == "error"


def test_two_checks_with_one_id_are_refused(project: Project) -> None:
    result = project.run(PASSING.replace('check("two")', 'check("one")'), "-k", "nothing")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: *::test_one and *::test_two both declare the check one: *"])


def test_a_file_that_cannot_be_collected_makes_the_run_inconclusive(project: Project) -> None:
    (project.path / "e2e").mkdir()
    (project.path / "e2e/test_broken.py").write_text("import no_such_module\n")
    (project.path / "e2e/test_gone.py").write_text("import pytest\npytest.skip('x', allow_module_level=True)\n")
    assert project.run(PASSING).ret == 2
    assert project.results()["run"]["state"] == "cannot-run"
    assert project.run(PASSING, "--continue-on-collection-errors").ret == 1
    reasons = project.results()["verdict"]["reasons"]
    assert reasons == [
        "e2e/test_broken.py could not be collected, so its checks are not known.",
        "e2e/test_gone.py skips itself, so its checks are not known.",
    ]
    assert project.outcomes() == {"one": "passed", "two": "passed"}


def test_results_that_cannot_be_written_are_no_pass(project: Project) -> None:
    code = (
        PASSING
        + """
    import shutil
    shutil.rmtree("results")
    open("results", "w").close()
"""
    )
    result = project.run(code)
    assert result.ret == 2
    assert any("results.json could not be written (Not a directory)." in line for line in result.outlines)
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_an_error_inside_pytest_is_no_pass(project: Project) -> None:
    with (project.path / "conftest.py").open("a") as conftest:
        conftest.write("def pytest_runtest_logfinish(): raise RuntimeError('a plugin is broken')\n")
    assert project.run(PASSING).ret == 3
    assert project.outcomes() == {"one": "passed", "two": "not-run"}
    assert project.results()["run"]["state"] == "interrupted"
    assert project.results()["verdict"]["result"] == "inconclusive"
    assert project.junit()["run"] == "error"


def test_tests_that_are_no_checks_are_left_alone(project: Project) -> None:
    (project.path / "tests").mkdir()
    (project.path / "tests/test_unit.py").write_text("def test_unit(): pass\n")
    result = project.run_pytest("tests")
    assert result.ret == 0
    assert "NPU conformance" not in result.stdout.str()
    assert not (project.path / "results").exists()
    project.write(PASSING)
    assert project.run_pytest("e2e", "--collect-only").ret == 0
    assert not (project.path / "results").exists()
