"""The CDI specification of the advertised devices: whole, renewed with every change, gone with the last plugin."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from fake_npu.allocation import PERMISSIONS, cdi_kind, facts_path
from fake_npu.config import Config
from fake_npu.inventory import Device

CDI_VERSION = "0.6.0"
"""The oldest version of the specification that knows all fields used here."""


def specification(config: Config, devices: Sequence[Device]) -> dict[str, object]:
    """The specification as JSON values: one CDI device for each NPU, with its node and its facts."""
    return {
        "cdiVersion": CDI_VERSION,
        "kind": cdi_kind(config),
        "devices": [
            {
                "name": device.id,
                "containerEdits": {
                    "deviceNodes": [{"path": device.path, "hostPath": device.path, "permissions": PERMISSIONS}],
                    "mounts": [
                        {
                            "hostPath": str(config.facts_path_of(device.index)),
                            "containerPath": facts_path(device.id),
                            "options": ["ro", "bind"],
                        }
                    ],
                },
            }
            for device in devices
        ],
    }


def path(config: Config) -> Path:
    """The file of the specification."""
    return config.cdi_dir / f"fake-npu-{config.slug}.json"


def write(config: Config, devices: Sequence[Device]) -> None:
    """Put the specification in place; a runtime that reads at the same time sees the old one or the new one.

    Raises:
        OSError: the folder cannot be written to.
    """
    final = path(config)
    final.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    scratch = final.with_name(config.scratch_name)  # runtimes read *.json and *.yaml only
    scratch.write_text(json.dumps(specification(config, devices), indent=1) + "\n")
    scratch.replace(final)


@contextlib.contextmanager
def held(config: Config) -> Iterator[None]:
    """The specification may be written inside, and is gone when the last plugin of this resource has left.

    The plugins of an upgrade share it, as a runtime refuses two specifications that name one device.

    Raises:
        OSError: the plugin's folder cannot be written to.
    """
    lock = config.state_dir / "plugin" / f"{config.slug}.cdi.lock"
    lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    holder = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(holder, fcntl.LOCK_SH)  # waits no longer than another plugin takes to remove the file
        yield
    finally:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path(config).unlink(missing_ok=True)
        os.close(holder)
