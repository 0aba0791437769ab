"""Checks: what a test function can declare, what it cannot, and what a collection of them may hold."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.checks import CAPABILITIES, ID, Check, Profile, check, check_of, missing_capabilities, require_declared
from fixtures.options import PROFILES

pytest_plugins = ["pytester"]

SUITE = '''
import pytest
from fixtures.checks import check

@check(
    "alloc-exclusive",
    profile="conformance",
    level="should",
    needs=["registry", "faults"],
    source="k8s 1.37.2 devicemanager/manager.go:581",
    defects=["same-device-twice", "leaks-devices"],
    verbs=["pods: create get", "nodes/status: patch", "deployments.apps/scale: update"],
)
def test_two_pods():
    """Two pods get different NPUs.

    More for the reader.
    """

@check("alloc-one")
def test_one_pod():
    """A pod gets its NPU."""
'''


def test_a_check_says_what_it_proves(pytester: pytest.Pytester) -> None:
    first, second = pytester.getitems(SUITE)
    declared = check_of(first)
    claim = "Two pods get different NPUs."
    assert declared == Check(
        id="alloc-exclusive",
        level="should",
        claim=claim,
        profile="conformance",
        needs=("faults", "registry"),
        source="k8s 1.37.2 devicemanager/manager.go:581",
        defects=("leaks-devices", "same-device-twice"),
        verbs=("deployments.apps/scale: update", "nodes/status: patch", "pods: create get"),
    )
    assert check_of(second) == Check("alloc-one", "must", "A pod gets its NPU.", "documented", ())
    require_declared([first, second], pytester.path)


@pytest.mark.parametrize(
    ("profile", "run_by"),
    [
        ("documented", {"documented", "conformance", "release"}),
        ("conformance", {"conformance", "release"}),
        ("slow", {"slow", "release"}),
    ],
)
def test_a_profile_of_a_run_holds_the_checks_of_some_profiles(profile: Profile, run_by: set[str]) -> None:
    declared = Check("a", "must", "B.", profile)
    assert {chosen for chosen in PROFILES if declared.is_in(chosen)} == run_by


def test_every_check_is_run_by_some_profile_and_all_by_the_release() -> None:
    assert set().union(*PROFILES.values()) == PROFILES["release"] == set(get_args(Profile))


@pytest.mark.parametrize(
    ("identity", "docstring", "options", "sentence"),
    [
        ("Alloc", "A.", {}, "has an id that is not lower-case words"),
        ("alloc_one", "A.", {}, "has an id that is not lower-case words"),
        ("alloc--one", "A.", {}, "has an id that is not lower-case words"),
        ("", "A.", {}, "has an id that is not lower-case words"),
        ("a", None, {}, "makes no claim: give it a docstring"),
        ("a", "  \n\n", {}, "makes no claim: give it a docstring"),
        ("a", "No full stop", {}, "does not end with a full stop"),
        ("a", "A.", {"level": "may"}, "has the level 'may', which is not one of must, should."),
        ("a", "A.", {"profile": "all"}, "has the profile 'all', which is not one of documented, conformance, slow."),
        ("a", "A.", {"profile": "release"}, "has the profile 'release', which is not one of documented, "),
        ("a", "A.", {"needs": ["faults", "gold"]}, "needs gold: not among admin, "),
        ("a", "A.", {"needs": "faults"}, "needs the text 'faults': give a collection of words."),
        ("a", "A.", {"defects": "leaks"}, "has the text 'leaks' for defects: give a collection of names."),
        ("a", "A.", {"defects": ["leaks", "Leaks"]}, "has the defect 'Leaks', which is not lower-case words"),
        ("a", "A.", {"verbs": "pods: get"}, "has the text 'pods: get' for verbs: give a collection of texts"),
        ("a", "A.", {"verbs": ["pods"]}, "has the verbs 'pods', which is not RESOURCE[.GROUP][/SUBRESOURCE]: VERB…."),
        ("a", "A.", {"verbs": ["Pods: get"]}, "has the verbs 'Pods: get', which is not RESOURCE"),
        ("a", "A.", {"verbs": ["pods/: get"]}, "has the verbs 'pods/: get', which is not RESOURCE"),
        ("a", "A.", {"verbs": ["pods: "]}, "has the verbs 'pods: ': '' is not among get, list, "),
        ("a", "A.", {"verbs": ["pods: get, list"]}, "has the verbs 'pods: get, list': 'get,' is not among get, list, "),
        ("a", "A.", {"verbs": ["pods: get get"]}, "has the verbs 'pods: get get', which says something twice."),
        ("a", "A.", {"verbs": ["pods: get", "pods: list"]}, "has the verbs 'pods: list', which says something twice."),
    ],
)
def test_a_wrong_declaration_is_refused_with_a_sentence(
    identity: str, docstring: str | None, options: dict[str, Any], sentence: str
) -> None:
    def test_it() -> None: ...

    test_it.__doc__ = docstring
    with pytest.raises(pytest.UsageError) as caught:
        check(identity, **options)(test_it)
    assert sentence in str(caught.value)
    assert "test_it" in str(caught.value)


@given(st.from_regex(ID, fullmatch=True))
def test_an_id_is_a_file_name_and_a_word_of_a_command_line(identity: str) -> None:
    assert identity.isascii()
    assert identity == identity.lower()
    assert not set(identity) & set("/. \n_")
    assert not identity.startswith("-")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"alloc-one"', '"alloc-exclusive"', "both declare the check alloc-exclusive"),
        ('@check("alloc-one")', "", "test_one_pod declares no check"),
        ('@check("alloc-one")', '@pytest.mark.check("alloc-one")', "test_one_pod declares no check"),
        (
            '@check("alloc-one")\ndef test_one_pod()',
            '@pytest.mark.parametrize("n", [1, 2])\n@check("alloc-one")\ndef test_one_pod(n)',
            "is one of several of the check alloc-one, and a check has one outcome",
        ),
    ],
)
def test_a_collection_that_is_no_set_of_checks_is_refused(
    pytester: pytest.Pytester, old: str, new: str, sentence: str
) -> None:
    assert old in SUITE
    items = pytester.getitems(SUITE.replace(old, new))
    with pytest.raises(pytest.UsageError, match=sentence):
        require_declared(items, pytester.path)


def test_tests_of_other_folders_need_not_be_checks(pytester: pytest.Pytester) -> None:
    require_declared(pytester.getitems("def test_unit(): pass"), pytester.path / "e2e")


def test_a_target_that_lacks_something_is_told_what_it_means() -> None:
    declared = Check("a", "must", "B.", "documented", ("cloud", "faults"))
    assert missing_capabilities(declared, ["faults", "cloud", "registry"]) == ""
    said = missing_capabilities(declared, ["faults"])
    assert said == f"The target lacks a capability: cloud ({CAPABILITIES['cloud']})."
    assert missing_capabilities(declared, []).startswith("The target lacks capabilities: cloud (")
