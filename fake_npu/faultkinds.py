"""What faults a plugin can be given, by name: words alone, which `npuctl` reads without loading gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

RPCS = ("GetDevicePluginOptions", "ListAndWatch", "GetPreferredAllocation", "Allocate", "PreStartContainer", "Register")
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "error": ("the call fails with --code and --message", RPCS),
    "delay": ("the call takes --seconds longer", RPCS),
    "hang": ("the call does not return until the fault is cleared", RPCS),
    "empty": ("the answer is empty: no containers, no devices", ("Allocate", "GetPreferredAllocation", "ListAndWatch")),
    "no-node": ("the variable is set, the device node is not handed over", ("Allocate",)),
    "no-variable": ("the device node is handed over, the variable is not set", ("Allocate",)),
    "no-facts": ("the file of facts is not mounted", ("Allocate",)),
    "garbage": ("success, with a variable that names no device and a node that is none", ("Allocate",)),
    "same-device": ("every container gets the first device instead of its own", ("Allocate",)),
    "wrong-device": ("the container gets the next device instead of its own", ("Allocate",)),
    "all-devices": ("the container gets every device of the node", ("Allocate",)),
    "unavailable": ("ids that are not available are preferred", ("GetPreferredAllocation",)),
    "end": ("the stream ends without an error", ("ListAndWatch",)),
    "mute": ("changes of health and of the set of devices are not reported", ("ListAndWatch",)),
    "duplicate": ("every device is listed twice", ("ListAndWatch",)),
    "pad": ("--extra more ids are listed; 100 000 pass gRPC's limit of 4 MiB", ("ListAndWatch",)),
    "bad-version": ("an API version is named that the kubelet does not know", ("Register",)),
    "bad-name": ("a resource name without a domain is registered", ("Register",)),
    "bad-socket": ("a socket is named that does not exist", ("Register",)),
    "deaf": ("a kubelet.sock that is made anew goes unnoticed", ("Register",)),
}  # fmt: skip
"""Kind: what happens, and the calls that it fits."""


OPTIONS: dict[str, Callable[[str], Any]] = {
    "seconds": float, "code": str, "message": str, "extra": int, "after": int, "calls": int,
}  # fmt: skip
"""What else a fault can be told, each with what reads its value."""
