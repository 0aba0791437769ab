"""The header of a device's memory and the facts: what was written is read, anything else is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from npu_bench import UNHURRIED

from fake_npu.memory import HEADER_BYTES, MAGIC, Facts, FactsError, facts_from_json, header, read_header, serial_of

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
facts = st.builds(Facts, node=names, serial=names, path=names, memory_bytes=st.integers(0, 1 << 40))


def held(content: bytes, file: Path) -> Facts:
    """What `read_header` says of a file that holds this."""
    file.write_bytes(content)
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_header(descriptor)
    finally:
        os.close(descriptor)


@UNHURRIED
@given(facts=facts, model=st.binary(max_size=50))
def test_a_header_is_read_as_it_was_written(
    facts: Facts, model: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    written = header(facts)
    assert len(written) == HEADER_BYTES
    assert held(written + model, tmp_path_factory.getbasetemp() / "memory") == facts


@UNHURRIED
@given(facts)
def test_facts_are_one_line_and_come_back(facts: Facts) -> None:
    assert "\n" not in facts.to_json()
    assert facts_from_json(facts.to_json()) == facts


@UNHURRIED
@given(content=st.binary(max_size=80) | st.binary(max_size=80).map(MAGIC.__add__))
@example(content=b"")
@example(content=bytes(HEADER_BYTES))
@example(content=MAGIC + b"[" * (HEADER_BYTES - len(MAGIC)))
def test_any_other_content_is_refused(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(FactsError):
        held(content, tmp_path_factory.getbasetemp() / "memory")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"node": "n", "serial": "s", "path": "/dev/npu0"}',
        '{"node": "n", "serial": "s", "path": "/dev/npu0", "memory_bytes": "1"}',
        '{"node": "n", "serial": "s", "path": "/dev/npu0", "memory_bytes": true}',
        '{"node": null, "serial": "s", "path": "/dev/npu0", "memory_bytes": 1}',
        '{"node": "n", "serial": "s", "path": "/dev/npu0", "memory_bytes": 1, "more": 1}',
    ],
)
def test_text_that_is_not_facts_is_refused(text: str) -> None:
    with pytest.raises(FactsError, match="not the facts of a device"):
        facts_from_json(text)


def test_what_is_wrong_with_the_memory_is_said(tmp_path: Path) -> None:
    with pytest.raises(FactsError, match="holds nothing"):
        held(b"", tmp_path / "memory")
    with pytest.raises(FactsError, match="does not begin like an NPU's memory"):
        held(bytes(HEADER_BYTES), tmp_path / "memory")


@UNHURRIED
@given(names, names, names, names)
def test_serials_differ_between_devices_and_nodes_and_stay(one: str, path: str, other: str, place: str) -> None:
    assert serial_of(one, path) == serial_of(one, path)
    assert (
        ((one, path) == (other, place))
        or "\0" in one + path + other + place
        or (serial_of(one, path) != serial_of(other, place))
    )
