"""`npuctl`: looks at and changes a running plugin, from a shell in its pod.

kubectl exec -n npu-system ds/fake-npu -- npuctl health npu0 Unhealthy
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from fake_npu.config import EXIT_USAGE, ConfigError, load
from fake_npu.faultkinds import OPTIONS

EXIT_REFUSED = 1
"""Exit status when the plugin refuses what was asked."""
EXIT_UNREACHABLE = 2
"""Exit status when no plugin answers."""
TIMEOUT = 30.0
"""Seconds to wait for the answer."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask the plugin and print its new state, as a table or as JSON.

    Returns:
        0, or `EXIT_REFUSED`, `EXIT_UNREACHABLE` or `EXIT_USAGE`.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        config = load(dict(os.environ))
    except ConfigError as error:
        print(f"npuctl: {error}", file=sys.stderr)
        return EXIT_USAGE
    if options.command == "podresources":
        from fake_npu.podresources import shown  # noqa: PLC0415 - grpc takes longer to load than all the rest

        return shown(config.pod_resources_socket, options.get, options.times)
    try:
        answer = ask(options.socket or config.control_socket, _request(options))
    except (OSError, ValueError) as error:
        print(f"npuctl: no plugin answers at {options.socket or config.control_socket}: {error}", file=sys.stderr)
        return EXIT_UNREACHABLE
    if not answer["ok"]:
        print(f"npuctl: {answer['error']}", file=sys.stderr)
        return EXIT_REFUSED
    state = answer["state"]
    print(json.dumps(state, indent=1) if options.json else _table(state))
    return 0


def ask(path: Path, request: dict[str, object]) -> dict[str, object]:
    """Send one request to the plugin's control socket; its answer.

    Raises:
        OSError: nobody listens there, or does not answer in `TIMEOUT`.
        ValueError: the answer is no JSON object.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT)
        connection.connect(str(path))
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as answer:
            found = json.loads(answer.readline())
    if isinstance(found, dict):
        return found
    raise ValueError("the answer is no JSON object")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("npuctl", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the state as JSON")
    parser.add_argument("--socket", type=Path, help="control socket of the plugin")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="devices and faults as they are")
    health = commands.add_parser("health", help="report devices as Healthy or Unhealthy")
    health.add_argument("devices", nargs="+", metavar="ID", help="ids, or all")
    health.add_argument("health", choices=["Healthy", "Unhealthy"])
    devices = commands.add_parser("devices", help="advertise more or fewer devices").add_subparsers(
        dest="change", required=True
    )
    devices.add_parser("add").add_argument("count", type=int, nargs="?", default=1)
    devices.add_parser("remove").add_argument("devices", nargs="+", metavar="ID", help="ids, or all")
    faults = commands.add_parser("fault", help="make calls go wrong").add_subparsers(dest="change", required=True)
    fault = faults.add_parser("set", help="npuctl fault set Allocate error --message 'no firmware' --calls 1")
    fault.add_argument("rpc", help="a call, such as Allocate, ListAndWatch or Register")
    fault.add_argument("kind", help="error, delay, hang, empty, ...: docs/fake-npu.md has them all")
    for option, kind in OPTIONS.items():
        fault.add_argument(f"--{option}", type=kind)
    faults.add_parser("clear", help="remove all faults, or those of one call").add_argument("rpc", nargs="?")
    pods = commands.add_parser("podresources", help="what the kubelet says about who holds which device, as JSON")
    pods.add_argument("--get", metavar="NAMESPACE/NAME", help="of this pod alone, by the call Get")
    pods.add_argument("--times", type=int, default=1, help="ask so often without a pause, and count the refusals")
    return parser


def _request(options: argparse.Namespace) -> dict[str, object]:
    match options.command, getattr(options, "change", None):
        case "health", _:
            return {"command": "health", "devices": options.devices, "health": options.health}
        case "devices", "add":
            return {"command": "add", "count": options.count}
        case "devices", "remove":
            return {"command": "remove", "devices": options.devices}
        case "fault", "set":
            keys = ("rpc", "kind", *OPTIONS)
            fault = {key: getattr(options, key) for key in keys if getattr(options, key) is not None}
            return {"command": "fault", "fault": fault}
        case "fault", "clear":
            return {"command": "clear", "rpc": options.rpc}
        case _:
            return {"command": "list"}


def _table(state: object) -> str:
    if not isinstance(state, dict):
        return str(state)
    lines = [f"{'DEVICE':<16} {'HEALTH':<10} {'NUMA':<5} {'NODE'}"]
    for device in state["devices"]:
        numa = "-" if device["numa_node"] is None else device["numa_node"]
        there = device["path"] if device["present"] else f"{device['path']} (not there)"
        lines.append(f"{device['id']:<16} {device['health']:<10} {numa:<5} {there}")
    for fault in state["faults"]:
        rest = " ".join(f"{key}={value}" for key, value in fault.items() if key not in {"rpc", "kind"})
        lines.append(f"fault: {fault['rpc']} {fault['kind']} {rest}")
    if state["not_ready"]:
        lines.append(f"not ready: {state['not_ready']}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
