"""What the driver and the plugin are told: one TOML file, then environment variables over it; strict in every key."""

from __future__ import annotations

import dataclasses
import os
import re
import secrets
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT_PREFIX = "FAKE_NPU_"
"""`count` in the file is `FAKE_NPU_COUNT` in the environment."""
CONFIG_VARIABLE = "FAKE_NPU_CONFIG"
"""The variable that names the file."""
EXIT_USAGE = 5
"""Exit status of a program that was told something wrong."""

DEVICE_ID_LENGTH = 63
"""The kubelet's limit for a device id, in characters."""
SOCKET_PATH_LENGTH = 107
"""The kernel's limit for the path of a unix socket, in bytes (man 7 unix)."""


class ConfigError(Exception):
    """The configuration is wrong; the message names the key, the value and what is allowed."""


@dataclass(frozen=True)
class Config:
    """The configuration of one node's fake NPUs. The same file serves the driver and the plugin."""

    resource_name: str = "aliyun.com/npu"
    """The extended resource that the plugin registers."""
    count: int = 4
    """Devices that the plugin advertises when nothing was added or removed by `npuctl`; a documented
    ecs.ebman1.26xlarge has 4."""
    first: int = 0
    """Index of the first advertised device; lets several plugins share one node's pool."""
    pool: int = 8
    """Device nodes that the driver makes: index 0 to pool - 1. Those beyond `count` wait to be added."""
    device_id: str = "npu{index}"
    """Id of a device; `{index}` and `{node}` are filled in, so ids are the same after every restart."""
    device_path: str = "/dev/npu{index}"
    """The device node, on the host and in the container."""
    numa_nodes: tuple[int, ...] = ()
    """NUMA node by index, used in turn; empty: no topology is reported."""
    cdi: bool = False
    """Hand devices over by CDI names in place of device nodes, variables and mounts in the Allocate response."""
    pre_start_required: bool = False
    """The kubelet calls PreStartContainer before each container start."""
    preferred_allocation: bool = True
    """The kubelet asks which free devices the plugin would rather give."""
    visible_devices_env: str = "NPU_VISIBLE_DEVICES"
    """Variable that tells a container its devices: ids, comma between."""
    backing: str = "loop"
    """What a device node is: `loop`, a loop device of its own with `memory_bytes` behind it; `node`, a bare node with
    the numbers below, which holds no data of its own."""
    memory_bytes: int = 1 << 20
    """Size of a device's memory."""
    node_type: str = "c"
    """`backing = "node"`: c (character) or b (block)."""
    node_major: int = 4
    """`backing = "node"`: major number of every device; 4 is the kernel's virtual terminals."""
    node_minor_base: int = 40
    """`backing = "node"`: minor number of device 0; device N has this plus N."""
    dev_dir: Path = Path("/dev")
    """Where this process sees the host's /dev."""
    state_dir: Path = Path("/var/lib/fake-npu")
    """Folder on the host, at the same path in this process: device memory, device facts, the plugin's state."""
    device_plugin_dir: Path = Path("/var/lib/kubelet/device-plugins")
    """The kubelet's folder of plugin sockets."""
    pod_resources_socket: Path = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
    """The kubelet's podresources socket."""
    cdi_dir: Path = Path("/var/run/cdi")
    """Folder of CDI specifications, at the same path on the host."""
    control_socket: Path = Path("/run/fake-npu/control.sock")
    """Where the plugin listens for `npuctl`."""
    http_port: int = 9401
    """Port of /metrics, /readyz and /livez; 0: a free one, told in the log."""
    http_address: str = ""
    """Address of that port; empty: all addresses, which in a pod is the pod's own."""
    node_name: str = ""
    """The node; empty: the machine's host name."""
    instance: str = ""
    """Part of the names of files that the plugin writes: two plugins of one resource run side by side in an upgrade."""
    socket: str = ""
    """Base name of the plugin's socket; empty: a new one whenever it is made. Kubernetes 1.37 may refuse a socket whose
    name it knows until it is started anew (kubernetes/kubernetes#135437)."""
    register_attempts: int = 8
    """Tries of one registration that the kubelet refuses, with a pause that doubles from 0.25 s to 10 s."""
    faults: tuple[str, ...] = ()
    """Faults that act from the start, each as `CALL KIND` and options as `npuctl fault set` has them, such as
    `"Register bad-version --calls 1"`; `;` between them in the environment."""

    def __post_init__(self) -> None:
        """Check what the types alone do not say.

        Raises:
            ConfigError: a value is not allowed.
        """
        self._check_numbers()
        self._check_names()
        self._check_templates()

    @property
    def node(self) -> str:
        """The node's name."""
        return self.node_name or os.uname().nodename

    @property
    def slug(self) -> str:
        """The resource name as a file name."""
        return self.resource_name.replace("/", "_")

    def new_socket_name(self) -> str:
        """Base name of the plugin's socket that is to be made: one that no kubelet knows, unless it is configured."""
        return self.socket or f"{self.slug}-{secrets.token_hex(3)}.sock"

    @property
    def scratch_name(self) -> str:
        """Base name of a file that is being written: this plugin's own, as two of an upgrade write the same files."""
        return f"{self.slug}{'-' if self.instance else ''}{self.instance}.new"

    def id_of(self, index: int) -> str:
        """The id of device `index`."""
        return self.device_id.format(index=index, node=self.node)

    def host_path_of(self, index: int) -> str:
        """The device node of device `index`, as the host names it."""
        return self.device_path.format(index=index, node=self.node)

    def seen_path_of(self, index: int) -> Path:
        """The device node of device `index`, as this process sees it."""
        return self.dev_dir / Path(self.host_path_of(index)).name

    def facts_path_of(self, index: int) -> Path:
        """The file of facts of device `index`, the same path on the host."""
        return self.state_dir / "devices" / Path(self.host_path_of(index)).name / "facts.json"

    def memory_path_of(self, index: int) -> Path:
        """The file behind device `index`'s memory."""
        return self.facts_path_of(index).with_name("memory")

    def _check_numbers(self) -> None:
        for key, low, high in (
            ("count", 0, 100_000), ("first", 0, 100_000), ("pool", 0, 256), ("memory_bytes", 8192, 1 << 30),
            ("node_major", 0, 4095), ("node_minor_base", 0, 1 << 20), ("http_port", 0, 65535),
            ("register_attempts", 1, 100),
        ):  # fmt: skip
            value = getattr(self, key)
            if not low <= value <= high:
                raise ConfigError(f"{key} = {value}: allowed are {low} to {high}.")
        if self.memory_bytes % 4096:
            raise ConfigError(f"memory_bytes = {self.memory_bytes}: must be a multiple of 4096.")
        if any(node < 0 for node in self.numa_nodes):
            raise ConfigError(f"numa_nodes = {list(self.numa_nodes)}: a NUMA node is not negative.")

    def _check_names(self) -> None:
        for key, pattern, spoken in (
            ("resource_name", r"[a-z0-9.-]+\.[a-z0-9-]+/[A-Za-z0-9._-]{1,63}", "must read like aliyun.com/npu"),
            ("backing", "loop|node", "allowed are loop and node"),
            ("node_type", "c|b", "allowed are c and b"),
            ("visible_devices_env", "[A-Z_][A-Z0-9_]*", "must be a variable's name in capitals"),
            ("instance", "[a-z0-9-]*", "only lower-case letters, digits and '-'"),
            (
                "socket",
                r"(?!kubelet\.)([A-Za-z0-9._-]+\.sock)?",
                "only a name in .sock, but not the kubelet's",
            ),
        ):
            value = getattr(self, key)
            if not re.fullmatch(pattern, value):
                raise ConfigError(f"{key} = {value!r}: {spoken}.")

    def _check_templates(self) -> None:
        for key, prefix in (("device_id", ""), ("device_path", "/dev/")):
            template = getattr(self, key)
            fixed = template.replace("{index}", "").replace("{node}", "")
            if not re.fullmatch(rf"{prefix}[A-Za-z0-9._-]*", fixed):
                allowed = f"{prefix and prefix + ' and '}letters, digits, '.', '_', '-'"
                raise ConfigError(f"{key} = {template!r}: allowed are {allowed}, {{index}} and {{node}}.")
            if "{index}" not in template:
                raise ConfigError(f"{key} = {template!r}: must hold {{index}}, or all devices would be one.")
        if len(self.id_of(100_000)) > DEVICE_ID_LENGTH:
            raise ConfigError(f"device_id = {self.device_id!r}: longer than {DEVICE_ID_LENGTH} characters.")
        for path in (self.device_plugin_dir / self.new_socket_name(), self.control_socket):
            if len(os.fsencode(path)) > SOCKET_PATH_LENGTH:
                raise ConfigError(f"{path} is too long for a socket: at most {SOCKET_PATH_LENGTH} bytes.")


