"""Which checks a run takes: by id, profile, level and capability; and the list of them."""

from __future__ import annotations

import pytest
from projects import PASSING, Project, new_project

pytest_plugins = ["pytester"]
LEVELS = (
    PASSING.replace('check("two")', 'check("two", profile="conformance")')
    + '''
@check("three-slow", profile="slow", level="should", needs=["own-cluster"])
def test_three():
    """Three holds."""
'''
)


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    return new_project(pytester, monkeypatch, tmp_path_factory)


def test_check_chooses_by_id_whatever_the_profile(project: Project) -> None:
    assert project.run(LEVELS, "--check", "two", "--check=three-slow").ret == 0
    assert project.outcomes() == {"two": "passed", "three-slow": "passed"}
    assert project.results()["deselected"] == ["one"]
    assert project.results()["verdict"]["reasons"] == ["1 check of the profile left out by the command line."]
    assert project.run(LEVELS, "--check", "two", "-k", "one").ret == 5


@pytest.mark.parametrize(
    ("said", "guess"),
    [
        ("three", "'three'; did you mean three-slow?"),
        ("three-slwo", "'three-slwo'; did you mean three-slow?"),
        ("x", "'x'; `--profile release --list` names them all."),
        ("", "''; `--profile release --list` names them all."),
    ],
)
def test_an_unknown_id_is_a_usage_error_that_names_the_nearest(project: Project, said: str, guess: str) -> None:
    result = project.run(LEVELS, "--check", "one", "--check", said)
    assert result.ret == 4
    assert f"ERROR: --check: there is no check {guess}" in result.errlines
    assert set(project.outcomes().values()) == {"not-run"}
    assert project.results()["verdict"]["result"] == "inconclusive"


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [("must", ["one", "two"]), ("not must", ["three-slow"]), ("own-cluster", ["three-slow"]), ("documented", ["one"])],
)
def test_m_knows_levels_profiles_and_capabilities(project: Project, expression: str, chosen: list[str]) -> None:
    result = project.run(LEVELS, "--strict-markers", "--profile", "release", "-m", expression)
    assert result.ret == 0
    assert list(project.outcomes()) == chosen


def test_list_names_the_chosen_checks_and_nothing_else(project: Project) -> None:
    ran = """
@pytest.fixture(scope="session", autouse=True)
def target(): raise CannotRun("No engine is running.", "Start Docker.")
"""
    for options, lines in {
        (): ["one  must    One holds."],
        ("--profile=release", "-v"): [
            "one         must    One holds.",
            "two         must    Two holds.",
            "three-slow  should  Three holds.",
        ],
        ("--check=two",): ["two  must    Two holds."],
        ("--profile=release", "-m", "own-cluster"): ["three-slow  should  Three holds."],
    }.items():
        result = project.run(ran + LEVELS, "--list", *options)
        assert result.ret == 0
        assert [line for line in result.outlines if line] == lines
        assert not result.errlines
    assert project.run(LEVELS, "--list", "-k", "nothing").ret == 5
    assert not (project.path / "results").exists()


def test_list_of_what_is_no_set_of_checks_fails_and_says_why(project: Project) -> None:
    result = project.run(LEVELS.replace('check("one")', 'check("three-slow")'), "--list")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: * both declare the check three-slow: *"])
    result = project.run(LEVELS + "\nimport no_such_module\n", "--list")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*No module named 'no_such_module'*"])


def test_a_choice_of_checks_where_none_are_asked_for_is_a_usage_error(project: Project) -> None:
    (project.path / "tests").mkdir()
    (project.path / "tests/test_unit.py").write_text("def test_unit(): pass\n")
    project.write(PASSING)
    for option in ("--list", "--check=one"):
        result = project.run_pytest("tests", option)
        assert result.ret == 4
        result.stderr.fnmatch_lines(["ERROR: --check and --list choose among the checks of e2e/: *"])
    result = project.run_pytest("--check=one")
    assert result.ret == 0
    assert project.outcomes() == {"one": "passed"}
    result.assert_outcomes(passed=1, deselected=2)
