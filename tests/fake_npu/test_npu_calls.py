"""The five calls of the DevicePlugin service, as a kubelet makes them, and what changes their answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import grpc
import pytest
from npu_bench import Kubelet, Program, allocate, npuctl_of, plug_in, plugin, running_kubelet, settings

from fake_npu.api import deviceplugin_pb2 as pb
from fake_npu.api.deviceplugin_pb2_grpc import DevicePluginStub

pytest_plugins = ["npu_fixtures"]


@dataclass
class Node:
    """A plugin of three devices with nodes and one without, and the kubelet that it is registered with."""

    folder: Path
    kubelet: Kubelet
    program: Program
    stub: DevicePluginStub


@pytest.fixture(scope="module")
def node(module_folder: Path) -> Iterator[Node]:
    config = settings(module_folder, count=4, numa_nodes=(0, 1), pre_start_required=True)
    plug_in(config, 0, 1, 2)
    with running_kubelet(config) as kubelet, plugin(config) as program:
        program.until("registered")
        yield Node(module_folder, kubelet, program, kubelet.plugin())


def refusal(call: grpc.UnaryUnaryMultiCallable, request: object) -> tuple[str, str]:
    """Code and details of the error that this call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code().name, caught.value.details()


def get(program: Program, path: str) -> tuple[int, str]:
    """Status and body of this page of the plugin."""
    port = program.until("plugin-started")["http_port"]
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def sample(program: Program, name: str) -> float:
    """The value of this metric, labels as Prometheus writes them."""
    lines = [line for line in get(program, "/metrics")[1].splitlines() if line.rpartition(" ")[0] == name]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


def test_options(node: Node) -> None:
    options = node.stub.GetDevicePluginOptions(pb.Empty())
    assert options.pre_start_required
    assert options.get_preferred_allocation_available


def test_the_list_has_ids_health_and_numa_nodes(node: Node) -> None:
    stream = node.stub.ListAndWatch(pb.Empty())
    devices = next(stream).devices
    stream.cancel()
    assert [(device.ID, device.health, device.topology.nodes[0].ID) for device in devices] == [
        ("npu0", "Healthy", 0),
        ("npu1", "Healthy", 1),
        ("npu2", "Healthy", 0),
        ("npu3", "Unhealthy", 1),
    ]


def test_allocate_hands_over_node_variable_facts_and_annotation(node: Node) -> None:
    before = sample(node.program, 'fake_npu_allocations_total{device="npu2"}')
    (given,) = node.stub.Allocate(allocate("npu2", "npu1")).container_responses
    assert dict(given.envs) == {"NPU_VISIBLE_DEVICES": "npu2,npu1"}
    assert dict(given.annotations) == {"npu-conformance/devices": "npu2,npu1"}
    assert [(spec.host_path, spec.container_path, spec.permissions) for spec in given.devices] == [
        ("/dev/npu2", "/dev/npu2", "rw"),
        ("/dev/npu1", "/dev/npu1", "rw"),
    ]
    assert [(mount.host_path, mount.container_path, mount.read_only) for mount in given.mounts] == [
        (str(node.folder / "state/devices/npu2/facts.json"), "/run/npu/npu2.json", True),
        (str(node.folder / "state/devices/npu1/facts.json"), "/run/npu/npu1.json", True),
    ]
    assert not given.cdi_devices
    assert sample(node.program, 'fake_npu_allocations_total{device="npu2"}') == before + 1


def test_allocate_answers_each_container_in_the_order_of_the_request(node: Node) -> None:
    request = allocate("npu1")
    request.container_requests.add(devices_ids=["npu0"])
    answers = node.stub.Allocate(request).container_responses
    assert [answer.envs["NPU_VISIBLE_DEVICES"] for answer in answers] == ["npu1", "npu0"]


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ("npu9", "no device 'npu9'; there are: npu0, npu1, npu2, npu3"),
        ("npu3", "device 'npu3' has no node /dev/npu3"),
    ],
)
def test_allocate_refuses_what_it_cannot_give(node: Node, device: str, reason: str) -> None:
    counted = 'fake_npu_rpc_calls_total{code="FAILED_PRECONDITION",rpc="Allocate"}'
    before = sample(node.program, counted)
    assert refusal(node.stub.Allocate, allocate(device)) == ("FAILED_PRECONDITION", reason)
    assert sample(node.program, counted) == before + 1


def test_preferred_allocation_stays_on_the_numa_node_of_what_must_be_included(node: Node) -> None:
    request = pb.PreferredAllocationRequest()
    request.container_requests.add(
        available_deviceIDs=["npu0", "npu1", "npu2", "npu3"], must_include_deviceIDs=["npu3"], allocation_size=2
    )
    (answer,) = node.stub.GetPreferredAllocation(request).container_responses
    assert list(answer.deviceIDs) == ["npu3", "npu1"]


def test_pre_start_refuses_a_device_that_is_not_healthy(node: Node) -> None:
    assert node.stub.PreStartContainer(pb.PreStartContainerRequest(devices_ids=["npu0", "npu1"])) is not None
    asked = pb.PreStartContainerRequest(devices_ids=["npu0", "npu3"])
    assert refusal(node.stub.PreStartContainer, asked) == ("FAILED_PRECONDITION", "device 'npu3' is Unhealthy")


