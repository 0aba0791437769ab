"""What a container is handed with its devices, and which free devices are the better choice; no state, no waiting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from fake_npu.api import deviceplugin_pb2 as pb
from fake_npu.config import Config
from fake_npu.faults import Fault
from fake_npu.inventory import Device
from fake_npu.memory import FACTS_DIR

PERMISSIONS = "rw"
"""Of the device cgroup: read and write, no mknod."""
ANNOTATION = "npu-conformance/devices"
"""Annotation of the container in the runtime (not of the pod): the ids, comma between."""


def cdi_kind(config: Config) -> str:
    """The `vendor/class` of the CDI names: the resource's name, in which a class may have no dot."""
    domain, name = config.resource_name.split("/")
    return f"{domain}/{name.replace('.', '_')}"


def environment(config: Config, device_ids: Collection[str]) -> dict[str, str]:
    """The variables of a container that holds these devices."""
    return {config.visible_devices_env: ",".join(device_ids)}


def facts_path(device_id: str) -> str:
    """Where a container finds the facts of a device."""
    return f"{FACTS_DIR}/{device_id}.json"


def container_response(config: Config, devices: Sequence[Device]) -> pb.ContainerAllocateResponse:
    """The answer of Allocate for one container.

    With CDI the nodes and facts come from the CDI specification; the variable cannot, as it lists all devices of the
    container and a CDI edit knows only its own.
    """
    ids = [device.id for device in devices]
    response = pb.ContainerAllocateResponse(envs=environment(config, ids), annotations={ANNOTATION: ",".join(ids)})
    for device in devices:
        if config.cdi:
            response.cdi_devices.add(name=f"{cdi_kind(config)}={device.id}")
            continue
        _add_node(response, device)
        facts = config.facts_path_of(device.index)
        response.mounts.add(container_path=facts_path(device.id), host_path=str(facts), read_only=True)
    return response


def _add_node(response: pb.ContainerAllocateResponse, device: Device) -> None:
    response.devices.add(container_path=device.path, host_path=device.path, permissions=PERMISSIONS)


def with_faults(
    config: Config,
    asked: Sequence[Device],
    every: Sequence[Device],
    faults: Collection[Fault],
) -> pb.ContainerAllocateResponse:
    """The answer of Allocate for one container, wrong in the ways that these faults name.

    Args:
        config: the plugin's configuration.
        asked: the container's devices.
        every: all devices that the plugin advertises, in order.
        faults: the faults of this call.
    """
    kinds = {fault.kind for fault in faults}
    given = list(asked)
    if "wrong-device" in kinds:
        given = [every[(every.index(device) + 1) % len(every)] for device in asked]
    if "same-device" in kinds:
        given = list(every[:1])
    if "all-devices" in kinds:
        given = list(every)
    response = container_response(config, given)
    if kinds & {"same-device", "wrong-device", "all-devices"}:
        response.envs.update(environment(config, [device.id for device in asked]))
    if "no-facts" in kinds:
        del response.mounts[:]
        if config.cdi:  # a CDI name brings the facts along: the bare nodes take its place
            del response.cdi_devices[:]
            for device in given:
                _add_node(response, device)
    if "no-node" in kinds:
        del response.devices[:]
        del response.cdi_devices[:]
    if "no-variable" in kinds:
        response.envs.pop(config.visible_devices_env)
    if "garbage" in kinds:
        response.Clear()
        response.envs[config.visible_devices_env] = "no-npu-left-to-run"
        for device in asked:
            response.devices.add(container_path=device.path, host_path="/dev/null", permissions=PERMISSIONS)
    return response


def preferred(devices: Sequence[Device], available: Sequence[str], must: Sequence[str], size: int) -> list[str]:
    """The `size` ids that a container should get: those that it must, then as few NUMA nodes as can be.

    A NUMA node that can serve all of the rest alone is taken before one that cannot, the fullest fitting first, so that
    large requests find room later; within a node the lowest index comes first.

    Args:
        devices: all advertised devices, in order.
        available: ids to choose from.
        must: ids that have to be among them.
        size: how many in all.
    """
    chosen = [device for device in devices if device.id in must]
    free = [device for device in devices if device.id in available and device.id not in must]
    while len(chosen) < size and free:
        wanted = size - len(chosen)
        room = Counter(device.numa_node for device in free)
        home = {device.numa_node for device in chosen}

        def order(node: int | None, room: Counter[int | None] = room, wanted: int = wanted) -> tuple[bool, int, int]:
            fits = room[node] >= wanted
            return not fits, room[node] if fits else -room[node], -1 if node is None else node

        nearest = sorted(room.keys() & home, key=order) or sorted(room, key=order)
        taken = [device for device in free if device.numa_node == nearest[0]][:wanted]
        chosen += taken
        free = [device for device in free if device not in taken]
    return [device.id for device in chosen]
