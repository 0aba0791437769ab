"""Defects: what a run with one sees, and what a matrix of them proves or does not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from apiserver import Answer, ApiServer, event, kubeconfig, pod, serving
from projects import PASSING, Project, new_project

from fixtures.apierrors import ApiError, Invalid
from fixtures.checks import Check
from fixtures.client import Client, Object, connect
from fixtures.defects import DEFECTS, GROUPS
from fixtures.defects.cluster import without_limits, without_pods
from fixtures.defects.defect import Asked, Defect, DefectiveClient
from fixtures.defects.matrix import Matrix, outcomes_in, plan
from fixtures.podresources import read_account
from fixtures.record import Record

pytest_plugins = ["pytester"]

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    return new_project(pytester, monkeypatch, tmp_path_factory)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving() as plain:
        yield plain


@pytest.fixture
def client(server: ApiServer, tmp_path: Path) -> Iterator[Client]:
    with connect(kubeconfig(tmp_path, server.url), Record()) as connected:
        yield connected


@pytest.mark.parametrize(
    ("path", "plural"),
    [
        ("/api/v1/namespaces/a/pods", "pods"),
        ("/api/v1/namespaces/a/pods/b", "pods"),
        ("/api/v1/namespaces/a/pods/b/log", "pods/log"),
        ("/api/v1/nodes/b/status", "nodes/status"),
        ("/api/v1/namespaces/a", "namespaces"),
        ("/apis/apps/v1/namespaces/a/deployments", "deployments"),
        ("/apis/scheduling.k8s.io/v1/priorityclasses/b", "priorityclasses"),
    ],
)
def test_a_request_knows_its_resource(path: str, plural: str) -> None:
    assert Asked("GET", path).plural == plural


def test_a_pod_asks_for_nothing_where_npus_are_ignored() -> None:
    body = {"spec": {"containers": [{"name": "c", "resources": {"limits": {"a/npu": "1"}}}], "initContainers": []}}
    asked = without_limits(Asked("POST", PODS, body=body))
    assert asked.body == {"spec": {"containers": [{"name": "c"}], "initContainers": []}}
    assert body["spec"]["containers"][0]["resources"]  # what the check holds is as it was
    other = Asked("GET", f"{PODS}/a")
    assert without_limits(other) is other


def test_a_kubelet_may_name_no_pod() -> None:
    answer = {"pods": {"pod_resources": [{"namespace": "a", "name": "b"}]}, "allocatable": {}}
    assert read_account(without_pods(answer, [])).held == {}


def test_a_check_is_answered_through_the_defect(server: ApiServer, client: Client) -> None:
    def doubled(_: Asked, answer: Object) -> Object:
        return {**answer, "status": {"phase": "Failed"}} if answer.get("kind") == "Pod" else answer

    server.on(f"GET {PODS}/a", pod("a", "Running"))
    server.on(f"WATCH {PODS}", Answer(pieces=[event("MODIFIED", pod("a", "Running"))], then="end"))
    server.on(f"GET {PODS}/a/log", Answer(b"visible npu0\nend\n"))
    defect = Defect("wrong", "is wrong", answer=doubled, seen=lambda line: line.replace(b"npu0", b"npu9"))
    with DefectiveClient(client, defect) as broken:
        assert broken.get(f"{PODS}/a")["status"]["phase"] == "Failed"
        with broken.stream(PODS, query={"watch": "true"}) as watch:
            assert b'"Failed"' in next(watch.lines(time.monotonic() + 10))
        with broken.stream(f"{PODS}/a/log") as log:
            assert list(log.lines(time.monotonic() + 10)) == [b"visible npu9", b"end"]


def test_a_refusal_may_go_unheard_and_a_request_unsent(server: ApiServer, client: Client) -> None:
    status = {"kind": "Status", "status": "Failure", "message": "must be an integer", "reason": "Invalid", "code": 422}
    server.on(f"POST {PODS}", Answer(status=422, body=status))

    def accepted(asked: Asked, _: ApiError) -> Object:
        return dict(asked.body)

    with DefectiveClient(client, Defect("deaf", "hears no refusal", refusal=accepted)) as broken:
        assert broken.create(PODS, pod("a"))["metadata"]["name"] == "a"
    with DefectiveClient(client, Defect("lost", "sends nothing", request=lambda asked: dict(asked.body))) as broken:
        assert broken.create(PODS, pod("b"))["metadata"]["name"] == "b"
    assert len(server.asked_for(f"POST {PODS}")) == 1
    with DefectiveClient(client, Defect("none", "is none")) as broken, pytest.raises(Invalid):
        broken.create(PODS, pod("c"))


def declared(identity: str, *defects: str, level: str = "must") -> Check:
    return Check(identity, level, "It holds.", "conformance", (), "", defects, ())  # type: ignore[arg-type]


ONE, TWO = Defect("one", "first"), Defect("two", "second")


def matrix(outcomes: dict[str, dict[str, str]], *checks: Check) -> Matrix:
    return Matrix({check.id: check for check in checks}, {"one": ONE, "two": TWO}, ["green"], outcomes)


CHECKS = (declared("a", "one"), declared("b", "one", "two"), declared("green", "two", level="should"))
PROOF = {"one": {"a": "failed", "b": "failed", "green": "passed"}, "two": {"b": "failed", "green": "failed"}}


def test_a_matrix_in_which_each_catches_its_own_is_a_proof() -> None:
    proven = matrix(PROOF, *CHECKS)
    assert proven.problems() == []
    assert proven.caught_by("one") == ["a", "b"]
    assert plan(CHECKS, ["one", "two"], ["green"]) == {"one": ["a", "b", "green"], "two": ["b", "green"]}
    page = proven.as_markdown()
    assert "| `one` | first | a, b |" in page
    assert "| `b` | must | one, two |" in page
    assert proven.as_json()["defects"][1]["caught_by"] == ["b", "green"]


@pytest.mark.parametrize(
    ("changed", "checks", "problem"),
    [
        ({"one": {**PROOF["one"], "a": "passed"}}, CHECKS, "The check a does not catch one: it is passed with it."),
        ({"one": {**PROOF["one"], "a": "error"}}, CHECKS, "No defect makes the must-check a fail."),
        ({"one": {**PROOF["one"], "green": "failed"}}, CHECKS, "The defect one is none of green's, which is failed"),
        ({"two": {"green": "failed"}}, CHECKS, "The check b does not catch two: it is not run with it."),
        ({}, (*CHECKS, declared("c")), "No defect makes the must-check c fail."),
        ({}, (*CHECKS, declared("d", "three", level="should")), "names a defect three that is not there."),
        ({}, (declared("a", "one"), declared("green")), "No check says that it catches the defect two."),
    ],
)
def test_what_keeps_a_matrix_from_being_a_proof(
    changed: dict[str, dict[str, str]], checks: tuple[Check, ...], problem: str
) -> None:
    assert any(problem in found for found in matrix({**PROOF, **changed}, *checks).problems())


def test_outcomes_are_read_back_as_they_were_written() -> None:
    unproven = matrix({**PROOF, "two": {"b": "passed", "green": "failed"}}, *CHECKS)
    assert outcomes_in(json.dumps(unproven.as_json())) == unproven.outcomes
    assert [bool(unproven.problems_of(name)) for name in ("one", "two")] == [False, True]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2, "defects": []}', '{"format": 1, "defects": [{}]}'])
def test_outcomes_that_nothing_of_ours_has_written_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        outcomes_in(text)


def test_no_two_defects_have_one_name() -> None:
    assert len(DEFECTS) == sum(len(group.DEFECTS) for group in GROUPS)


def test_names_of_defects_are_words_and_say_what_is_wrong() -> None:
    for name, defect in DEFECTS.items():
        assert name == defect.name
        assert name.replace("-", "").isalnum()
        assert defect.text
        assert not defect.text.endswith(".")


def test_a_run_with_a_defect_is_never_a_pass(project: Project) -> None:
    ended = project.run(PASSING, "--defect", "podresources-empty")
    assert ended.ret == 2
    assert project.results()["verdict"]["result"] == "inconclusive"
    ended.stdout.fnmatch_lines(["*deliberate defect podresources-empty: it says nothing of the product.*"])


def test_a_defect_that_is_not_there_is_refused_with_the_nearest(project: Project) -> None:
    ended = project.run(PASSING, "--defect", "podresources-emty")
    assert ended.ret == 4
    ended.stderr.fnmatch_lines(["*there is no defect 'podresources-emty'; there are podresources-empty*"])
