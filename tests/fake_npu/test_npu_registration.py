"""Registration: again whenever the kubelet or the plugin's own socket is new, with no event missed and none made up."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from npu_bench import (
    RESOURCE,
    SOCKET,
    Kubelet,
    npuctl_of,
    plug_in,
    plugin,
    running_kubelet,
    settings,
)

pytest_plugins = ["npu_fixtures"]


def test_registers_with_version_name_socket_and_options_then_lists_its_devices(folder: Path, kubelet: Kubelet) -> None:
    config = settings(folder, count=3, pre_start_required=True)
    plug_in(config, 0, 1)
    with plugin(config) as program:
        kubelet.until_listed(npu0="Healthy", npu1="Healthy", npu2="Unhealthy")
        (request,) = kubelet.requests
        assert (request.version, request.resource_name, request.endpoint) == ("v1beta1", RESOURCE, SOCKET)
        assert request.options.pre_start_required
        assert request.options.get_preferred_allocation_available
        assert program.until("registered")["attempt"] == 1
        for path in (folder / "plugins" / SOCKET, folder / "control.sock"):
            assert path.stat().st_mode & 0o077 == 0, "the sockets are for root alone"
        assert not (folder / "cdi").exists()


def test_registers_when_the_kubelet_comes_later(folder: Path) -> None:
    config = settings(folder)
    with plugin(config) as program:
        program.until("serving")
        with running_kubelet(config) as kubelet:
            kubelet.until(lambda: kubelet.lists)
            assert len(kubelet.requests) == 1


def test_registers_again_with_every_new_kubelet(folder: Path, kubelet: Kubelet) -> None:
    with plugin(settings(folder)) as program:
        program.until("registered")
        for wipe in (True, False, True):
            kubelet.until_more_lists(kubelet.restart(wipe=wipe))
        assert program.named("kubelet-socket-gone") or program.named("kubelet-socket-made")


def test_no_socket_s_name_comes_twice(folder: Path, kubelet: Kubelet) -> None:
    config = settings(folder, socket="")
    with plugin(config) as program:
        program.until("registered")
        kubelet.restart(wipe=False)
        program.until("registered", 2)
        program.kill()
    with plugin(config) as again:
        again.until("registered")
        names = [request.endpoint for request in kubelet.requests]
        assert len(set(names)) == len(names) >= 3
        assert [path.name for path in (folder / "plugins").glob("example.org_npu*")] == [names[-1]]


def test_registers_again_when_only_its_own_socket_is_wiped(folder: Path, kubelet: Kubelet) -> None:
    with plugin(settings(folder)) as program:
        program.until("registered")
        (folder / "plugins" / SOCKET).unlink()
        program.until("plugin-socket-gone")
        program.until("registered", 2)
        assert (folder / "plugins" / SOCKET).is_socket()


def test_other_files_in_the_folder_change_nothing(folder: Path, kubelet: Kubelet) -> None:
    config = settings(folder)
    plug_in(config, 0, 1)
    with plugin(config) as program:
        kubelet.until_listed(npu0="Healthy", npu1="Healthy")
        for _ in range(20):
            (folder / "plugins" / "kubelet_internal_checkpoint").write_text("{}")
            (folder / "plugins" / "kubelet_internal_checkpoint").unlink()
        npuctl_of(config)("health", "npu0", "Unhealthy")
        kubelet.until_listed(npu0="Unhealthy", npu1="Healthy")
    assert len(kubelet.requests) == len(program.named("serving")) == 1


def test_a_refusal_is_tried_again(folder: Path) -> None:
    config = settings(folder)
    with running_kubelet(config, refuse=1) as kubelet, plugin(config) as program:
        assert program.until("registered")["attempt"] == 2
        refusals = program.named("register-refused")
        assert [(line["code"], line["answer"], line["attempt"]) for line in refusals] == [
            ("UNKNOWN", "no more plugins today", 1),
        ]
        assert len(kubelet.requests) == 2


def test_refused_for_good_it_says_so_and_exits_with_status_1(folder: Path) -> None:
    config = settings(folder, register_attempts=2)
    with running_kubelet(config, refuse=9), plugin(config) as program:
        assert program.wait() == 1
    failed = program.until("plugin-failed")
    assert failed["level"] == "error"
    assert failed["reason"] == "the kubelet refused 2 times, at last with: no more plugins today"
    assert not (folder / "plugins" / SOCKET).exists()


def test_a_socket_that_no_kubelet_listens_on_is_tried_until_one_is_there(folder: Path) -> None:
    config = settings(folder)
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(folder / "plugins" / "kubelet.sock"))
    with plugin(config) as program:
        assert program.until("register-refused")["code"] == "UNAVAILABLE"
        (folder / "plugins" / "kubelet.sock").unlink()
        with running_kubelet(config) as kubelet:
            kubelet.until(lambda: kubelet.lists)


@pytest.mark.parametrize("missing", ["from the start", "later"])
def test_exits_with_status_1_when_the_folder_is_not_there(folder: Path, missing: str) -> None:
    config = settings(folder)
    if missing == "from the start":
        (folder / "plugins").rmdir()
    with plugin(config) as program:
        if missing == "later":
            program.until("serving")
            (folder / "plugins").rename(folder / "elsewhere")
        assert program.wait() == 1
    reason = program.until("plugin-failed")["reason"]
    expected = "cannot be watched (No such file or directory)" if missing == "from the start" else "is gone"
    assert reason == f"{folder / 'plugins'} {expected}"


def test_removes_the_sockets_of_killed_plugins_and_leaves_living_ones(folder: Path, kubelet: Kubelet) -> None:
    dead, alive = folder / "plugins" / "example.org_npu-1.sock", folder / "plugins" / "example.org_npu-2.sock"
    with socket.socket(socket.AF_UNIX) as killed, socket.socket(socket.AF_UNIX) as living:
        killed.bind(str(dead))
        killed.close()
        living.bind(str(alive))
        living.listen()
        with plugin(settings(folder, instance="3")) as program:
            program.until("registered")
        assert alive.exists()
    assert not dead.exists()
    assert [line["socket"] for line in program.named("dead-socket-removed")] == [dead.name]


def test_a_killed_plugin_that_starts_again_takes_its_old_place(folder: Path, kubelet: Kubelet) -> None:
    config = settings(folder)
    with plugin(config) as program:
        program.until("registered")
        program.kill()
    assert (folder / "plugins" / SOCKET).exists()
    with plugin(config) as again:
        again.until("registered")
        assert [line["socket"] for line in again.named("dead-socket-removed")] == [SOCKET]


def test_an_upgrade_leaves_no_gap(folder: Path, kubelet: Kubelet) -> None:
    """Old and new plugin of one resource side by side: the old one's end disturbs nothing of the new one."""
    old, new = settings(folder, instance="a"), settings(folder, instance="b", control_socket=folder / "b.sock")
    plug_in(old, 0, 1)
    with plugin(new) as second:
        with plugin(old) as first:
            second.until("registered")
            first.until("registered")
            kubelet.until(lambda: len(kubelet.lists) == 2)
        kubelet.until(lambda: kubelet.stream_ends == ["OK"])
        npuctl_of(new)("health", "npu1", "Unhealthy")
        kubelet.until_listed(npu0="Healthy", npu1="Unhealthy")
    assert len({request.endpoint for request in kubelet.requests}) == 2
    assert len(second.named("registered")) == 1


def test_two_resources_share_one_pool(folder: Path, kubelet: Kubelet) -> None:
    one = settings(folder)
    other = settings(folder, resource_name="example.org/big", first=2, control_socket=folder / "b.sock")
    plug_in(one, 0, 1, 2, 3)
    with plugin(one) as first, plugin(other) as second:
        first.until("registered")
        second.until("registered")
        kubelet.until(lambda: len(kubelet.lists) == 2)
        assert sorted(map(json.dumps, kubelet.lists)) == [
            '{"npu0": "Healthy", "npu1": "Healthy"}',
            '{"npu2": "Healthy", "npu3": "Healthy"}',
        ]
