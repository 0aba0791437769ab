"""Versions that have a defect of Kubernetes' own, and what such a defect excuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from projects import Project, new_project

from fixtures.errors import HarnessError
from fixtures.upstream import is_within, known_upstream

pytest_plugins = ["pytester"]
NUMBERS = st.integers(0, 99)
VERSIONS = st.tuples(NUMBERS, NUMBERS, NUMBERS)


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    return new_project(pytester, monkeypatch, tmp_path_factory)


@pytest.mark.parametrize(
    ("versions", "within", "outside"),
    [
        ("1.36..1.37", "1.36.0 1.36.9 1.37.0 1.37.12", "1.35.9 1.38.0 2.36.0"),
        ("1.36.1..1.36.4", "1.36.1 1.36.4", "1.36.0 1.36.5 1.37.2"),
        ("1.36.1..1.37", "1.36.1 1.37.99", "1.36.0 1.38.0"),
        ("1.36.1..1.36", "1.36.1 1.36.99", "1.36.0 1.37.0"),
        ("1.36..", "1.36.0 1.99.0 2.0.0", "1.35.99 0.99.0"),
        ("..1.35", "0.1.0 1.35.99", "1.36.0 2.0.0"),
        ("1.37", "1.37.0 1.37.99", "1.36.99 1.38.0"),
        ("1.37.2", "1.37.2", "1.37.1 1.37.3 1.37.22"),
        ("1.9..1.10", "1.9.0 1.10.0", "1.8.9 1.11.0"),
    ],
)
def test_versions_are_compared_by_number_with_both_ends_included(versions: str, within: str, outside: str) -> None:
    for seen in within.split():
        assert is_within(f"v{seen}", versions), seen
        assert is_within(f"{seen}-aliyun.1", versions), seen
        assert is_within(f"v{seen}+k3s1", versions), seen
    for seen in outside.split():
        assert not is_within(f"v{seen}", versions), seen


@given(VERSIONS, VERSIONS, VERSIONS)
def test_a_range_holds_what_is_between_its_ends(
    seen: tuple[int, int, int], first: tuple[int, int, int], last: tuple[int, int, int]
) -> None:
    first, last = sorted((first, last))
    said = ["{}.{}.{}".format(*version) for version in (seen, first, last)]
    assert is_within(said[0], f"{said[1]}..{said[2]}") == (first <= seen <= last)


@pytest.mark.parametrize("versions", ["", "..", "1", "1..2", "v1.36..1.37", "1.36-1.37", "1.36...1.37", "1.36 ..1.37"])
def test_what_is_no_range_is_refused(versions: str) -> None:
    with pytest.raises(ValueError, match="is not a range of versions such as"):
        is_within("1.37.2", versions)


@pytest.mark.parametrize("versions", ["1.37..1.36", "1.36.4..1.36.1", "1.37.1..1.36"])
def test_a_range_that_ends_before_it_begins_is_refused(versions: str) -> None:
    with pytest.raises(ValueError, match="ends before it begins"):
        is_within("1.37.2", versions)


@pytest.mark.parametrize("seen", ["", "1.37", "v1.37.x", "unknown", "1.37.2.1"])
def test_what_is_no_version_is_an_error_of_the_harness(seen: str) -> None:
    with pytest.raises(HarnessError, match="is not a version of Kubernetes"):
        is_within(seen, "1.36..1.37")


@pytest.mark.parametrize(
    ("issue", "versions", "sentence"),
    [
        ("flaky", "1.36..1.37", "names no issue"),
        ("see kubernetes/kubernetes#1", "1.36..1.37", "names no issue"),
        ("kubernetes/kubernetes#1", "1.36..", "has no end: name the last version"),
    ],
)
def test_an_excuse_without_an_issue_or_an_end_is_refused_before_anything_runs(
    issue: str, versions: str, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence), known_upstream(issue, versions, seen="1.37.2"):
        raise RuntimeError("the block ran")


CODE = """
from fixtures.upstream import known_upstream
ISSUE, SPOILED, FIXED = "kubernetes/kubernetes#1", "v1.37.2", "v1.38.0"

@check("known-upstream-assertion")
def test_assertion():
    '''It is known.'''
    with known_upstream(ISSUE, "1.36..1.37", seen=SPOILED):
        assert 1 == 2, "one is not two"

@check("known-upstream-product")
def test_product():
    '''It is known.'''
    with known_upstream(ISSUE, "1.36..1.37", seen=SPOILED):
        blames_product()

@check("known-upstream-group")
def test_group():
    '''It is known.'''
    with known_upstream(ISSUE, "1.36..1.37", seen=SPOILED):
        raise ExceptionGroup("both", [AssertionError("a"), ProductError("b", "c")])

@check("failed-fixed")
def test_fixed():
    '''It fails.'''
    with known_upstream(ISSUE, "1.36..1.37", seen=FIXED):
        assert 1 == 2, "one is not two"

@check("failed-outside-of-the-block")
def test_outside():
    '''It fails.'''
    with known_upstream(ISSUE, "1.36..1.37", seen=SPOILED):
        pass
    assert 1 == 2

@check("error-harness")
def test_harness():
    '''It errs.'''
    with known_upstream(ISSUE, "1.36..1.37", seen=SPOILED):
        blames_harness()

@check("error-bug")
def test_bug():
    '''It errs.'''
    with known_upstream(ISSUE, "1.36..1.37", seen=SPOILED):
        {}["x"]

@check("error-group")
def test_mixed_group():
    '''It errs.'''
    with known_upstream(ISSUE, "1.36..1.37", seen=SPOILED):
        raise ExceptionGroup("both", [AssertionError("a"), KeyError("x")])

@check("error-version")
def test_version():
    '''It errs.'''
    with known_upstream(ISSUE, "1.36..1.37", seen=""):
        assert False

@check("passed")
def test_passed():
    '''It passes.'''
    with known_upstream(ISSUE, "1.36..1.37", seen=SPOILED):
        pass
"""


def test_only_what_blames_the_product_is_excused_and_only_in_its_versions(project: Project) -> None:
    assert project.run(CODE).ret == 1
    outcomes = project.outcomes()
    assert len(outcomes) == 10
    for identity, outcome in outcomes.items():
        assert identity == outcome or identity.startswith(f"{outcome}-"), identity
    entries = {entry["id"]: entry for entry in project.results()["checks"]}
    excuse = "kubernetes/kubernetes#1, Kubernetes 1.36..1.37: "
    assert entries["known-upstream-assertion"]["reason"] == f"{excuse}one is not two"
    assert entries["known-upstream-product"]["reason"] == f"{excuse}The pod ended with 1. More."
    assert entries["failed-fixed"]["reason"] == "one is not two"


def test_runxfail_makes_no_excuses(project: Project) -> None:
    project.run(CODE, "--runxfail")
    assert {entry["outcome"] for entry in project.results()["checks"]} == {"failed", "error", "passed"}
