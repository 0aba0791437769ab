"""The states of an object over a while: none is missed, and the end does not come before the newest is there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from apiserver import Answer, ApiServer, event, kubeconfig, listed, pod, refusal, serving

from fixtures import history as history_module
from fixtures.client import Client, Forbidden, UnreachableError, connect, path_of
from fixtures.errors import HarnessError
from fixtures.history import history_of, stays
from fixtures.record import Record
from fixtures.wait import WaitFailed, phase

PODS = "/api/v1/namespaces/default/pods"
POD = path_of("Pod", "default", "a")
EVENTS = "/api/v1/namespaces/default/events"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving() as plain:
        plain.on(f"GET {EVENTS}", listed("1", kind="Event"))
        yield plain


@pytest.fixture
def client(server: ApiServer, tmp_path: Path) -> Iterator[Client]:
    with connect(kubeconfig(tmp_path, server.url), Record()) as connected:
        connected.first_pause = 0.001
        yield connected


def test_a_history_has_every_state_that_passes_by(server: ApiServer, client: Client) -> None:
    states = [pod(version="1"), pod(phase="Running", version="2"), pod(version="3"), pod(phase="Failed", version="4")]
    server.on(f"GET {PODS}", listed("1", states[0]))
    server.on(f"WATCH {PODS}", Answer(pieces=[event("MODIFIED", state) for state in states[1:]], then="hold"))
    server.on(f"GET {POD}", states[0], states[3])
    with history_of(client, POD) as history:
        pass
    assert [state["status"]["phase"] for _, state in history.states] == ["Pending", "Running", "Pending", "Failed"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("history of")]


def test_a_history_has_what_who_asks_is_told_too(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("1", pod(version="1")))
    server.on(f"WATCH {PODS}", Answer(pieces=[], then="hold"))
    server.on(f"GET {POD}", pod(version="1"), pod(phase="Running", version="1"))
    with history_of(client, POD) as history:
        pass
    assert [state["status"]["phase"] for _, state in history.states] == ["Pending", "Running"]


def test_a_history_asks_anew_for_a_state_that_was_replaced_between_a_watch_and_a_list(
    server: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "ASK_SECONDS", 0.05)
    server.on(f"GET {PODS}", listed("1", pod(version="1")), listed("3", pod(version="3")))
    server.on(f"WATCH {PODS}", Answer(pieces=[], then="end"), Answer(pieces=[], then="hold"))
    server.on(f"GET {POD}", pod(version="1"), pod(version="2"), pod(version="3"))
    with history_of(client, POD) as history:
        pass
    assert [state["metadata"]["resourceVersion"] for _, state in history.states] == ["1", "3"]


def test_a_history_that_does_not_come_to_the_newest_state_is_an_error(
    server: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "CAUGHT_UP_SECONDS", 0.1)
    monkeypatch.setattr(history_module, "ASK_SECONDS", 0.05)
    server.on(f"GET {PODS}", listed("1", pod(version="1")))
    server.on(f"WATCH {PODS}", Answer(pieces=[], then="hold"))
    server.on(f"GET {POD}", pod(version="1"), pod(version="2"))
    with pytest.raises(HarnessError, match="has not brought its newest state"), history_of(client, POD):
        pass


def test_a_watch_that_is_forbidden_ends_a_history(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", refusal(403, "Forbidden", "pods is forbidden"))
    server.on(f"GET {POD}", pod(version="1"))
    with pytest.raises(Forbidden), history_of(client, POD):
        pytest.fail("the block has begun")


def test_an_error_of_the_block_is_the_one_that_is_raised(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("1", pod(version="1")))
    server.on(f"WATCH {PODS}", Answer(pieces=[], then="hold"))
    server.on(f"GET {POD}", pod(version="1"), pod(version="never"))
    with pytest.raises(KeyError, match="own"), history_of(client, POD):
        raise KeyError("own")


def test_what_stays_true_is_returned_after_its_time(server: ApiServer, client: Client) -> None:
    server.on(
        f"GET {PODS}", listed("1", pod(phase="Running", version="1")), listed("2", pod(phase="Running", version="2"))
    )
    again = pod(phase="Running", version="2")
    server.on(f"WATCH {PODS}", Answer(pieces=[event("MODIFIED", again)], then="hold"))
    found = stays(client, "a to run", POD, phase("Running"), seconds=0.3)
    assert found["metadata"]["resourceVersion"] == "2"
    (wait,) = client.record.waits
    assert wait.outcome == "met"
    assert wait.seconds >= 0.3


@pytest.mark.parametrize(
    "change", [event("MODIFIED", pod(phase="Failed", version="2")), event("DELETED", pod(version="2"))]
)
def test_what_does_not_stay_true_is_told_at_once(server: ApiServer, client: Client, change: bytes) -> None:
    server.on(f"GET {PODS}", listed("1", pod(phase="Running", version="1")))
    server.on(f"WATCH {PODS}", Answer(pieces=[change], then="hold"))
    with pytest.raises(WaitFailed, match="there should be a to run; after 0"):
        stays(client, "a to run", POD, phase("Running"), seconds=60)
    assert [wait.outcome for wait in client.record.waits] == ["failed"]


def test_another_object_of_the_same_name_does_not_count(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("1", pod(phase="Running", version="1", uid="u2")))
    with pytest.raises(WaitFailed, match="absent"):
        stays(client, "a to run", POD, phase("Running"), seconds=60, uid="u1")


def test_an_api_server_that_says_nothing_lets_nothing_be_true(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", Answer(status=0))
    client.attempts = 2
    with pytest.raises(UnreachableError):
        stays(client, "a to run", POD, lambda _: True, seconds=0.05)


def test_what_a_lost_watch_did_not_tell_is_found_at_the_end(server: ApiServer, client: Client) -> None:
    running, failed = pod(phase="Running", version="1"), pod(phase="Failed", version="2")
    server.on(f"GET {PODS}", listed("1", running), listed("2", failed))
    server.on(f"WATCH {PODS}", Answer(pieces=[], then="hold"))
    with pytest.raises(WaitFailed, match="Failed"):
        stays(client, "a to run", POD, phase("Running"), seconds=0.2)
