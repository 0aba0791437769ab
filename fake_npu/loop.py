"""Loop devices through the kernel's own calls: attach a file to a free one, and read what one is attached to.

Request codes and the layout of `struct loop_config` and `struct loop_info64` are the kernel's (man 4 loop and
include/uapi/linux/loop.h); LOOP_CONFIGURE needs Linux 5.8.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

LOOP_MAJOR = 7
_LOOP_GET_STATUS64 = 0x4C05
_LOOP_CONFIGURE = 0x4C0A
_LOOP_CTL_GET_FREE = 0x4C82
_AUTOCLEAR = 4
_INFO = struct.Struct("<QQQQQIIII64s64s32sQQ")
_CONFIG_HEAD = struct.Struct("<II")
_CONFIG_TAIL = bytes(64)
_ATTEMPTS = 32
"""Free devices that others may take between asking and attaching before this gives up."""


def attach(memory: Path, control: Path, scratch: Path) -> tuple[int, int]:
    """Attach `memory` to a free loop device that the kernel frees when its last user closes it.

    Args:
        memory: the file.
        control: the loop-control node.
        scratch: where a device node may be made for a moment.

    Returns:
        A descriptor that holds the device, and its minor number.

    Raises:
        OSError: the kernel has no loop devices, or this process may not use them.
    """
    backing = os.open(memory, os.O_RDWR | os.O_CLOEXEC)
    controller = -1
    try:
        controller = os.open(control, os.O_RDWR | os.O_CLOEXEC)
        for _ in range(_ATTEMPTS):
            minor = fcntl.ioctl(controller, _LOOP_CTL_GET_FREE)
            descriptor = open_minor(minor, scratch)
            name = os.fsencode(memory)[-63:]
            info = _INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, _AUTOCLEAR, name, b"", b"", 0, 0)
            try:
                fcntl.ioctl(descriptor, _LOOP_CONFIGURE, _CONFIG_HEAD.pack(backing, 0) + info + _CONFIG_TAIL)
            except OSError as error:
                os.close(descriptor)
                if error.errno != errno.EBUSY:
                    raise
                continue
            return descriptor, minor
        raise OSError(errno.EBUSY, "every free loop device was taken by another program")
    finally:
        os.close(backing)
        if controller >= 0:
            os.close(controller)


def open_minor(minor: int, scratch: Path) -> int:
    """Open loop device `minor` for reading and writing, by a node made at `scratch` and removed at once."""
    scratch.unlink(missing_ok=True)
    os.mknod(scratch, 0o060600, os.makedev(LOOP_MAJOR, minor))
    try:
        return os.open(scratch, os.O_RDWR | os.O_CLOEXEC)
    finally:
        scratch.unlink()


def holds(descriptor: int, memory: Path) -> bool:
    """Whether the open loop device is attached to this very file."""
    status = bytearray(_INFO.size)
    try:
        fcntl.ioctl(descriptor, _LOOP_GET_STATUS64, status)
    except OSError as error:
        if error.errno in {errno.ENXIO, errno.ENOTTY, errno.EINVAL}:  # attached to nothing, or no loop device at all
            return False
        raise
    found = _INFO.unpack(status)
    wanted = memory.stat()
    return (found[0], found[1]) == (wanted.st_dev, wanted.st_ino)
