"""Every check is given out once, whatever the workers do, and nothing waits behind what it need not."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.scheduling import AHEAD, Lane, UnitScheduling


@dataclass(eq=False)
class Worker:
    """What the scheduler sees of a worker process: it is sent indices, and told that no more come."""

    sent: list[int] = field(default_factory=list)
    shutting_down: bool = False

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        assert not self.shutting_down
        self.sent += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    def can_run(self) -> bool:
        """As pytest-xdist's worker: it runs a check once it knows the next one, or that there is none."""
        return len(self.sent) >= AHEAD or (self.shutting_down and bool(self.sent))


def started(scheduling: UnitScheduling, nodeids: list[str]) -> Any:
    worker: Any = Worker()
    scheduling.add_node(worker)
    scheduling.add_node_collection(worker, nodeids)
    scheduling.schedule()
    return worker


@settings(deadline=None)
@given(st.data())
def test_every_check_ends_once_whatever_order_workers_end_and_die_in(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=8))
    units = [[f"{unit}-{number}" for number in range(size)] for unit, size in enumerate(sizes)]
    nodeids = [nodeid for unit in units for nodeid in unit]
    begun: set[str] = set()
    ended: list[str] = []
    ran_by: dict[str, Any] = {}
    number = data.draw(st.integers(0, len(units)))
    alone, others = units[:number], units[number:]
    both_ends, size = data.draw(st.booleans()), data.draw(st.integers(1, 2))
    lane = Lane(size, deque(list(unit) for unit in alone))
    scheduling = UnitScheduling(others, begun.__contains__, from_both_ends=both_ends, lanes=[lane])
    workers = [started(scheduling, nodeids) for _ in range(data.draw(st.integers(1, 3)))]
    deaths = 0
    while len(ended) < len(nodeids):
        able = [worker for worker in workers if worker.can_run()]
        assert able, "every worker waits, and there are checks that were not run"
        worker = data.draw(st.sampled_from(able))
        nodeid = nodeids[worker.sent[0]]
        assert nodeid not in begun
        begun.add(nodeid)
        ran_by[nodeid] = worker
        ended.append(nodeid)
        if data.draw(st.integers(0, 9)) == 0:
            workers.remove(worker)
            assert scheduling.remove_node(worker) == nodeid
            deaths += 1
            workers.append(started(scheduling, nodeids))  # as DSession does
        else:
            scheduling.mark_test_complete(worker, worker.sent.pop(0))
    assert sorted(ended) == sorted(nodeids)
    assert scheduling.tests_finished
    assert not scheduling.has_pending
    assert all(worker.shutting_down for worker in workers)
    for unit in units:
        assert deaths or len({id(ran_by[nodeid]) for nodeid in unit}) == 1
    assert deaths or len({id(ran_by[nodeid]) for unit in alone for nodeid in unit}) <= size


def test_what_takes_what_there_is_one_of_goes_first_in_one_worker() -> None:
    nodeids = ["a", "b", "c", "x", "y", "z"]
    lane = Lane(1, deque([["x"], ["y"], ["z"]]))
    scheduling = UnitScheduling([["a"], ["b"], ["c"]], lambda _: True, lanes=[lane])
    first, second = started(scheduling, nodeids), started(scheduling, nodeids)
    assert [nodeids[index] for index in first.sent] == ["x", "y"]
    assert [nodeids[index] for index in second.sent] == ["a", "c"]
    scheduling.mark_test_complete(second, second.sent.pop(0))
    scheduling.mark_test_complete(second, second.sent.pop(0))
    assert [nodeids[index] for index in second.sent] == ["b"], "z is not its"
    assert second.shutting_down
    assert scheduling.remove_node(first) == "x"
    third = started(scheduling, nodeids)
    assert [nodeids[index] for index in third.sent] == ["z", "y"]


def test_a_worker_that_dies_before_a_check_began_takes_none_with_it() -> None:
    scheduling = UnitScheduling([["a"], ["b"]], began=lambda _: False)
    first = started(scheduling, ["a", "b"])
    assert first.sent == [0, 1]
    assert scheduling.remove_node(first) is None
    assert started(scheduling, ["a", "b"]).sent == [0, 1]


def test_the_longest_go_to_different_workers() -> None:
    nodeids = ["minute", "half", "second", "blink"]
    scheduling = UnitScheduling([[nodeid] for nodeid in nodeids], began=lambda _: True)
    assert [nodeids[index] for index in started(scheduling, nodeids).sent] == ["minute", "blink"]
    assert [nodeids[index] for index in started(scheduling, nodeids).sent] == ["half", "second"]


def test_a_worker_that_does_not_know_the_checks_gets_none() -> None:
    scheduling = UnitScheduling([["a"], ["b"]], began=lambda _: True)
    other = started(scheduling, ["a"])
    assert other.shutting_down
    assert not other.sent
    assert scheduling.nodes == []
    with pytest.raises(KeyError):
        scheduling.remove_node(other)
