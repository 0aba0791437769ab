"""The CDI specification: what it says, that it follows the devices, and that the last plugin takes it away."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from npu_bench import Kubelet, allocate, npuctl_of, plug_in, plugin, settings

from fake_npu import cdi
from fake_npu.config import Config
from fake_npu.inventory import Health, Inventory

pytest_plugins = ["npu_fixtures"]


def specification(folder: Path) -> dict[str, Any]:
    """The one specification in the folder of CDI."""
    (file,) = (folder / "cdi").glob("*.json")
    read: dict[str, Any] = json.loads(file.read_text())
    return read


def names(folder: Path) -> list[str]:
    return [device["name"] for device in specification(folder)["devices"]]


def test_it_names_every_device_with_its_node_and_facts_and_follows_them(folder: Path, kubelet: Kubelet) -> None:
    config = settings(folder, cdi=True, device_id="card{index}")
    plug_in(config, 0, 1)
    with plugin(config) as program:
        program.until("registered")
        assert specification(folder) == {
            "cdiVersion": "0.6.0",
            "kind": "example.org/npu",
            "devices": [
                {
                    "name": f"card{index}",
                    "containerEdits": {
                        "deviceNodes": [
                            {"path": f"/dev/npu{index}", "hostPath": f"/dev/npu{index}", "permissions": "rw"}
                        ],
                        "mounts": [
                            {
                                "hostPath": str(folder / f"state/devices/npu{index}/facts.json"),
                                "containerPath": f"/run/npu/card{index}.json",
                                "options": ["ro", "bind"],
                            }
                        ],
                    },
                }
                for index in range(2)
            ],
        }
        (given,) = kubelet.plugin().Allocate(allocate("card1")).container_responses
        assert [device.name for device in given.cdi_devices] == ["example.org/npu=card1"]
        npuctl_of(config)("devices", "remove", "card0")
        kubelet.until_listed(card1="Healthy")
        npuctl_of(config)("list")  # its answer comes after the change was written
        assert names(folder) == ["card1"]
    assert list((folder / "cdi").iterdir()) == []


def test_it_outlives_the_old_plugin_of_an_upgrade_and_goes_with_the_new_one(folder: Path, kubelet: Kubelet) -> None:
    old = settings(folder, cdi=True, instance="a")
    new = settings(folder, cdi=True, instance="b", control_socket=folder / "b.sock")
    plug_in(old, 0, 1)
    with plugin(new) as second:
        with plugin(old) as first:
            first.until("registered")
            second.until("registered")
        assert names(folder) == ["npu0", "npu1"]
    assert list((folder / "cdi").glob("*.json")) == []


def write_specification(config: Config) -> None:
    cdi.write(config, Inventory(config).devices())


def write_state(config: Config) -> None:
    Inventory(config).mark(["npu0"], Health.UNHEALTHY)


@pytest.mark.parametrize("write", [write_specification, write_state])
def test_both_plugins_of_an_upgrade_may_write_at_once(folder: Path, write: Callable[[Config], None]) -> None:

    def often(config: Config) -> None:
        for _ in range(150):
            write(config)

    both = [settings(folder, cdi=True, instance=name) for name in "ab"]
    with ThreadPoolExecutor(2) as pool:
        for writing in [pool.submit(often, config) for config in both]:
            writing.result()
    assert [path.name for path in folder.rglob("*.new")] == []
