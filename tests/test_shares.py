"""NPUs that checks take and give back: never more than there are, first come first served, freed by a death too."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import threading
import time
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from fixtures.record import Record
from fixtures.shares import node_taken, npus_of_one_taken, npus_taken, one_node_taken, one_of_each_taken

CAPACITY = {"one": 2, "two": 2}


NPU = "aliyun.com/npu"


def taken(folder: Path, resource: str = NPU, /, **wanted: int) -> AbstractContextManager[None]:
    return npus_taken(folder, resource, wanted, CAPACITY)


class Asker:
    """Takes in a thread of its own; `has` is set once it has what it wants."""

    def __init__(self, share: AbstractContextManager[object]) -> None:
        self.has, self.enough = threading.Event(), threading.Event()

        def ask() -> None:
            with share:
                self.has.set()
                assert self.enough.wait(30)

        self.thread = threading.Thread(target=ask, daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.enough.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


def waits(share: AbstractContextManager[object]) -> bool:
    """Whether it cannot be had now; it is given back as soon as it can."""
    asker = Asker(share)
    asker.enough.set()
    return not asker.has.wait(0.2)


def test_a_node_gives_no_more_npus_than_it_has(tmp_path: Path) -> None:
    with taken(tmp_path, one=1), taken(tmp_path, one=1):
        third = Asker(taken(tmp_path, one=1))
        assert not third.has.wait(0.3)
        with taken(tmp_path, two=2):
            pass
    began = time.monotonic()
    assert third.has.wait(30)
    assert time.monotonic() - began < 0.9  # told, and not only found at the next look
    third.end()


def test_who_came_first_is_served_first(tmp_path: Path) -> None:
    with taken(tmp_path, one=1):
        both = Asker(taken(tmp_path, one=2))
        assert not both.has.wait(0.2)
        single = Asker(taken(tmp_path, one=1))  # there is one free, and it is meant for who came before
        assert not single.has.wait(0.3)
    assert both.has.wait(30)
    assert not single.has.wait(0.2)
    both.end()
    assert single.has.wait(30)
    single.end()


def test_a_whole_node_waits_for_its_npus_and_they_for_it(tmp_path: Path) -> None:
    with taken(tmp_path, one=1):
        whole = Asker(node_taken(tmp_path, "one"))
        assert not whole.has.wait(0.2)
        late = Asker(taken(tmp_path, one=1))
        assert not late.has.wait(0.2)
    assert whole.has.wait(30)
    assert not late.has.wait(0.2)
    whole.end()
    assert late.has.wait(30)
    late.end()


def test_takers_of_several_nodes_do_not_block_one_another_for_ever(tmp_path: Path) -> None:
    askers = [Asker(taken(tmp_path, **wanted)) for wanted in ({"one": 2, "two": 1}, {"two": 2, "one": 1}) * 5]
    for asker in askers:
        asker.enough.set()
    for asker in askers:
        asker.end()
        assert asker.has.is_set()


def test_one_of_each_waits_for_a_node_that_is_away_and_has_it_when_it_is_back(tmp_path: Path) -> None:
    there = {"one": 2}
    has: list[list[str]] = []

    def ask() -> None:
        with one_of_each_taken(tmp_path, NPU, lambda: dict(there)) as nodes:
            has.append(nodes)
            assert waits(node_taken(tmp_path, "two"))

    asker = threading.Thread(target=ask, daemon=True)
    with node_taken(tmp_path, "two"):  # and it was removed meanwhile
        asker.start()
        asker.join(0.3)
        assert not has
        there["two"] = 2
    asker.join(30)
    assert has == [["one", "two"]]


def test_one_of_each_has_a_node_that_joins_while_it_waits(tmp_path: Path) -> None:
    answers = iter([{"one": 2}, {"one": 2, "new": 1}])
    with one_of_each_taken(tmp_path, NPU, lambda: next(answers, {"one": 2, "new": 1})) as nodes:
        assert nodes == ["new", "one"]
        for node in nodes:
            assert waits(node_taken(tmp_path, node))


def test_nobody_waits_in_a_circle(tmp_path: Path) -> None:
    def takers() -> list[AbstractContextManager[object]]:
        each = one_of_each_taken(tmp_path, NPU, lambda: CAPACITY)
        return [
            each,
            taken(tmp_path, one=2),
            node_taken(tmp_path, "one"),
            taken(tmp_path, two=2),
            taken(tmp_path, one=1, two=1),
            node_taken(tmp_path, "two"),
        ]

    askers = [Asker(taker) for _ in range(5) for taker in takers()]
    for asker in askers:
        asker.enough.set()
    for asker in askers:
        asker.end()
        assert asker.has.is_set()


def _hold(folder: Path, told: Connection) -> None:
    with taken(folder, one=2):
        told.send("mine")
        time.sleep(60)


def test_what_a_killed_process_held_is_free_again(tmp_path: Path) -> None:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(tmp_path, there))
    process.start()
    assert here.poll(30)
    waiting = Asker(taken(tmp_path, one=2))
    assert not waiting.has.wait(0.2)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert waiting.has.wait(10)
    waiting.end()


def test_more_than_a_node_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one has 2 NPUs, and 3 are wanted"), taken(tmp_path, one=3):
        pass
    with pytest.raises(ValueError, match="three has 0"), npus_taken(tmp_path, NPU, {"three": 1}, CAPACITY):
        pass


def test_time_in_line_is_noted_as_the_checks(tmp_path: Path) -> None:
    record = Record(check="alloc-basic")
    first = Asker(node_taken(tmp_path, "one"))
    assert first.has.wait(10)
    threading.Timer(0.05, first.end).start()
    with record.in_line(taken(tmp_path, one=1)):
        assert record.queued["alloc-basic"] >= 0.04
    first.thread.join()


def test_the_devices_of_another_resource_are_no_matter(tmp_path: Path) -> None:
    with taken(tmp_path, one=2), taken(tmp_path, "npu.test/npu", one=2):
        whole = Asker(node_taken(tmp_path, "one"))
        assert not whole.has.wait(0.1)
    assert whole.has.wait(10)
    whole.end()


def test_the_first_node_that_is_free_is_taken_whole(tmp_path: Path) -> None:
    nodes = ["one", "two"]
    with one_node_taken(tmp_path, nodes) as first, one_node_taken(tmp_path, nodes) as second:
        assert [first, second] == nodes
        third = Asker(one_node_taken(tmp_path, nodes))
        assert not third.has.wait(0.3)
    assert third.has.wait(30)
    third.end()
    with taken(tmp_path, one=1), one_node_taken(tmp_path, nodes) as left:
        assert left == "two"


def test_nobody_gets_before_those_who_wait_for_a_whole_node(tmp_path: Path) -> None:
    with taken(tmp_path, one=1):
        waits = Asker(node_taken(tmp_path, "one"))
        deadline = time.monotonic() + 30
        while _is_free(tmp_path / "one" / "queue"):
            assert time.monotonic() < deadline
        with npus_of_one_taken(tmp_path, NPU, 1, CAPACITY) as other:  # "one" has an NPU left
            assert other == "two"
    assert waits.has.wait(30)
    waits.end()


def _is_free(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_npus_are_had_of_the_first_node_that_has_them_free(tmp_path: Path) -> None:
    def one_of(count: int | None) -> AbstractContextManager[str]:
        return npus_of_one_taken(tmp_path, NPU, count, CAPACITY)

    with one_of(1) as first, one_of(2) as second, one_of(1) as third:
        assert [first, second, third] == ["one", "two", "one"]
        all_of_one = Asker(one_of(None))
        assert not all_of_one.has.wait(0.3)
    assert all_of_one.has.wait(30)
    with one_of(None) as other:
        assert other == "two"
    all_of_one.end()


def test_what_was_not_enough_is_given_back_at_once(tmp_path: Path) -> None:
    with taken(tmp_path, one=1), npus_of_one_taken(tmp_path, NPU, 2, CAPACITY) as node, taken(tmp_path, one=1):
        assert node == "two"
