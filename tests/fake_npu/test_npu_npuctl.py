"""`npuctl`: what it prints, and how it ends when nobody answers or the plugin refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from npu_bench import PATIENCE, REPOSITORY, RESOURCE, plug_in, plugin, running_kubelet, settings, variables

from fake_npu import npuctl
from fake_npu.api import podresources_pb2 as pb
from fake_npu.api.podresources_pb2_grpc import PodResourcesListerServicer, add_PodResourcesListerServicer_to_server
from fake_npu.config import Config

pytest_plugins = ["npu_fixtures"]


@pytest.fixture(scope="module")
def config(module_folder: Path) -> Iterator[Config]:
    """The configuration of a plugin that runs, with one of its two devices there."""
    config = settings(module_folder, numa_nodes=(0, 1))
    plug_in(config, 0)
    with running_kubelet(config) as kubelet, plugin(config) as program:
        program.until("registered")
        kubelet.until(lambda: kubelet.lists)
        yield config


@pytest.fixture(autouse=True)
def told(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of the plugin's own container."""
    for name, value in variables(config).items():
        monkeypatch.setenv(name, value)


def test_a_table_of_devices_and_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert npuctl.main(["fault", "set", "Allocate", "delay", "--seconds", "2.5", "--after", "1", "--calls", "3"]) == 0
    shown = capsys.readouterr().out
    assert npuctl.main(["fault", "clear", "Allocate"]) == 0
    assert [line.split() for line in shown.splitlines()[:3]] == [
        ["DEVICE", "HEALTH", "NUMA", "NODE"],
        ["npu0", "Healthy", "0", "/dev/npu0"],
        ["npu1", "Unhealthy", "1", "/dev/npu1", "(not", "there)"],
    ]
    assert shown.splitlines()[3].startswith("fault: Allocate delay seconds=2.5")
    assert "after=1 calls=3" in shown.splitlines()[3]
    assert "fault:" not in capsys.readouterr().out


def test_json_holds_the_whole_state(capsys: pytest.CaptureFixture[str]) -> None:
    assert npuctl.main(["--json", "list"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert (state["resource"], state["node"], state["not_ready"], state["faults"]) == (RESOURCE, "worker", "", [])
    assert state["devices"][1] == {
        "id": "npu1", "health": "Unhealthy", "marked": "Healthy", "present": False, "numa_node": 1, "path": "/dev/npu1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["health", "npu9", "Unhealthy"], "npuctl: no device 'npu9'; there are: npu0, npu1\n"),
        (["devices", "add", "-5"], "npuctl: count must be 1 to 100000\n"),
        (["fault", "set", "Allocate", "error", "--calls", "0"], "npuctl: calls is 0, less than 1\n"),
        (["fault", "clear", "Nothing"], "npuctl: no call 'Nothing'; there are: "),
    ],
)
def test_what_the_plugin_refuses_is_status_1(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert npuctl.main(words) == 1
    out, err = capsys.readouterr()
    assert (out, err[: len(sentence)], err.count("\n")) == ("", sentence, 1)


def test_no_plugin_is_status_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert npuctl.main(["--socket", str(folder / "none.sock"), "list"]) == 2
    assert capsys.readouterr().err.startswith(f"npuctl: no plugin answers at {folder / 'none.sock'}: ")


def test_a_wrong_configuration_is_status_5(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FAKE_NPU_COUNT", "four")
    assert npuctl.main(["list"]) == 5
    assert capsys.readouterr().err == "npuctl: FAKE_NPU_COUNT = 'four': must be a whole number.\n"


@pytest.mark.parametrize("words", [[], ["health", "npu0"], ["health", "npu0", "ill"], ["devices"]])
def test_words_that_are_no_command_are_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        npuctl.main(words)
    assert caught.value.code == 2
    assert "usage: npuctl" in capsys.readouterr().err


def test_it_is_a_program() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "fake_npu.npuctl", "list"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("DEVICE")


class PodResources(PodResourcesListerServicer):
    """The kubelet's account of one pod that holds npu0; every third Get is refused."""

    asked = 0

    def List(self, _: pb.ListPodResourcesRequest, __: grpc.ServicerContext) -> pb.ListPodResourcesResponse:  # noqa: N802
        response = pb.ListPodResourcesResponse()
        container = response.pod_resources.add(name="pod", namespace="default").containers.add(name="main")
        container.devices.add(resource_name=RESOURCE, device_ids=["npu0"])
        return response

    def GetAllocatableResources(  # noqa: N802
        self, _: pb.AllocatableResourcesRequest, __: grpc.ServicerContext
    ) -> pb.AllocatableResourcesResponse:
        response = pb.AllocatableResourcesResponse()
        response.devices.add(resource_name=RESOURCE, device_ids=["npu0", "npu1"])
        return response

    def Get(self, request: pb.GetPodResourcesRequest, context: grpc.ServicerContext) -> pb.GetPodResourcesResponse:  # noqa: N802
        self.asked += 1
        if (request.pod_namespace, request.pod_name) != ("default", "pod") or self.asked % 3 == 0:
            context.abort(grpc.StatusCode.UNKNOWN, f"pod {request.pod_name} refused")
        return pb.GetPodResourcesResponse(
            pod_resources=self.List(pb.ListPodResourcesRequest(), context).pod_resources[0]
        )


@pytest.fixture
def kubelet(config: Config) -> Iterator[None]:
    with futures.ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        add_PodResourcesListerServicer_to_server(PodResources(), server)
        server.add_insecure_port(f"unix:{config.pod_resources_socket}")
        server.start()
        yield
        server.stop(None).wait()


def test_podresources_are_the_kubelets_own_account(kubelet: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert npuctl.main(["podresources"]) == 0
    shown = json.loads(capsys.readouterr().out)
    (pod,) = shown["pods"]["pod_resources"]
    assert pod["containers"][0]["devices"] == [{"resource_name": RESOURCE, "device_ids": ["npu0"]}]
    assert shown["allocatable"]["devices"][0]["device_ids"] == ["npu0", "npu1"]


def test_podresources_of_one_pod_are_asked_for_alone(kubelet: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert npuctl.main(["podresources", "--get", "default/pod"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["pod"]["pod_resources"]["containers"][0]["devices"][0]["device_ids"] == ["npu0"]
    assert npuctl.main(["podresources", "--get", "default/other"]) == 2
    assert "UNKNOWN pod other refused" in capsys.readouterr().err


def test_refusals_are_counted_by_their_reason(kubelet: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert npuctl.main(["podresources", "--get", "default/pod", "--times", "7"]) == 0
    assert json.loads(capsys.readouterr().out)["refused"] == {"UNKNOWN pod pod refused": 2}


def test_podresources_without_a_kubelet_are_one_line_and_status_2(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_NPU_POD_RESOURCES_SOCKET", str(folder / "none.sock"))
    assert npuctl.main(["podresources"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"npuctl: no kubelet answers at {folder / 'none.sock'}: UNAVAILABLE")
    assert err.count("\n") == 1
