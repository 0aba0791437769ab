"""Which free devices are preferred, whatever is free, and what a container is handed."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from npu_bench import UNHURRIED
from npu_bench import settings as configuration

from fake_npu import allocation
from fake_npu.faults import Fault
from fake_npu.inventory import Device, Health


def device(index: int, numa: int | None = None) -> Device:
    return Device(
        id=f"npu{index}",
        index=index,
        health=Health.HEALTHY,
        marked=Health.HEALTHY,
        present=True,
        numa_node=numa,
        path=f"/dev/npu{index}",
    )


@st.composite
def requests(draw: st.DrawFn) -> tuple[list[Device], list[str], list[str], int]:
    """Devices, and what the kubelet may ask: must be among the available ones, size from those to all of these."""
    nodes = draw(st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=1, max_size=9))
    devices = [device(index, numa) for index, numa in enumerate(nodes)]
    ids = [each.id for each in devices]
    available = draw(st.lists(st.sampled_from(ids), unique=True, min_size=1))
    must = draw(st.lists(st.sampled_from(available), unique=True))
    size = draw(st.integers(len(must), len(available)))
    return devices, available, must, size


@UNHURRIED
@given(requests())
def test_size_subset_and_must(request: tuple[list[Device], list[str], list[str], int]) -> None:
    devices, available, must, size = request
    chosen = allocation.preferred(devices, available, must, size)
    assert len(chosen) == len(set(chosen)) == size
    assert set(must) <= set(chosen) <= set(available)


@settings(UNHURRIED, max_examples=60)
@given(requests())
def test_no_other_choice_has_fewer_numa_nodes(request: tuple[list[Device], list[str], list[str], int]) -> None:
    devices, available, must, size = request
    numa = {each.id: each.numa_node for each in devices}
    chosen = allocation.preferred(devices, available, must, size)
    rest = [name for name in available if name not in must]
    fewest = min(len({numa[name] for name in [*must, *more]}) for more in combinations(rest, size - len(must)))
    assert len({numa[name] for name in chosen}) == fewest


@UNHURRIED
@given(requests(), st.lists(st.text(max_size=5)), st.integers(-2, 20))
def test_ids_that_are_unknown_and_sizes_that_cannot_be_met_never_add_a_device(
    request: tuple[list[Device], list[str], list[str], int], unknown: list[str], size: int
) -> None:
    devices, available, must, _ = request
    chosen = allocation.preferred(devices, [*unknown, *available], must, size)
    assert set(chosen) <= {each.id for each in devices} & {*available, *must, *unknown}
    assert len(chosen) <= max(size, len(must))


def test_the_fullest_numa_node_that_has_room_is_taken_and_the_lowest_index_in_it() -> None:
    devices = [device(0, 0), device(1, 0), device(2, 0), device(3, 1), device(4, 1)]
    everything = [each.id for each in devices]
    assert allocation.preferred(devices, everything, [], 1) == ["npu3"]
    assert allocation.preferred(devices, everything, [], 3) == ["npu0", "npu1", "npu2"]
    assert allocation.preferred(devices, everything, ["npu1"], 2) == ["npu1", "npu0"]


def test_with_cdi_names_stand_for_nodes_and_facts_and_a_class_has_no_dot(tmp_path: Path) -> None:
    config = configuration(tmp_path, cdi=True, resource_name="example.org/npu.big", socket="npu.sock")
    answer = allocation.container_response(config, [device(0), device(1)])
    assert [each.name for each in answer.cdi_devices] == ["example.org/npu_big=npu0", "example.org/npu_big=npu1"]
    assert not answer.devices
    assert not answer.mounts
    assert dict(answer.envs) == {"NPU_VISIBLE_DEVICES": "npu0,npu1"}


def test_with_cdi_a_fault_is_the_same_fault(tmp_path: Path) -> None:
    config = configuration(tmp_path, cdi=True)
    every = [device(0), device(1)]

    def names(kind: str) -> list[str]:
        answer = allocation.with_faults(config, every[:1], every, [Fault("Allocate", kind)])
        return [each.name.partition("=")[2] for each in answer.cdi_devices]

    assert names("wrong-device") == ["npu1"]
    assert names("all-devices") == ["npu0", "npu1"]
    assert names("no-node") == names("garbage") == []
    assert names("no-variable") == ["npu0"]


def test_with_cdi_no_facts_hands_over_the_bare_node(tmp_path: Path) -> None:
    config = configuration(tmp_path, cdi=True)
    answer = allocation.with_faults(config, [device(0)], [device(0)], [Fault("Allocate", "no-facts")])
    assert not answer.cdi_devices  # its edits mount the facts
    assert not answer.mounts
    assert [(each.host_path, each.container_path) for each in answer.devices] == [("/dev/npu0", "/dev/npu0")]
    assert answer.envs["NPU_VISIBLE_DEVICES"] == "npu0"
