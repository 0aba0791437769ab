"""What the API server's answer to a request means for a claim: let in, refused, or no answer to the question."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from apiserver import Answer, ApiServer, refusal, serving
from kubernetes.client import ApiClient, Configuration

from fixtures.client import ApiError, Client, Conflict, Forbidden
from fixtures.dryrun import accepted, causes, dry_run, invalid, refused, unsupported
from fixtures.record import Record

PODS = "/api/v1/namespaces/a/pods"
DENIED = 'pods is forbidden: User "x" cannot create resource "pods" in API group "" in the namespace "a"'
QUOTA = 'pods "p" is forbidden: exceeded quota: q'
WRONG = {
    "kind": "Status",
    "message": 'Pod "p" is invalid',
    "details": {"causes": [{"field": "spec.a", "message": 'Invalid value: "1": must be 2'}, {"field": "spec.b"}]},
}


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving() as found:
        yield found


@pytest.fixture
def client(server: ApiServer) -> Iterator[Client]:
    def log_in() -> ApiClient:
        return ApiClient(Configuration(host=server.url))

    with Client(server.url, Record(), log_in) as found:
        yield found


def test_a_dry_run_asks_that_nothing_is_stored(server: ApiServer, client: Client) -> None:
    server.on(f"POST {PODS}", {"kind": "Pod"})
    server.on(f"PATCH {PODS}/p", {"kind": "Pod"})
    assert dry_run(client, PODS, {}) == accepted(client, PODS, {}) == {"kind": "Pod"}
    dry_run(client, f"{PODS}/p", {}, method="PATCH")
    assert [asked.query for asked in server.asked] == [{"dryRun": "All"}] * 3
    types = [asked.headers["content-type"] for asked in server.asked]
    assert types == ["application/json", "application/json", "application/merge-patch+json"]


def test_what_validation_found_wrong_is_told_by_field(server: ApiServer, client: Client) -> None:
    server.on(f"POST {PODS}", Answer(WRONG, 422))
    error = refused(client, PODS, {})
    assert causes(error) == {("spec.a", invalid("1", "must be 2")), ("spec.b", "")}
    with pytest.raises(AssertionError, match='should be let in, and is refused: Pod "p" is invalid'):
        accepted(client, PODS, {})


def test_a_refusal_by_admission_names_no_field(server: ApiServer, client: Client) -> None:
    server.on(f"POST {PODS}", refusal(403, "Forbidden", QUOTA))
    error = refused(client, PODS, {})
    assert error.message == QUOTA
    assert causes(error) == set()


def test_what_is_let_in_is_not_refused(server: ApiServer, client: Client) -> None:
    server.on(f"POST {PODS}", {"kind": "Pod"})
    with pytest.raises(AssertionError, match=f"POST {PODS} of p should be refused, and is let in"):
        refused(client, PODS, {"metadata": {"name": "p"}})


@pytest.mark.parametrize("judge", [accepted, refused])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(403, "Forbidden", DENIED), Forbidden),
        (refusal(409, "Conflict", "exists"), Conflict),
        (refusal(400, "BadRequest", "no pod"), ApiError),
    ],
)
def test_what_is_no_judgement_of_the_object_is_no_answer(
    judge: Callable[..., object], answer: Answer, kind: type[ApiError], server: ApiServer, client: Client
) -> None:
    server.on(f"POST {PODS}", answer)
    with pytest.raises(kind) as caught:
        judge(client, PODS, {})
    assert caught.value.blames == "harness"


def test_words_of_validation() -> None:
    assert unsupported("x", "cpu", "memory") == 'Unsupported value: "x": supported values: "cpu", "memory"'


def test_a_client_can_be_taken_for_another_user(server: ApiServer, client: Client) -> None:
    server.on(f"POST {PODS}", {"kind": "Pod"})
    with client.impersonating("system:node:a", "system:nodes") as other:
        dry_run(other, PODS, {})
    dry_run(client, PODS, {})
    named = [(one.headers.get("impersonate-user"), one.headers.get("impersonate-group")) for one in server.asked]
    assert named == [("system:node:a", "system:nodes"), (None, None)]
