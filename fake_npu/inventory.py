"""Which devices a plugin advertises, and their health; kept on the node, so that a restart heals nothing."""

from __future__ import annotations

import asyncio
import json
import stat
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from fake_npu.config import Config

STATE_VERSION = 1


class Health(StrEnum):
    """The two words that the kubelet knows."""

    HEALTHY = "Healthy"
    UNHEALTHY = "Unhealthy"


class InventoryError(Exception):
    """What was asked of the inventory cannot be; the message says why."""


@dataclass(frozen=True)
class Device:
    """One advertised device.

    Attributes:
        id: as the kubelet knows it.
        index: its place in the driver's pool.
        health: what is reported: Healthy only when the node is there and nobody has marked it Unhealthy.
        marked: what was last asked for with `npuctl health`.
        present: whether its device node is there.
        numa_node: None when no topology is reported.
        path: the device node on the host.
    """

    id: str
    index: int
    health: Health
    marked: Health
    present: bool
    numa_node: int | None
    path: str


@dataclass
class Inventory:
    """The advertised devices of one plugin. Used by one event loop only; every change wakes those who wait for one.

    Attributes:
        config: the plugin's configuration.
        version: grows with every change.
    """

    config: Config
    version: int = 0
    _indices: list[int] = field(default_factory=list)
    _unhealthy: set[int] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._indices = list(range(self.config.first, self.config.first + self.config.count))
        self._restore()

    def devices(self) -> list[Device]:
        """The advertised devices by index."""
        return [self._device(index) for index in sorted(self._indices)]

    def find(self, device_id: str) -> Device:
        """The advertised device of this id.

        Raises:
            InventoryError: there is none.
        """
        for index in self._indices:
            if self.config.id_of(index) == device_id:
                return self._device(index)
        known = ", ".join(device.id for device in self.devices()[:16]) or "none"
        raise InventoryError(f"no device {device_id!r}; there are: {known}")

    async def change(self, seen: int) -> int:
        """Wait until the version is not `seen` any more; the new version."""
        while self.version == seen:
            await self._changed.wait()
        return self.version

    def mark(self, device_ids: list[str], health: Health) -> None:
        """Report these devices with this health from now on, whatever plugin process reports them.

        Raises:
            InventoryError: an id is not advertised, or the state cannot be written; nothing is changed then.
        """
        indices = {self.find(device_id).index for device_id in device_ids}
        unhealthy = self._unhealthy | indices if health is Health.UNHEALTHY else self._unhealthy - indices
        self._become(self._indices, unhealthy)

    def add(self, count: int) -> list[Device]:
        """Advertise `count` more devices: the lowest indices from `first` on that are not advertised yet.

        A device whose node the driver has not made is advertised as Unhealthy until it is there.

        Raises:
            InventoryError: the state cannot be written; nothing is changed then.
        """
        added: list[int] = []
        taken = set(self._indices)
        index = self.config.first
        while len(added) < count:
            if index not in taken:
                added.append(index)
            index += 1
        self._become([*self._indices, *added], self._unhealthy)
        return [self._device(index) for index in added]

    def remove(self, device_ids: list[str]) -> None:
        """Advertise these devices no longer; a container that holds one keeps it.

        Raises:
            InventoryError: an id is not advertised, or the state cannot be written; nothing is changed then.
        """
        gone = {self.find(device_id).index for device_id in device_ids}
        self._become([index for index in self._indices if index not in gone], self._unhealthy)

    def touch(self) -> None:
        """Let everyone who waits for a change look again: a device node came or went, or a fault was set."""
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _device(self, index: int) -> Device:
        config = self.config
        marked = Health.UNHEALTHY if index in self._unhealthy else Health.HEALTHY
        present = _is_device(config.seen_path_of(index))
        return Device(
            id=config.id_of(index),
            index=index,
            health=marked if present else Health.UNHEALTHY,
            marked=marked,
            present=present,
            numa_node=config.numa_nodes[index % len(config.numa_nodes)] if config.numa_nodes else None,
            path=config.host_path_of(index),
        )

    @property
    def _file(self) -> Path:
        return self.config.state_dir / "plugin" / f"{self.config.slug}.json"

    def _restore(self) -> None:
        try:
            state = json.loads(self._file.read_text())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise InventoryError(f"{self._file} cannot be read ({error}): remove it to start anew") from error
        if not isinstance(state, dict) or state.get("version") != STATE_VERSION:
            raise InventoryError(f"{self._file} is of another version: remove it to start anew")
        unhealthy, added, removed = (_indices(state.get(key)) for key in ("unhealthy", "added", "removed"))
        if unhealthy is None or added is None or removed is None:
            raise InventoryError(f"{self._file} holds no lists of devices: remove it to start anew")
        self._unhealthy = unhealthy
        self._indices = sorted(set(self._indices) - removed | added)

    def _become(self, indices: list[int], unhealthy: set[int]) -> None:
        """Keep this on the node, then let it be so: what a restart would undo must not be reported first."""
        configured = set(range(self.config.first, self.config.first + self.config.count))
        state = {
            "version": STATE_VERSION,
            "unhealthy": sorted(unhealthy),
            "added": sorted(set(indices) - configured),
            "removed": sorted(configured - set(indices)),
        }
        scratch = self._file.with_name(self.config.scratch_name)
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            scratch.write_text(json.dumps(state) + "\n")
            scratch.replace(self._file)
        except OSError as error:
            raise InventoryError(f"{self._file} cannot be written ({error.strerror})") from error
        self._indices, self._unhealthy = indices, unhealthy
        self.touch()


def _indices(stored: object) -> set[int] | None:
    if not isinstance(stored, list) or not all(type(index) is int and index >= 0 for index in stored):
        return None
    return set(stored)


def _is_device(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
