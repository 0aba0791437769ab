"""The configuration: strict in every key, and each refusal says what is allowed."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from npu_bench import UNHURRIED, variables

from fake_npu.config import DEVICE_ID_LENGTH, Config, ConfigError, load

KEYS = [field.name for field in dataclasses.fields(Config)]
HINTS = typing.get_type_hints(Config)


def test_without_a_word_it_is_the_default() -> None:
    assert load({"HOME": "/root"}) == Config()
    assert load({"FAKE_NPU_CONFIG": ""}) == Config()


def test_variables_go_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('count = 3\npool = 5\nnuma_nodes = [0, 1]\ncdi = true\nstate_dir = "/state"\n')
    config = load({"FAKE_NPU_CONFIG": str(file), "FAKE_NPU_COUNT": "7", "FAKE_NPU_NUMA_NODES": "4,5"})
    expected = Config(count=7, pool=5, numa_nodes=(4, 5), cdi=True, state_dir=Path("/state"))
    assert config == expected


def toml(config: Config) -> str:
    def text(value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        return str(list(value)) if isinstance(value, tuple) else str(value) if isinstance(value, int) else f'"{value}"'

    return "".join(f"{key} = {text(value)}\n" for key, value in vars(config).items())


configs = st.builds(
    Config,
    resource_name=st.from_regex(r"[a-z]{1,10}\.[a-z]{2,5}/[A-Za-z0-9._-]{1,20}", fullmatch=True),
    count=st.integers(0, 100_000),
    first=st.integers(0, 100_000),
    pool=st.integers(0, 256),
    device_id=st.sampled_from(["npu{index}", "{node}-{index}", "a.{index}.b_c"]),
    device_path=st.sampled_from(["/dev/npu{index}", "/dev/{node}-{index}"]),
    numa_nodes=st.lists(st.integers(0, 7), max_size=4).map(tuple),
    cdi=st.booleans(),
    pre_start_required=st.booleans(),
    backing=st.sampled_from(["loop", "node"]),
    memory_bytes=st.integers(2, 1 << 18).map(lambda pages: pages * 4096),
    http_port=st.integers(0, 65535),
    node_name=st.sampled_from(["worker", "node-1.example.org"]),
    instance=st.from_regex(r"[a-z0-9-]{0,12}", fullmatch=True),
    socket=st.from_regex(r"([a-z0-9-]{1,12}\.sock)?", fullmatch=True).filter(lambda name: name != "kubelet.sock"),
    register_attempts=st.integers(1, 100),
    faults=st.lists(st.sampled_from(["Register deaf", "Allocate error --message 'a b'"]), max_size=3).map(tuple),
)


@settings(UNHURRIED, max_examples=40)
@given(configs)
def test_variables_carry_every_configuration(config: Config) -> None:
    assert load(variables(config)) == config


@settings(UNHURRIED, max_examples=40)
@given(config=configs)
def test_a_file_carries_every_configuration(config: Config, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "every.toml"
    file.write_text(toml(config))
    assert load({"FAKE_NPU_CONFIG": str(file)}) == config


@settings(UNHURRIED, max_examples=40)
@given(configs, st.integers(0, 10_000))
def test_ids_paths_and_files_of_two_devices_differ(config: Config, index: int) -> None:
    for of in (config.id_of, config.host_path_of, config.seen_path_of, config.facts_path_of, config.memory_path_of):
        assert of(index) != of(index + 1)
    assert len(config.id_of(index)) <= DEVICE_ID_LENGTH
    assert config.host_path_of(index) == f"/dev/{config.seen_path_of(index).name}"


@UNHURRIED
@given(st.dictionaries(st.sampled_from(KEYS), st.text(st.characters(exclude_categories=["Cs", "Cc"]))))
def test_any_text_in_any_variable_is_a_configuration_or_a_sentence(texts: dict[str, str]) -> None:
    sentence = "."
    try:
        load({f"FAKE_NPU_{key.upper()}": text for key, text in texts.items()})
    except ConfigError as error:
        sentence = str(error)
    assert sentence.endswith(".")
    assert "\n" not in sentence


REFUSED = [
    ("count", -1, "count = -1: allowed are 0 to 100000."),
    ("count", 100_001, "count = 100001: allowed are 0 to 100000."),
    ("first", -1, "first = -1: allowed are 0 to 100000."),
    ("pool", 257, "pool = 257: allowed are 0 to 256."),
    ("memory_bytes", 4096, "memory_bytes = 4096: allowed are 8192 to 1073741824."),
    ("memory_bytes", 8193, "memory_bytes = 8193: must be a multiple of 4096."),
    ("node_major", 4096, "node_major = 4096: allowed are 0 to 4095."),
    ("node_minor_base", -1, "node_minor_base = -1: allowed are 0 to 1048576."),
    ("http_port", 65536, "http_port = 65536: allowed are 0 to 65535."),
    ("register_attempts", 0, "register_attempts = 0: allowed are 1 to 100."),
    ("numa_nodes", (0, -1), "numa_nodes = [0, -1]: a NUMA node is not negative."),
    ("resource_name", "npu", "resource_name = 'npu': must read like aliyun.com/npu."),
    ("resource_name", "aliyun.com/", "resource_name = 'aliyun.com/': must read like aliyun.com/npu."),
    ("backing", "file", "backing = 'file': allowed are loop and node."),
    ("node_type", "p", "node_type = 'p': allowed are c and b."),
    ("visible_devices_env", "npus", "visible_devices_env = 'npus': must be a variable's name in capitals."),
    ("instance", "A", "instance = 'A': only lower-case letters, digits and '-'."),
    ("socket", "../a.sock", "socket = '../a.sock': only a name in .sock, but not the kubelet's."),
    ("socket", "kubelet.sock", "socket = 'kubelet.sock': only a name in .sock, but not the kubelet's."),
    ("device_id", "npu", "device_id = 'npu': must hold {index}, or all devices would be one."),
    (
        "device_id",
        "{other}{index}",
        "device_id = '{other}{index}': allowed are letters, digits, '.', '_', '-', {index} and {node}.",
    ),
    ("device_id", "{index}" + "x" * 60, f"device_id = '{{index}}{'x' * 60}': longer than 63 characters."),
    (
        "device_path",
        "/dev/npu/{index}",
        "device_path = '/dev/npu/{index}': allowed are /dev/ and letters, digits, '.', '_', '-', {index} and {node}.",
    ),
    ("device_path", "/dev/npu", "device_path = '/dev/npu': must hold {index}, or all devices would be one."),
    ("control_socket", Path("/" + "s" * 107), f"/{'s' * 107} is too long for a socket: at most 107 bytes."),
]


@pytest.mark.parametrize(("key", "value", "sentence"), REFUSED)
def test_a_value_that_is_not_allowed_is_refused(key: str, value: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**{key: value})
    assert str(caught.value) == sentence


def test_the_plugins_own_socket_must_fit_too() -> None:
    with pytest.raises(
        ConfigError, match=r"/aliyun\.com_npu-[0-9a-f]{6}\.sock is too long for a socket: at most 107 bytes\."
    ):
        Config(device_plugin_dir=Path("/" + "d" * 80))
    assert Config(device_plugin_dir=Path("/" + "d" * 79))


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("FAKE_NPU_COUNT", "four", "FAKE_NPU_COUNT = 'four': must be a whole number."),
        ("FAKE_NPU_CDI", "yes", "FAKE_NPU_CDI = 'yes': must be true or false."),
        ("FAKE_NPU_NUMA_NODES", "0;1", "FAKE_NPU_NUMA_NODES = '0;1': must be whole numbers."),
        ("FAKE_NPU_CUONT", "4", f"FAKE_NPU_CUONT: unknown; known are {', '.join(sorted(KEYS))} after FAKE_NPU_."),
    ],
)
def test_a_variable_that_cannot_be_read_is_refused(variable: str, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({variable: text})
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('count = "4"', "count = '4': must be a whole number."),
        ("count = true", "count = True: must be a whole number."),
        ("cdi = 1", "cdi = 1: must be true or false."),
        ("node_name = 1", "node_name = 1: must be text."),
        ("state_dir = 1", "state_dir = 1: must be a path."),
        ("numa_nodes = 0", "numa_nodes = 0: must be whole numbers."),
        ("numa_nodes = [true]", "numa_nodes = [True]: must be whole numbers."),
        ("cuont = 4", f"FILE: unknown key 'cuont'; known are {', '.join(sorted(KEYS))}."),
        ("[plugin]\ncount = 4", f"FILE: unknown key 'plugin'; known are {', '.join(sorted(KEYS))}."),
    ],
)
def test_a_file_that_says_something_wrong_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text + "\n")
    with pytest.raises(ConfigError) as caught:
        load({"FAKE_NPU_CONFIG": str(file)})
    assert str(caught.value) == sentence.replace("FILE", str(file))


@pytest.mark.parametrize("content", [None, b"count = ", b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "a.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load({"FAKE_NPU_CONFIG": str(file)})
    reason = f"{file} cannot be read (No such file or directory)." if content is None else f"{file} is not TOML: "
    assert str(caught.value).startswith(reason)
