"""The five calls of the DevicePlugin service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias, TypeVar

import grpc

from fake_npu import allocation, events
from fake_npu.api import deviceplugin_pb2 as pb
from fake_npu.api.deviceplugin_pb2_grpc import DevicePluginServicer
from fake_npu.config import Config
from fake_npu.faults import Fault, Faults, InjectedError
from fake_npu.inventory import Inventory, InventoryError
from fake_npu.metrics import Metrics

Answer = TypeVar("Answer")
Context: TypeAlias = grpc.aio.ServicerContext


@dataclass
class Servicer(DevicePluginServicer):
    """Serves the kubelet from an inventory.

    Attributes:
        stopping: set when the plugin ends: open streams end without an error.
        streams: how many ListAndWatch streams are open.
    """

    config: Config
    inventory: Inventory
    faults: Faults
    metrics: Metrics
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    streams: int = 0

    def options(self) -> pb.DevicePluginOptions:
        """What GetDevicePluginOptions answers and Register says."""
        return pb.DevicePluginOptions(
            pre_start_required=self.config.pre_start_required,
            get_preferred_allocation_available=self.config.preferred_allocation,
        )

    async def GetDevicePluginOptions(self, request: pb.Empty, context: Context) -> pb.DevicePluginOptions:  # noqa: ARG002, N802
        """Tell the kubelet which of the optional calls it has to make."""

        async def answer(_: dict[str, Fault]) -> pb.DevicePluginOptions:
            return self.options()

        return await self._measured("GetDevicePluginOptions", context, answer)

    async def ListAndWatch(self, request: pb.Empty, context: Context) -> AsyncIterator[pb.ListAndWatchResponse]:  # noqa: ARG002, N802
        """Send all devices now and after every change, until the kubelet or the plugin goes away."""
        self._stream_opened()
        code = "CANCELLED"
        try:
            version = self.inventory.version
            while not self.stopping.is_set():
                acting = await self._or_stop(self.faults.begin("ListAndWatch"))
                if acting is None or "end" in acting:
                    break
                if "mute" not in acting:
                    response = self._list(acting)
                    events.info("devices-sent", total=len(response.devices), healthy=self._healthy(response))
                    yield response
                if await self._or_stop(self.inventory.change(version)) is None:
                    break
                version = self.inventory.version
            code = "OK"
        except InjectedError as error:
            code = error.code.name
            await _abort(context, error.code, error.message)
        finally:
            self._stream_closed(code)

    async def GetPreferredAllocation(  # noqa: N802
        self, request: pb.PreferredAllocationRequest, context: Context
    ) -> pb.PreferredAllocationResponse:
        """Say which of the free devices belong together."""

        async def answer(acting: dict[str, Fault]) -> pb.PreferredAllocationResponse:
            response = pb.PreferredAllocationResponse()
            if "empty" in acting:
                return response
            devices = self.inventory.devices()
            for asked in request.container_requests:
                ids = allocation.preferred(
                    devices, asked.available_deviceIDs, asked.must_include_deviceIDs, asked.allocation_size
                )
                if "unavailable" in acting:
                    ids = [f"not-there-{place}" for place in range(asked.allocation_size)]
                response.container_responses.add(deviceIDs=ids)
                events.info("preferred", available=len(asked.available_deviceIDs), size=asked.allocation_size, ids=ids)
            return response

        return await self._measured("GetPreferredAllocation", context, answer)

    async def Allocate(self, request: pb.AllocateRequest, context: Context) -> pb.AllocateResponse:  # noqa: N802
        """Hand devices over: node, variable, facts and annotation, or CDI names."""

        async def answer(acting: dict[str, Fault]) -> pb.AllocateResponse:
            response = pb.AllocateResponse()
            if "empty" in acting:
                return response
            every = self.inventory.devices()
            for asked in request.container_requests:
                devices = [self.inventory.find(device_id) for device_id in asked.devices_ids]
                for device in devices:
                    if not device.present:
                        raise InventoryError(f"device {device.id!r} has no node {device.path}")
                response.container_responses.append(
                    allocation.with_faults(self.config, devices, every, acting.values())
                )
                for device in devices:
                    self.metrics.allocated.labels(device.id).inc()
                events.info("allocated", ids=list(asked.devices_ids), faults=sorted(acting))
            return response

        return await self._measured("Allocate", context, answer)

    async def PreStartContainer(  # noqa: N802
        self, request: pb.PreStartContainerRequest, context: Context
    ) -> pb.PreStartContainerResponse:
        """Check that the devices are there and healthy before a container starts with them."""

        async def answer(_: dict[str, Fault]) -> pb.PreStartContainerResponse:
            for device_id in request.devices_ids:
                device = self.inventory.find(device_id)
                if device.health != "Healthy":
                    raise InventoryError(f"device {device.id!r} is {device.health}")
            events.info("pre-start", ids=list(request.devices_ids))
            return pb.PreStartContainerResponse()

        return await self._measured("PreStartContainer", context, answer)

    def _list(self, acting: dict[str, Fault]) -> pb.ListAndWatchResponse:
        response = pb.ListAndWatchResponse()
        for device in [] if "empty" in acting else self.inventory.devices():
            listed = response.devices.add(ID=device.id, health=device.health.value)
            if device.numa_node is not None:
                listed.topology.nodes.add(ID=device.numa_node)
        if "duplicate" in acting:
            response.devices.extend(list(response.devices))
        if pad := acting.get("pad"):
            for place in range(pad.extra):
                response.devices.add(ID=f"pad-{place:057d}", health="Healthy")
        return response

    def _healthy(self, response: pb.ListAndWatchResponse) -> int:
        return sum(device.health == "Healthy" for device in response.devices)

    async def _or_stop(self, work: Awaitable[Answer]) -> Answer | None:
        """The result of `work`, or None when the plugin stops first."""
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            stop.cancel()

    async def _measured(
        self, rpc: str, context: Context, answer: Callable[[dict[str, Fault]], Awaitable[Answer]]
    ) -> Answer:
        code, began = grpc.StatusCode.CANCELLED, time.monotonic()
        try:
            response = await answer(await self.faults.begin(rpc))
        except InjectedError as error:
            code, message = error.code, error.message
            events.warning("call-failed-by-fault", rpc=rpc, code=code.name, message=message)
        except InventoryError as error:
            code, message = grpc.StatusCode.FAILED_PRECONDITION, str(error)
            events.warning("call-refused", rpc=rpc, reason=message)
        else:
            code = grpc.StatusCode.OK
            return response
        finally:
            self.metrics.calls.labels(rpc, code.name).inc()
            self.metrics.duration.labels(rpc).observe(time.monotonic() - began)
        return await _abort(context, code, message)  # counted first: who has the answer finds it in the metrics

    def _stream_opened(self) -> None:
        self.streams += 1
        self.metrics.streams.set(self.streams)
        events.info("stream-opened", streams=self.streams)

    def _stream_closed(self, code: str) -> None:
        self.streams -= 1
        self.metrics.streams.set(self.streams)
        self.metrics.calls.labels("ListAndWatch", code).inc()
        events.info("stream-closed", streams=self.streams, code=code)


async def _abort(context: Context, code: grpc.StatusCode, message: str) -> NoReturn:
    await context.abort(code, message)
    raise AssertionError("abort returned")
