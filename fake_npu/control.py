"""What `npuctl` may ask of a running plugin: one JSON object a line in, one out, over a socket that only root opens."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fake_npu import events
from fake_npu.faults import Fault, FaultError, Faults
from fake_npu.inventory import Device, Health, Inventory, InventoryError

LINE_LIMIT = 1 << 16
"""Bytes of one request."""
MOST_ADDED = 100_000
"""Devices that one request may add."""


class RequestError(Exception):
    """The request is none that the plugin knows; the message says why."""


@dataclass
class Control:
    """Changes the devices and faults of one plugin, and answers with what is then true.

    Attributes:
        look_again: tells the registrar that a fault was set or cleared.
        status: the plugin's readiness and registration.
    """

    inventory: Inventory
    faults: Faults
    look_again: Callable[[], None]
    status: Callable[[], dict[str, object]]

    def answer(self, request: object) -> dict[str, object]:
        """Do what the request asks.

        Raises:
            RequestError: a key is missing, unknown, or of the wrong type.
            InventoryError: there is no such device.
            FaultError: there is no such fault.
        """
        if not isinstance(request, dict):
            raise RequestError("a request is a JSON object")
        fields = {key: value for key, value in request.items() if key != "command"}
        match request.get("command"):
            case "list":
                _only(fields)
            case "health":
                _only(fields, devices=list, health=str)
                self.inventory.mark(self._ids(request["devices"]), _health(request["health"]))
            case "add":
                _only(fields, count=int)
                if not 1 <= request["count"] <= MOST_ADDED:
                    raise RequestError(f"count must be 1 to {MOST_ADDED}")
                self.inventory.add(request["count"])
            case "remove":
                _only(fields, devices=list)
                self.inventory.remove(self._ids(request["devices"]))
            case "fault":
                _only(fields, fault=dict)
                self._set_fault(request["fault"])
            case "clear":
                _only(fields, rpc=(str, type(None)))
                self.faults.clear(request["rpc"])
                self._faults_changed()
            case other:
                raise RequestError(f"no command {other!r}; there are: list, health, add, remove, fault, clear")
        return self.state()

    def state(self) -> dict[str, object]:
        """Everything that can be changed, as it is now."""
        return {
            **self.status(),
            "devices": [_shown(device) for device in self.inventory.devices()],
            "faults": [asdict(fault) for fault in self.faults.active()],
        }

    def _set_fault(self, fields: dict[str, Any]) -> None:
        kinds: dict[str, type | tuple[type, ...]] = dict.fromkeys(("rpc", "kind", "code", "message"), str)
        kinds |= {"seconds": (int, float), "extra": int, "after": int, "calls": (int, type(None))}
        _only(fields, required=("rpc", "kind"), **kinds)
        self.faults.set(Fault(**fields))
        self._faults_changed()

    def _faults_changed(self) -> None:
        self.inventory.touch()
        self.look_again()

    def _ids(self, named: list[object]) -> list[str]:
        if named == ["all"]:
            return [device.id for device in self.inventory.devices()]
        ids = [name for name in named if isinstance(name, str)]
        if not ids or len(ids) != len(named):
            raise RequestError("devices must be ids, at least one, or all")
        return ids


@contextlib.asynccontextmanager
async def listening(control: Control, path: str) -> AsyncIterator[None]:
    """Answer requests at the unix socket `path`, mode 0600, until the block ends.

    Raises:
        OSError: the socket cannot be made.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(json.dumps(reply(control, await reader.readline())).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, ValueError) as error:  # the caller is gone, or its line is over the limit
            events.warning("control-failed", reason=str(error))
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, path, limit=LINE_LIMIT)
    async with server:
        yield


def reply(control: Control, line: bytes) -> dict[str, object]:
    """The answer to one line: `{"ok": true, "state": ...}` or `{"ok": false, "error": ...}`."""
    try:
        request = json.loads(line)
        state = control.answer(request)
    except (ValueError, RecursionError, RequestError, InventoryError, FaultError) as error:
        events.warning("control-refused", reason=str(error))
        return {"ok": False, "error": str(error)}
    if request["command"] != "list":
        events.info("control", **{key: value for key, value in request.items() if value is not None})
    return {"ok": True, "state": state}


def _only(
    fields: Mapping[str, object], required: tuple[str, ...] | None = None, **kinds: type | tuple[type, ...]
) -> None:
    for key in sorted(fields):
        if key not in kinds:
            raise RequestError(f"unknown key {key!r}; known are: {', '.join(kinds) or 'none'}")
        value, kind = fields[key], kinds[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise RequestError(f"{key} = {value!r} is of the wrong type")
    for key in required if required is not None else kinds:
        if key not in fields:
            raise RequestError(f"{key} is missing")


def _health(text: str) -> Health:
    try:
        return Health(text)
    except ValueError:
        raise RequestError(f"no health {text!r}; there are: {', '.join(Health)}") from None


def _shown(device: Device) -> dict[str, object]:
    fields = asdict(device)
    del fields["index"]
    return fields
