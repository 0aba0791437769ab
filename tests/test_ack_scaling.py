"""A node pool grows by one and is what it was, whatever happens in between."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest
from openapi.account import CLUSTER, NPU_TYPE
from openapi.clients import api_of
from openapi.server import FakeOpenApi, Fault

from fixtures.ack import scaling
from fixtures.ack.scaling import grown_pool, put_back
from fixtures.errors import HarnessError

pytest_plugins = ["openapi.fixtures"]


NOTES: list[str] = []


def _pool(fake: FakeOpenApi) -> tuple[int, set[str]]:
    nodes = {node["instance_id"] for node in fake.account.nodes if node["nodepool_id"] == "np-1"}
    return fake.account.pools[0]["scaling_group"]["desired_size"], nodes


def _grown(
    fake: FakeOpenApi, pool: str = "np-1", types: tuple[str, ...] = (NPU_TYPE,)
) -> AbstractContextManager[set[str]]:
    return grown_pool(api_of(fake), CLUSTER, pool, types, note=NOTES.append, poll=0.001)


def test_the_new_node_goes_and_no_other(fake: FakeOpenApi) -> None:
    before = _pool(fake)
    with _grown(fake) as new:
        size, nodes = _pool(fake)
        assert (size, nodes - before[1], len(new)) == (before[0] + 1, new, 1)
    assert _pool(fake) == before
    assert fake.count("DescribeTaskInfo") > 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, AssertionError, HarnessError("It failed.", "Try again.")])
def test_the_pool_goes_back_when_the_check_does_not_go_well(
    fake: FakeOpenApi, error: BaseException | type[BaseException]
) -> None:
    before = _pool(fake)
    with pytest.raises(error if isinstance(error, type) else type(error)), _grown(fake):
        raise error
    assert _pool(fake) == before


def test_an_interrupt_while_it_grows(fake: FakeOpenApi, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _pool(fake)
    follow, told = scaling._Pool._follow, []

    def interrupted(self: object, begun: object, what: str) -> None:
        told.append(what)
        follow(self, begun, what)  # type: ignore[arg-type]
        if len(told) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(scaling._Pool, "_follow", interrupted)
    with pytest.raises(KeyboardInterrupt), _grown(fake):
        pass
    assert _pool(fake) == before


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("OperationDenied.NoStock", "another zone or instance type"),
        ("QuotaExceed.ElasticQuota", "Quota Center"),
        ("Unheard", "aliyun cs GET /tasks/"),
    ],
)
def test_a_task_that_fails_is_explained(fake: FakeOpenApi, code: str, remedy: str) -> None:
    before = _pool(fake)
    fake.account.task_fails = code
    with pytest.raises(HarnessError, match=code) as caught, _grown(fake):
        pass
    assert remedy in caught.value.remedy
    assert _pool(fake) == before


def test_a_task_that_never_ends_has_a_deadline(fake: FakeOpenApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "TASK_SECONDS", 0.02)
    fake.account.task_polls = 10_000
    with pytest.raises(HarnessError, match="has not ended"), _grown(fake):
        pass


def test_a_pool_that_is_scaled_automatically_is_left_alone(fake: FakeOpenApi) -> None:
    fake.account.pools[0]["auto_scaling"]["enable"] = True
    with pytest.raises(HarnessError, match="scaled automatically"), _grown(fake):
        pass
    assert fake.count("ModifyClusterNodePool") == 0


def test_a_pool_that_is_busy_or_of_other_machines_is_left_alone(fake: FakeOpenApi) -> None:
    with pytest.raises(HarnessError, match="not only ecs"), _grown(fake, types=("ecs.c7.large",)):
        pass
    with pytest.raises(HarnessError, match="There is no node pool np-9"), _grown(fake, "np-9"):
        pass
    fake.account.pools[0]["status"]["state"] = "scaling"
    with pytest.raises(HarnessError, match="is scaling, not active"), _grown(fake):
        pass
    assert fake.count("ModifyClusterNodePool") == 0


def test_what_could_not_be_put_back_is_told(fake: FakeOpenApi) -> None:
    with pytest.raises(HarnessError, match="RemoveNodePoolNodes"), _grown(fake):
        fake.faults.append(Fault("denied", "RemoveNodePoolNodes"))


def test_a_connection_that_is_cut_grows_it_only_once(fake: FakeOpenApi) -> None:
    before = _pool(fake)
    fake.faults.append(Fault("reset", "ModifyClusterNodePool", times=1))
    with _grown(fake) as new:
        assert len(new) == 1
    assert _pool(fake) == before


def test_a_run_that_was_killed_leaves_a_note_by_which_the_next_one_puts_it_back(fake: FakeOpenApi) -> None:
    before = _pool(fake)
    NOTES.clear()
    with _grown(fake):
        assert len(NOTES) == 1
    assert NOTES[1:] == [""]
    fake.account.task_polls = 0
    fake.account.task(fake.account.scale("np-1", before[0] + 1))
    assert _pool(fake) != before
    assert put_back(api_of(fake), CLUSTER, NOTES[0], poll=0.001) == "np-1"
    assert _pool(fake) == before


@pytest.mark.parametrize("noted", ["x", "{}", "3", '{"pool": 1, "size": null, "nodes": []}'])
def test_a_note_that_cannot_be_read_is_said(fake: FakeOpenApi, noted: str) -> None:
    with pytest.raises(HarnessError, match="cannot be read"):
        put_back(api_of(fake), CLUSTER, noted)
