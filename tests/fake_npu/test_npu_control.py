"""The control socket's requests and the state that they change: any line has an answer, a refusal changes nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from npu_bench import UNHURRIED, laid_out, plug_in, settings

from fake_npu import control
from fake_npu.faults import Faults
from fake_npu.inventory import Inventory, InventoryError

pytest_plugins = ["npu_fixtures"]


def control_of(folder: Path, **changes: object) -> control.Control:
    inventory = Inventory(settings(folder, **changes))
    return control.Control(inventory, Faults(), lambda: None, lambda: {"not_ready": ""})


def asked(under: control.Control, request: object) -> dict[str, Any]:
    return control.reply(under, json.dumps(request).encode() + b"\n")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(
    ["command", "devices", "health", "count", "fault", "rpc", "kind", "seconds", "code", "message", "extra", "after",
     "calls", "other"]
)  # fmt: skip
values = (
    st.sampled_from(["list", "health", "add", "remove", "fault", "clear", "Healthy", "Unhealthy", "Allocate", "error"])
    | st.sampled_from([["npu0"], ["all"], ["npu9"], {"rpc": "Allocate", "kind": "error"}])
    | json_values
)
requests = st.dictionaries(keys, values | st.dictionaries(keys, values, max_size=4), max_size=4)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return laid_out(tmp_path_factory)


@UNHURRIED
@given(request=requests | json_values)
@example(request={"command": "fault", "fault": {"rpc": "Allocate", "kind": "error", "command": "x"}})
@example(request={"command": "health", "devices": ["npu0"], "health": "Healthy", "event": "x"})
def test_any_request_has_an_answer_and_a_refusal_changes_nothing(shared: Path, request: object) -> None:
    under = control_of(shared)
    before = under.state()
    answer = asked(under, request)
    json.dumps(answer)
    if answer["ok"]:
        assert answer["state"] == under.state()
    else:
        assert answer["error"]
        assert under.state() == before


@pytest.mark.parametrize("line", [b"", b"\n", b"{\n", b"\xff\n", b"[" * 60_000 + b"\n"])
def test_a_line_that_is_no_json_has_an_answer(folder: Path, line: bytes) -> None:
    answer = control.reply(control_of(folder), line)
    assert answer["ok"] is False
    assert answer["error"]


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ([], "a request is a JSON object"),
        ({}, "no command None; there are: list, health, add, remove, fault, clear"),
        ({"command": "list", "all": 1}, "unknown key 'all'; known are: none"),
        ({"command": "health", "devices": ["npu0"]}, "health is missing"),
        ({"command": "health", "devices": ["npu0"], "health": "ill"}, "no health 'ill'; there are: Healthy, Unhealthy"),
        ({"command": "health", "devices": [], "health": "Healthy"}, "devices must be ids, at least one, or all"),
        ({"command": "health", "devices": ["npu7"], "health": "Healthy"}, "no device 'npu7'; there are: npu0, npu1"),
        ({"command": "add", "count": True}, "count = True is of the wrong type"),
        ({"command": "add", "count": 0}, "count must be 1 to 100000"),
        ({"command": "remove", "devices": "npu0"}, "devices = 'npu0' is of the wrong type"),
        ({"command": "clear", "rpc": "Nothing"}, "no call 'Nothing'; there are: GetDevicePluginOptions"),
        ({"command": "fault", "fault": {"rpc": "Allocate"}}, "kind is missing"),
        (
            {"command": "fault", "fault": {"rpc": "Allocate", "kind": "error", "command": "x"}},
            "unknown key 'command'; known are: rpc, kind",
        ),
    ],
)
def test_a_refusal_says_why(folder: Path, request_: object, sentence: str) -> None:
    assert asked(control_of(folder), request_)["error"].startswith(sentence)


def test_one_unknown_id_refuses_all_of_them(folder: Path) -> None:
    under = control_of(folder)
    for request in ({"command": "health", "health": "Unhealthy"}, {"command": "remove"}):
        answer = asked(under, {**request, "devices": ["npu0", "npu9"]})
        assert answer["error"] == "no device 'npu9'; there are: npu0, npu1"
    assert [device["marked"] for device in under.state()["devices"]] == ["Healthy", "Healthy"]  # type: ignore[attr-defined]


def test_a_state_that_cannot_be_kept_is_refused_and_nothing_is_changed(folder: Path) -> None:
    under = control_of(folder)
    (folder / "state" / "plugin").write_text("in the way")
    before, version = under.state(), under.inventory.version
    for request in (
        {"command": "health", "devices": ["npu0"], "health": "Unhealthy"},
        {"command": "add", "count": 1},
        {"command": "remove", "devices": ["npu0"]},
    ):
        assert "cannot be written" in asked(under, request)["error"]
        assert (under.state(), under.inventory.version) == (before, version)


@UNHURRIED
@given(state=json_values | st.fixed_dictionaries(
    {"version": st.just(1)},
    optional={key: json_values | st.lists(st.integers(0, 5)) for key in ("unhealthy", "added", "removed")},
))  # fmt: skip
def test_any_stored_state_is_taken_or_refused_with_a_sentence(shared: Path, state: object) -> None:
    config = settings(shared, resource_name="example.org/stored")
    file = shared / "state" / "plugin" / "example.org_stored.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(state))
    try:
        ids = [device.id for device in Inventory(config).devices()]
    except InventoryError as error:
        ids = [str(error).rpartition(": ")[2]]
        state = {}
    assert len(ids) == len(set(ids))
    assert isinstance(state, dict)
    assert state or ids == ["remove it to start anew"]


@limits(UNHURRIED, max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["add", "remove", "Healthy", "Unhealthy"]), st.integers(0, 5)), max_size=12))
def test_what_was_changed_is_what_the_next_plugin_reads(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, int]]
) -> None:
    folder = laid_out(tmp_path_factory)
    plug_in(settings(folder), 0, 1, 2)
    under = control_of(folder)
    for change, index in changes:
        if change == "add":
            asked(under, {"command": "add", "count": index})
        elif change == "remove":
            asked(under, {"command": "remove", "devices": [f"npu{index}"]})
        else:
            asked(under, {"command": "health", "devices": [f"npu{index}"], "health": change})
    assert control_of(folder).state() == under.state()


def test_everyone_who_waits_for_a_change_is_woken_by_it(folder: Path) -> None:
    async def scene() -> None:
        inventory = Inventory(settings(folder))
        waiting = [asyncio.create_task(inventory.change(inventory.version)) for _ in range(3)]
        await asyncio.sleep(0)
        inventory.touch()
        async with asyncio.timeout(10):
            assert set(await asyncio.gather(*waiting)) == {inventory.version}

    asyncio.run(scene())
