"""Every fault of `fake_npu.faults.KINDS`, on every call that it fits, does what its text says, until it is cleared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from npu_bench import (
    PATIENCE,
    RESOURCE,
    SOCKET,
    Kubelet,
    Program,
    allocate,
    npuctl_of,
    plug_in,
    plugin,
    running_kubelet,
    settings,
)

from fake_npu.api import deviceplugin_pb2 as pb
from fake_npu.api.deviceplugin_pb2_grpc import DevicePluginStub
from fake_npu.faultkinds import KINDS, RPCS
from fake_npu.faults import Fault, FaultError, fault_of

pytest_plugins = ["npu_fixtures"]

DEVICES = ("npu0", "npu1", "npu2")
DELAY = 0.15
"""Seconds."""


@dataclass
class Node:
    """A plugin of three devices, and a kubelet that registers it but leaves its streams to the tests."""

    kubelet: Kubelet
    program: Program
    npuctl: Callable[..., None]
    _stub: DevicePluginStub | None = None

    @property
    def stub(self) -> DevicePluginStub:
        if self._stub is None:
            self._stub = self.kubelet.plugin()
        return self._stub

    def registers_again(self) -> None:
        """The kubelet comes back, which makes the plugin register."""
        self._stub = None
        self.kubelet.restart()

    def until_registered_again(self, before: int) -> dict[str, Any]:
        return self.program.until("registered", before + 1)

    @property
    def registered(self) -> int:
        return len(self.program.named("registered"))


@pytest.fixture(scope="module")
def shared(module_folder: Path) -> Iterator[Node]:
    config = settings(module_folder, count=len(DEVICES))
    plug_in(config, *range(len(DEVICES)))
    with running_kubelet(config, watch=False) as kubelet, plugin(config) as program:
        program.until("registered")
        yield Node(kubelet, program, npuctl_of(config))


@pytest.fixture
def node(shared: Node) -> Iterator[Node]:
    yield shared
    shared.npuctl("fault", "clear")
    shared.npuctl("health", "all", "Healthy")


def preferred() -> pb.PreferredAllocationRequest:
    asked = pb.ContainerPreferredAllocationRequest(available_deviceIDs=DEVICES, allocation_size=2)
    return pb.PreferredAllocationRequest(container_requests=[asked])


def first_list(stub: DevicePluginStub) -> Any:
    stream = stub.ListAndWatch(pb.Empty(), timeout=PATIENCE)
    try:
        return next(stream)
    finally:
        stream.cancel()


CALLS: dict[str, Callable[[DevicePluginStub], Any]] = {
    "GetDevicePluginOptions": lambda stub: stub.GetDevicePluginOptions(pb.Empty(), timeout=PATIENCE),
    "ListAndWatch": first_list,
    "GetPreferredAllocation": lambda stub: stub.GetPreferredAllocation(preferred(), timeout=PATIENCE),
    "Allocate": lambda stub: stub.Allocate(allocate("npu0"), timeout=PATIENCE),
    "PreStartContainer": lambda stub: stub.PreStartContainer(
        pb.PreStartContainerRequest(devices_ids=["npu0"]), timeout=PATIENCE
    ),
}
"""Each call once; every one goes well without a fault."""


def error(node: Node, rpc: str) -> None:
    node.npuctl("fault", "set", rpc, "error", "--code", "RESOURCE_EXHAUSTED", "--message", "no lanes", "--calls", "1")
    with pytest.raises(grpc.RpcError) as caught:
        CALLS[rpc](node.stub)
    assert (caught.value.code().name, caught.value.details()) == ("RESOURCE_EXHAUSTED", "no lanes")
    CALLS[rpc](node.stub)


def delay(node: Node, rpc: str) -> None:
    node.npuctl("fault", "set", rpc, "delay", "--seconds", str(DELAY))
    began = time.monotonic()
    CALLS[rpc](node.stub)
    assert time.monotonic() - began >= DELAY


def hang(node: Node, rpc: str) -> None:
    """Of two calls one goes well and one hangs; those after it go well; it returns when the fault is cleared."""
    node.npuctl("fault", "set", rpc, "hang", "--calls", "1")
    with ThreadPoolExecutor(2) as pool:
        both = {pool.submit(CALLS[rpc], node.stub) for _ in range(2)}
        try:
            done, hanging = wait(both, PATIENCE, FIRST_COMPLETED)
            assert (len(done), len(hanging)) == (1, 1)
            node.npuctl("fault", "clear", "Register" if rpc != "Register" else "Allocate")
            CALLS[rpc](node.stub)
            assert not any(call.done() for call in hanging)
        finally:
            node.npuctl("fault", "clear", rpc)
        for call in both:
            call.result(PATIENCE)


def given(node: Node, kind: str, *ids: str) -> Any:
    """What one container is handed under this fault."""
    node.npuctl("fault", "set", "Allocate", kind)
    (answer,) = node.stub.Allocate(allocate(*ids or ["npu0"])).container_responses
    return answer


def handed(answer: Any) -> tuple[str | None, list[str], list[str]]:
    """Variable, device nodes on the host and places of the mounted facts."""
    nodes = [device.host_path for device in answer.devices]
    return answer.envs.get("NPU_VISIBLE_DEVICES"), nodes, [mount.container_path for mount in answer.mounts]


FACTS = "/run/npu/npu0.json"


def empty(node: Node, rpc: str) -> None:
    node.npuctl("fault", "set", rpc, "empty")
    answer = CALLS[rpc](node.stub)
    assert not answer.ListFields()


def no_node(node: Node, _: str) -> None:
    assert handed(given(node, "no-node")) == ("npu0", [], [FACTS])


def no_variable(node: Node, _: str) -> None:
    assert handed(given(node, "no-variable")) == (None, ["/dev/npu0"], [FACTS])


def no_facts(node: Node, _: str) -> None:
    assert handed(given(node, "no-facts")) == ("npu0", ["/dev/npu0"], [])


def garbage(node: Node, _: str) -> None:
    answer = given(node, "garbage")
    assert handed(answer) == ("no-npu-left-to-run", ["/dev/null"], [])
    assert [device.container_path for device in answer.devices] == ["/dev/npu0"]


def wrong_device(node: Node, _: str) -> None:
    assert handed(given(node, "wrong-device")) == ("npu0", ["/dev/npu1"], ["/run/npu/npu1.json"])
    assert handed(given(node, "wrong-device", "npu2"))[:2] == ("npu2", ["/dev/npu0"])


def same_device(node: Node, _: str) -> None:
    assert handed(given(node, "same-device", "npu2")) == ("npu2", ["/dev/npu0"], ["/run/npu/npu0.json"])


def all_devices(node: Node, _: str) -> None:
    assert handed(given(node, "all-devices"))[:2] == ("npu0", ["/dev/npu0", "/dev/npu1", "/dev/npu2"])


def unavailable(node: Node, rpc: str) -> None:
    node.npuctl("fault", "set", rpc, "unavailable")
    (answer,) = CALLS[rpc](node.stub).container_responses
    assert len(answer.deviceIDs) == 2
    assert not set(answer.deviceIDs) & set(DEVICES)


def end(node: Node, rpc: str) -> None:
    stream = node.stub.ListAndWatch(pb.Empty())
    next(stream)
    node.npuctl("fault", "set", rpc, "end")
    assert list(stream) == []
    assert stream.code() is grpc.StatusCode.OK


def mute(node: Node, rpc: str) -> None:
    stream = node.stub.ListAndWatch(pb.Empty())
    assert [device.health for device in next(stream).devices] == ["Healthy"] * 3
    node.npuctl("fault", "set", rpc, "mute")
    node.npuctl("health", "npu0", "Unhealthy")
    node.npuctl("devices", "add", "1")
    node.npuctl("devices", "remove", "npu3")
    node.npuctl("health", "npu1", "Unhealthy")
    node.npuctl("fault", "clear")
    assert [device.health for device in next(stream).devices] == ["Unhealthy", "Unhealthy", "Healthy"]
    stream.cancel()


def duplicate(node: Node, rpc: str) -> None:
    node.npuctl("fault", "set", rpc, "duplicate")
    assert [device.ID for device in first_list(node.stub).devices] == [*DEVICES, *DEVICES]


def pad(node: Node, rpc: str) -> None:
    node.npuctl("fault", "set", rpc, "pad", "--extra", "1000")
    ids = [device.ID for device in first_list(node.stub).devices]
    assert len(set(ids)) == 1003
    assert {len(name) for name in ids[3:]} <= set(range(1, 64))
    node.npuctl("fault", "set", rpc, "pad")
    with pytest.raises(grpc.RpcError, match="larger than max") as caught:
        first_list(node.stub)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def register_error(node: Node, _: str) -> None:
    node.npuctl("fault", "set", "Register", "error", "--message", "no lanes", "--calls", "1")
    before, asked, place = node.registered, len(node.kubelet.requests), len(node.program.events)
    node.registers_again()
    assert node.until_registered_again(before)["attempt"] > 1
    assert node.program.until_said("register-refused", place, answer="no lanes")["code"] == "INTERNAL"
    assert len(node.kubelet.requests) == asked + 1


def register_delay(node: Node, _: str) -> None:
    node.npuctl("fault", "set", "Register", "delay", "--seconds", str(DELAY))
    before, served = node.registered, len(node.program.named("serving"))
    node.registers_again()
    after = datetime.fromisoformat(node.until_registered_again(before)["time"])
    serving = datetime.fromisoformat(node.program.until("serving", served + 1)["time"])
    assert (after - serving).total_seconds() >= DELAY


def register_waits_for_clear(node: Node, kind: str) -> None:
    """With this fault the new kubelet is not registered with, until the fault is cleared."""
    node.npuctl("fault", "set", "Register", kind)
    before, asked, served = node.registered, len(node.kubelet.requests), len(node.program.named("serving"))
    node.registers_again()
    if kind == "hang":
        node.program.until("serving", served + 1)
    node.npuctl("health", "npu0", "Unhealthy")  # an answer from after the kubelet came
    assert (node.registered, len(node.kubelet.requests)) == (before, asked)
    node.npuctl("fault", "clear")
    node.until_registered_again(before)
    assert node.program.place("control", command="clear") < node.program.place("registered")
    assert len(node.kubelet.requests) == asked + 1


def register_hang(node: Node, _: str) -> None:
    register_waits_for_clear(node, "hang")


def deaf(node: Node, _: str) -> None:
    register_waits_for_clear(node, "deaf")


def refused_once(node: Node, kind: str, answer: str) -> pb.RegisterRequest:
    """The kubelet refuses what is registered under this fault, and takes what comes without it.

    Not with `--calls 1`: a try that came before the kubelet listened would have used it up.
    """
    node.npuctl("fault", "set", "Register", kind)
    before, asked, place = node.registered, len(node.kubelet.requests), len(node.program.events)
    node.registers_again()
    node.program.until_said("register-refused", place, answer=answer)
    node.npuctl("fault", "clear")
    assert node.until_registered_again(before)["attempt"] > 1
    wrong, right = node.kubelet.requests[asked], node.kubelet.requests[-1]
    assert (right.version, right.resource_name, right.endpoint) == ("v1beta1", RESOURCE, SOCKET)
    return wrong


def bad_version(node: Node, _: str) -> None:
    assert refused_once(node, "bad-version", 'requested API version "v0" is not supported').version == "v0"


def bad_name(node: Node, _: str) -> None:
    assert refused_once(node, "bad-name", 'the ResourceName "npu" is invalid').resource_name == "npu"


def bad_socket(node: Node, _: str) -> None:
    wrong = refused_once(node, "bad-socket", "failed to get device plugin options")
    assert not (node.kubelet.folder / wrong.endpoint).exists()


Case = Callable[[Node, str], None]
CASES: dict[tuple[str, str], Case] = {
    **{("error", rpc): error for rpc in CALLS},
    **{("delay", rpc): delay for rpc in CALLS},
    **{("hang", rpc): hang for rpc in CALLS},
    **{("empty", rpc): empty for rpc in ("Allocate", "GetPreferredAllocation", "ListAndWatch")},
    ("no-node", "Allocate"): no_node,
    ("no-variable", "Allocate"): no_variable,
    ("no-facts", "Allocate"): no_facts,
    ("garbage", "Allocate"): garbage,
    ("same-device", "Allocate"): same_device,
    ("wrong-device", "Allocate"): wrong_device,
    ("all-devices", "Allocate"): all_devices,
    ("unavailable", "GetPreferredAllocation"): unavailable,
    ("end", "ListAndWatch"): end,
    ("mute", "ListAndWatch"): mute,
    ("duplicate", "ListAndWatch"): duplicate,
    ("pad", "ListAndWatch"): pad,
    ("error", "Register"): register_error,
    ("delay", "Register"): register_delay,
    ("hang", "Register"): register_hang,
    ("bad-version", "Register"): bad_version,
    ("bad-name", "Register"): bad_name,
    ("bad-socket", "Register"): bad_socket,
    ("deaf", "Register"): deaf,
}


def test_every_fault_has_a_case_here() -> None:
    assert set(CASES) == {(kind, rpc) for kind, (_, rpcs) in KINDS.items() for rpc in rpcs}
    assert {*CALLS, "Register"} == set(RPCS)


@pytest.mark.parametrize(("kind", "rpc"), CASES)
def test_fault(node: Node, kind: str, rpc: str) -> None:
    if rpc != "Register":
        CALLS[rpc](node.stub)
    node.program.until_as_many("stream-closed", "stream-opened")  # one that still ends would count as a call
    CASES[kind, rpc](node, rpc)
    node.npuctl("fault", "clear")
    node.npuctl("health", "all", "Healthy")
    for call in CALLS.values():
        call(node.stub)


def test_a_fault_acts_after_and_for_as_many_calls_as_it_says(node: Node) -> None:
    node.npuctl("fault", "set", "Allocate", "error", "--after", "2", "--calls", "2")
    outcomes = []
    for _ in range(6):
        try:
            node.stub.Allocate(allocate("npu0"))
            outcomes.append("OK")
        except grpc.RpcError as failed:
            outcomes.append(failed.code().name)
    assert outcomes == ["OK", "OK", "INTERNAL", "INTERNAL", "OK", "OK"]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"rpc": "Nothing"}, "no call 'Nothing'; there are: " + ", ".join(RPCS)),
        ({"kind": "end"}, "no fault 'end' for Allocate; there are: error, delay, hang, empty, no-node"),
        ({"kind": "nothing"}, "no fault 'nothing' for Allocate"),
        ({"code": "OK"}, "no error code 'OK'; there are: "),
        ({"code": "BROKEN"}, "no error code 'BROKEN'"),
        ({"seconds": -1.0}, "seconds is -1.0, less than 0"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"seconds": float("inf")}, "seconds is inf"),
        ({"extra": -1}, "extra is -1, less than 0"),
        ({"after": -1}, "after is -1, less than 0"),
        ({"calls": 0}, "calls is 0, less than 1"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FaultError) as caught:
        Fault(**{"rpc": "Allocate", "kind": "error", **wrong})
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Register bad-version", Fault("Register", "bad-version")),
        (
            "Allocate error --message 'no firmware' --calls 1",
            Fault("Allocate", "error", message="no firmware", calls=1),
        ),
        ("ListAndWatch pad --extra 2 --after 1", Fault("ListAndWatch", "pad", extra=2, after=1)),
        ("Allocate delay --seconds 0.5", Fault("Allocate", "delay", seconds=0.5)),
    ],
)
def test_a_fault_is_read_from_its_words(text: str, fault: Fault) -> None:
    assert fault_of(text) == fault


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "'' is not CALL KIND and options"),
        ("Allocate", "'Allocate' is not CALL KIND and options"),
        ("Allocate 'error", "is not CALL KIND and options (No closing quotation)"),
        ("Allocate error --calls", "not pairs of a name and a value; names are: --seconds"),
        ("Allocate error --colour red", "not pairs of a name and a value; names are: --seconds"),
        ("Allocate error --calls many", "an option of 'Allocate error --calls many' is not a number"),
        ("Allocate nothing", "no fault 'nothing' for Allocate"),
    ],
)
def test_words_that_name_no_fault_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(FaultError) as caught:
        fault_of(text)
    assert sentence in str(caught.value)
