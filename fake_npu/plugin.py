"""The device plugin: `python -m fake_npu.plugin`, until SIGTERM or SIGINT.

Exit status: 0 after a signal; `EXIT_USAGE` when the configuration is wrong; `EXIT_FAILED` when the kubelet refuses for
good, its folder is gone, or a socket or port cannot be had.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator

from asyncinotify import Event, Inotify, Mask

from fake_npu import cdi, events
from fake_npu.config import EXIT_USAGE, Config, ConfigError, load
from fake_npu.control import Control, listening
from fake_npu.faults import FaultError, Faults, fault_of
from fake_npu.folders import Folders
from fake_npu.inventory import Health, Inventory, InventoryError
from fake_npu.metrics import Metrics, served
from fake_npu.registration import Registrar, RegistrationError
from fake_npu.servicer import Servicer

EXIT_FAILED = 1
"""Exit status when the plugin cannot go on."""


def run(environment: dict[str, str]) -> int:
    """Run the plugin; its exit status."""
    events.to_stdout()
    os.umask(0o077)  # its sockets are for root alone
    try:
        config = load(environment)
        faults = Faults()
        for text in config.faults:
            faults.set(fault_of(text))
    except (ConfigError, FaultError) as error:
        events.error("config-refused", reason=str(error))
        return EXIT_USAGE
    status = 0
    try:
        asyncio.run(_plugin(config, faults))
    except* (RegistrationError, InventoryError, OSError) as group:
        for leaf in _leaves(group):
            events.error("plugin-failed", reason=str(leaf))
        status = EXIT_FAILED
    return status


async def _plugin(config: Config, faults: Faults) -> None:
    """Serve until a signal comes.

    Raises:
        RegistrationError: alone or in a group; the kubelet refuses.
        InventoryError: the stored state cannot be read.
        OSError: a socket, port or folder cannot be used.
    """
    inventory, metrics = Inventory(config), Metrics()
    servicer = Servicer(config, inventory, faults, metrics)
    registrar = Registrar(config, servicer)

    def not_ready() -> str:
        if not registrar.registered:
            return "not registered with the kubelet"
        return "" if servicer.streams else "the kubelet watches no device"

    def status() -> dict[str, object]:
        return {"resource": config.resource_name, "node": config.node, "not_ready": not_ready()}

    control = Control(inventory, faults, registrar.look_again, status)
    config.control_socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    config.control_socket.unlink(missing_ok=True)
    with served(metrics, not_ready, config.http_address, config.http_port) as port:
        events.info("plugin-started", resource=config.resource_name, node=config.node, http_port=port)
        with _ended_by_signal(servicer.stopping), Inotify() as inotify:
            folders = Folders(inotify)
            _watch_nodes(config, inventory, folders)
            async with listening(control, str(config.control_socket)), asyncio.TaskGroup() as tasks:
                work = [
                    tasks.create_task(registrar.keep(folders)),
                    tasks.create_task(folders.tell()),
                    tasks.create_task(_publish(config, inventory, metrics)),
                ]
                await servicer.stopping.wait()
                for task in work:
                    task.cancel()
        events.info("plugin-stopped")


@contextlib.contextmanager
def _ended_by_signal(stopping: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        events.info("plugin-stopping", signal=name)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _watch_nodes(config: Config, inventory: Inventory, folders: Folders) -> None:
    """A device whose node goes is Unhealthy, one whose node comes is as it was marked; told by the file system."""

    def changed(event: Event) -> None:
        names = {config.seen_path_of(device.index).name for device in inventory.devices()}
        if event.name is None or event.name.name in names:
            inventory.touch()

    folders.watch(config.dev_dir, Mask.CREATE | Mask.MOVED_TO | Mask.DELETE | Mask.MOVED_FROM, changed)
    inventory.touch()  # what came or went before the watch began


async def _publish(config: Config, inventory: Inventory, metrics: Metrics) -> None:
    """Keep the gauges, and with CDI the specification, as the inventory is."""
    with cdi.held(config) if config.cdi else contextlib.nullcontext():
        version = -1
        while True:
            version = await inventory.change(version)
            devices = inventory.devices()
            for health in Health:
                metrics.devices.labels(health.value).set(sum(device.health is health for device in devices))
            if config.cdi:
                cdi.write(config, devices)


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


if __name__ == "__main__":
    sys.exit(run(dict(os.environ)))
