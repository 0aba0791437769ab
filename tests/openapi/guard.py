"""Proof that nothing but this machine is contacted: every connection and every look-up of a name is seen."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

HERE = ("127.0.0.1", "localhost", "::1")


@contextmanager
def only_this_machine() -> Iterator[list[str]]:
    """Refuse and note whatever would leave this machine while the block lasts."""
    left: list[str] = []
    patch = pytest.MonkeyPatch()
    connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def refuse(host: Any) -> None:
        try:
            here = host in HERE or ipaddress.ip_address(host).is_loopback
        except ValueError:
            here = False
        if not here:
            left.append(str(host))
            raise OSError(f"not of this machine: {host}")

    def checked(original: Any) -> Any:
        def to(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                refuse(address[0])
            return original(self, address)

        return to

    def looked_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        refuse(host)
        return look_up(host, *args, **kwargs)

    patch.setattr(socket.socket, "connect", checked(connect))
    patch.setattr(socket.socket, "connect_ex", checked(connect_ex))
    patch.setattr(socket, "getaddrinfo", looked_up)
    try:
        yield left
    finally:
        patch.undo()