def test_health_flips_and_flapping_settles_at_the_last_word(folder: Path, kubelet: Kubelet) -> None:
    config = settings(folder)
    plug_in(config, 0, 1)
    with plugin(config):
        kubelet.until_listed(npu0="Healthy", npu1="Healthy")
        npuctl = npuctl_of(config)
        npuctl("health", "npu0", "Unhealthy")
        kubelet.until_listed(npu0="Unhealthy", npu1="Healthy")
        npuctl("health", "npu0", "Healthy")
        kubelet.until_listed(npu0="Healthy", npu1="Healthy")
        for turn in range(51):
            npuctl("health", "npu1", "Healthy" if turn % 2 else "Unhealthy")
        npuctl("health", "npu0", "Unhealthy")
        kubelet.until_listed(npu0="Unhealthy", npu1="Unhealthy")


def test_health_and_devices_outlive_the_plugin(folder: Path, kubelet: Kubelet) -> None:
    config = settings(folder)
    plug_in(config, 0, 1, 2)
    with plugin(config):
        kubelet.until(lambda: kubelet.lists)
        npuctl = npuctl_of(config)
        npuctl("health", "npu1", "Unhealthy")
        npuctl("devices", "add", "1")
        npuctl("devices", "remove", "npu0")
    kubelet.until(lambda: kubelet.stream_ends)
    kubelet.lists.clear()
    with plugin(config):
        kubelet.until(lambda: kubelet.lists)
    assert kubelet.lists == [{"npu1": "Unhealthy", "npu2": "Healthy"}]


def test_devices_come_and_go(folder: Path, kubelet: Kubelet) -> None:
    config = settings(folder, count=1)
    plug_in(config, 0, 1)
    with plugin(config):
        kubelet.until_listed(npu0="Healthy")
        npuctl = npuctl_of(config)
        npuctl("devices", "add", "2")
        kubelet.until_listed(npu0="Healthy", npu1="Healthy", npu2="Unhealthy")
        npuctl("devices", "remove", "npu1")
        kubelet.until_listed(npu0="Healthy", npu2="Unhealthy")
        npuctl("devices", "remove", "all")
        kubelet.until_listed()
        npuctl("devices", "add")
        kubelet.until_listed(npu0="Healthy")


def test_a_device_is_unhealthy_while_its_node_is_gone(folder: Path, kubelet: Kubelet) -> None:
    config = settings(folder)
    plug_in(config, 0, 1)
    with plugin(config):
        npuctl = npuctl_of(config)
        kubelet.until_listed(npu0="Healthy", npu1="Healthy")
        (folder / "dev" / "npu1").unlink()
        kubelet.until_listed(npu0="Healthy", npu1="Unhealthy")
        plug_in(config, 1)
        kubelet.until_listed(npu0="Healthy", npu1="Healthy")
        (folder / "dev" / "npu1").rename(folder / "dev" / "elsewhere")
        kubelet.until_listed(npu0="Healthy", npu1="Unhealthy")
        (folder / "dev" / "npu1").write_text("a file is no device")
        npuctl("health", "npu0", "Unhealthy")
        kubelet.until_listed(npu0="Unhealthy", npu1="Unhealthy")
        seen = len(kubelet.lists)
        (folder / "dev" / "npu0").unlink()
        plug_in(config, 0)  # comes back, but was marked
        kubelet.until(lambda: len(kubelet.lists) > seen)
        npuctl("health", "npu0", "Healthy")
        kubelet.until_listed(npu0="Healthy", npu1="Unhealthy")
        assert {"npu0": "Healthy", "npu1": "Unhealthy"} not in kubelet.lists[seen:-1]


def test_metrics_readiness_and_liveness(folder: Path) -> None:
    config = settings(folder, register_attempts=20)
    plug_in(config, 0)
    with plugin(config) as program:
        program.until("serving")
        assert get(program, "/livez") == (200, "ok\n")
        assert get(program, "/readyz") == (503, "not registered with the kubelet\n")
        assert get(program, "/else") == (404, "not found\n")
        with running_kubelet(config, watch=False) as blind:
            program.until("registered")
            assert get(program, "/readyz") == (503, "the kubelet watches no device\n")
            blind.watch = True
            blind.restart()
            program.until("devices-sent")
            program.until("registered", 2)
            assert get(program, "/readyz") == (200, "ok\n")
            assert sample(program, 'fake_npu_registrations_total{code="OK"}') == 2
            assert sample(program, 'fake_npu_devices{health="Healthy"}') == 1
            assert sample(program, 'fake_npu_devices{health="Unhealthy"}') == 1
            assert sample(program, "fake_npu_list_and_watch_streams") == 1
            assert sample(program, 'fake_npu_rpc_duration_seconds_count{rpc="GetDevicePluginOptions"}') == 2
        program.until("stream-closed")
        assert get(program, "/readyz")[0] == 503
