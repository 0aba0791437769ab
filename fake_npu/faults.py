"""Deliberate faults, by name: what a plugin does wrong, for how many calls, until it is told to stop.

A plugin without faults behaves as if this module did not exist.
"""

from __future__ import annotations

import asyncio
import math
import shlex
from collections import Counter
from dataclasses import dataclass, field, replace

import grpc

from fake_npu.faultkinds import KINDS, OPTIONS, RPCS


class FaultError(Exception):
    """There is no such fault; the message names what there is."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        rpc: the call that it sits on, one of `RPCS`.
        kind: one of `KINDS`.
        seconds: `delay` only.
        code: gRPC status name, `error` only.
        message: of the error.
        extra: `pad` only.
        after: calls that go well first.
        calls: calls that go wrong, then none; None: all until cleared.
    """

    rpc: str
    kind: str
    seconds: float = 1.0
    code: str = "INTERNAL"
    message: str = "fault injected"
    extra: int = 100_000
    after: int = 0
    calls: int | None = None

    def __post_init__(self) -> None:
        if self.rpc not in RPCS:
            raise FaultError(f"no call {self.rpc!r}; there are: {', '.join(RPCS)}")
        if self.kind not in KINDS or self.rpc not in KINDS[self.kind][1]:
            fitting = ", ".join(kind for kind, (_, rpcs) in KINDS.items() if self.rpc in rpcs)
            raise FaultError(f"no fault {self.kind!r} for {self.rpc}; there are: {fitting}")
        if self.code == "OK" or self.code not in grpc.StatusCode.__members__:
            raise FaultError(f"no error code {self.code!r}; there are: {', '.join(grpc.StatusCode.__members__)}")
        for name, low in (("seconds", 0), ("extra", 0), ("after", 0), ("calls", 1)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise FaultError(f"{name} is {value}, less than {low}")
        if not math.isfinite(self.seconds):
            raise FaultError(f"seconds is {self.seconds}, not a number that a clock can count to")


def fault_of(text: str) -> Fault:
    """The fault that `CALL KIND` and options name, as `npuctl fault set` takes them.

    Raises:
        FaultError: there is no such fault, or an option is not one of its.
    """
    try:
        rpc, kind, *options = shlex.split(text)
    except ValueError as error:
        raise FaultError(f"{text!r} is not CALL KIND and options ({error})") from None
    names = [name.removeprefix("--") for name in options[::2]]
    if len(options) % 2 or any(name not in OPTIONS for name in names):
        known = ", ".join(f"--{name}" for name in OPTIONS)
        raise FaultError(f"the options of {text!r} are not pairs of a name and a value; names are: {known}")
    try:
        values = {name: OPTIONS[name](value) for name, value in zip(names, options[1::2], strict=True)}
    except ValueError as error:
        raise FaultError(f"an option of {text!r} is not a number ({error})") from None
    return Fault(rpc, kind, **values)


class InjectedError(Exception):
    """A call has to fail as its fault says.

    Attributes:
        code: the gRPC status.
        message: its details.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.code = grpc.StatusCode[fault.code]
        self.message = fault.message


@dataclass
class Faults:
    """The faults of one plugin, at most one for each call and kind."""

    _active: list[Fault] = field(default_factory=list)
    _clears: Counter[str] = field(default_factory=Counter)
    _cleared: asyncio.Event = field(default_factory=asyncio.Event)

    def active(self) -> list[Fault]:
        """The faults with calls left."""
        return list(self._active)

    def set(self, fault: Fault) -> None:
        """Let this fault act from the next call on, in place of one of the same call and kind."""
        self._active = [old for old in self._active if (old.rpc, old.kind) != (fault.rpc, fault.kind)] + [fault]

    def clear(self, rpc: str | None = None) -> None:
        """Remove all faults, or those of one call; calls that hang go on.

        Raises:
            FaultError: there is no such call.
        """
        if rpc is not None and rpc not in RPCS:
            raise FaultError(f"no call {rpc!r}; there are: {', '.join(RPCS)}")
        self._active = [old for old in self._active if rpc is not None and old.rpc != rpc]
        self._clears.update(RPCS if rpc is None else [rpc])
        self._cleared.set()
        self._cleared = asyncio.Event()

    def has(self, rpc: str, kind: str) -> Fault | None:
        """The fault of this call and kind, if it acts now; counts no call."""
        return next((old for old in self._active if (old.rpc, old.kind) == (rpc, kind) and not old.after), None)

    async def begin(self, rpc: str) -> dict[str, Fault]:
        """A call begins: wait, hang or fail as its faults say.

        Returns:
            The faults of this call by kind, those that change its answer included.

        Raises:
            InjectedError: the call has to fail.
        """
        acting = self._count(rpc)
        if delay := acting.get("delay"):
            await asyncio.sleep(delay.seconds)
        if "hang" in acting:
            clears = self._clears[rpc]
            while self._clears[rpc] == clears:
                await self._cleared.wait()
        if error := acting.get("error"):
            raise InjectedError(error)
        return acting

    def _count(self, rpc: str) -> dict[str, Fault]:
        acting: dict[str, Fault] = {}
        kept: list[Fault] = []
        for fault in self._active:
            if fault.rpc != rpc:
                kept.append(fault)
            elif fault.after:
                kept.append(replace(fault, after=fault.after - 1))
            else:
                acting[fault.kind] = fault
                if fault.calls is None:
                    kept.append(fault)
                elif fault.calls > 1:
                    kept.append(replace(fault, calls=fault.calls - 1))
        self._active = kept
        return acting