def load(environment: Mapping[str, str]) -> Config:
    """The configuration from the file that `FAKE_NPU_CONFIG` names, if any, and the variables over it.

    Raises:
        ConfigError: the file cannot be read, or a key or value is not allowed.
    """
    raw: dict[str, object] = {}
    named = environment.get(CONFIG_VARIABLE)
    if named:
        try:
            raw = tomllib.loads(Path(named).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{named} cannot be read ({error.strerror}).") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{named} is not TOML: {error}.") from error
    hints = typing.get_type_hints(Config)
    keys = {field.name for field in dataclasses.fields(Config)}
    for key in raw:
        if key not in keys:
            raise ConfigError(f"{named}: unknown key {key!r}; known are {', '.join(sorted(keys))}.")
    values = {key: _from_toml(key, value, hints[key]) for key, value in raw.items()}
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == CONFIG_VARIABLE:
            continue
        key = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if key not in keys:
            raise ConfigError(f"{variable}: unknown; known are {', '.join(sorted(keys))} after {ENVIRONMENT_PREFIX}.")
        values[key] = _from_text(variable, text, hints[key])
    return Config(**values)


def _from_toml(key: str, value: object, hint: object) -> typing.Any:
    if hint is Path and isinstance(value, str):
        return Path(value)
    if isinstance(hint, types.GenericAlias):
        if isinstance(value, list) and all(type(item) is hint.__args__[0] for item in value):
            return tuple(value)
    elif isinstance(hint, type) and type(value) is hint:
        return value
    raise ConfigError(f"{key} = {value!r}: must be {_spoken(hint)}.")


def _from_text(variable: str, text: str, hint: object) -> typing.Any:
    if hint is bool:
        if text in {"true", "false"}:
            return text == "true"
        raise ConfigError(f"{variable} = {text!r}: must be true or false.")
    try:
        if hint is int:
            return int(text)
        if isinstance(hint, types.GenericAlias) and hint.__args__[0] is int:
            return tuple(int(item) for item in text.split(",") if item)
    except ValueError:
        raise ConfigError(f"{variable} = {text!r}: must be {_spoken(hint)}.") from None
    if isinstance(hint, types.GenericAlias):
        return tuple(item.strip() for item in text.split(";") if item.strip())
    return Path(text) if hint is Path else text


def _spoken(hint: object) -> str:
    names: dict[object, str] = {int: "a whole number", bool: "true or false", str: "text", Path: "a path"}
    if isinstance(hint, types.GenericAlias):
        return "whole numbers" if hint.__args__[0] is int else "a list of texts"
    return names[hint]
