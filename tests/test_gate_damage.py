"""Ten thousand damaged inputs: each gives a verdict or a sentence, none a traceback, none a pass that it should not.

A change that leaves the file valid, and every outcome and the names of all evidence as they were, may pass: only the
signature can tell it. Any other may not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateworld import NOW, catalogue, catalogue_of, check, codes, keep, policy, results, write
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gate.decision import Decision
from gate.jsonfile import MOST_BYTES, UnreadableError
from gate.judge import decide
from gate.policy import Policy, policy_file, read_policy
from gate.policyrules import PolicyError
from gate.results import is_inside, read_results
from gate.screen import ROWS, screen_lines

SPLIT = 5
"""Tests that share the ten thousand: 2,000 each."""
AT_ONCE = 20
"""Inputs that hypothesis draws in one go: to begin an example costs it more than the gate needs for a verdict."""
many = settings(
    max_examples=10_000 // SPLIT // AT_ONCE,
    deadline=None,
    database=None,
    derandomize=True,  # the same ten thousand each time: what fails for one fails for all
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def some(*parts: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """AT_ONCE inputs, each a tuple of `parts`."""
    return st.lists(st.tuples(*parts), min_size=AT_ONCE, max_size=AT_ONCE)


HOSTILE: tuple[Any, ...] = (
    "../../etc/passwd", "/etc/passwd", "evidence/../../x", "evidence/a\x00b", "evidence\\..\\x", "\x1b]0;owned\x07",
    "\x1b[2J\x1b[1;1H", "<script>alert(1)</script>", "]]>", "{{7*7}}", "%s%n", "$(reboot)", "\u202eevil", "a" * 5000,
    "\r\nPASS: it may be released.", "", " ", "😀" * 100, -1, 0, 2**63, 10**40, 1e308, True, None, [], {}, [[]],
    {"a": {"b": []}}, ["x"] * 50,
)  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, Policy, dict[str, Any]]:
    """A results folder that passes, the policy that it passes, and what its file holds."""
    content = results()
    folder = tmp_path / "run"
    keep(content, folder, "pod.log", b"98/98\n")
    write(folder, content)
    rules = policy(tmp_path)
    assert decide([folder], rules, now=NOW).exit_code == 0
    return folder, rules, content


def verdict(folder: Path, rules: Policy) -> Decision:
    """The decision, once it is shown to be one screen of plain text."""
    decision = decide([folder], rules, now=NOW)
    lines = screen_lines(decision)
    assert len(lines) <= ROWS
    assert all(line.isprintable() for line in lines)
    assert (decision.exit_code == 0) == lines[0].startswith("PASS")
    assert not any(line.startswith("PASS") for line in lines[1:])
    return decision


def outcomes(content: Any) -> Any:
    """What a verdict hangs on and a careless change must not reach."""
    return (
        [(one["id"], one["outcome"], one["level"]) for one in content["checks"]],
        content["run"]["state"],
        content["inventory"]["left_behind"],
        content["catalogue"],
        sorted({kept["file"] for one in content["checks"] for kept in one["evidence"]}),
    )


def damaged_bytes(whole: bytes, kind: str, where: int, length: int, noise: bytes) -> bytes:
    """`whole` with one damage of a kind at a place, counted modulo its length."""
    at = where % len(whole)
    return {
        "cut": whole[:at],
        "lost": whole[:at] + whole[at + length :],
        "doubled": whole[: at + length] + whole[at:],
        "changed": whole[:at] + bytes([whole[at] ^ 1 << length % 8]) + whole[at + 1 :],
        "zeros": whole[:at] + bytes(length) + whole[at + length :],
        "noise": whole[:at] + noise + whole[at:],
    }[kind]


DAMAGE = some(
    st.sampled_from(["cut", "lost", "doubled", "changed", "zeros", "noise"]),
    st.integers(0, 2**20),
    st.integers(1, 400),
    st.binary(max_size=12),
)
"""The last four arguments of `damaged_bytes`."""


@many
@given(damages=DAMAGE)
def test_bytes_that_were_lost_doubled_or_changed(world: tuple[Path, Policy, Any], damages: list[Any]) -> None:
    folder, rules, content = world
    whole = json.dumps(content).encode()
    for damage in damages:
        damaged = damaged_bytes(whole, *damage)
        (folder / "results.json").write_bytes(damaged)
        if verdict(folder, rules).exit_code == 0:
            assert damage[0] not in ("cut", "zeros")
            assert outcomes(json.loads(damaged)) == outcomes(content)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a JSON value."""
    if path:
        yield path
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from places(inner, (*path, step))


PLACES = list(places(results()))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


@many
@given(changes=some(st.sampled_from(PLACES), st.sampled_from(HOSTILE)))
def test_hostile_values_in_every_place(world: tuple[Path, Policy, Any], changes: list[Any]) -> None:
    folder, rules, content = world
    whole = json.dumps(content)
    for path, value in changes:
        damaged = json.loads(whole)
        at(damaged, path[:-1])[path[-1]] = value
        (folder / "results.json").write_text(json.dumps(damaged))
        if verdict(folder, rules).exit_code == 0:
            assert outcomes(damaged) == outcomes(content)


def misplaced(damaged: Any, path: tuple[Any, ...], kind: str) -> str:
    """Take away, double or rename what is at a place of `damaged`; the text of the file where that is no value."""
    holder, step = at(damaged, path[:-1]), path[-1]
    text = ""
    if isinstance(holder, list):
        holder[step : step + 1] = [] if kind == "gone" else [holder[step]] * 2
    elif kind == "gone":
        del holder[step]
    elif kind in ("renamed", "doubled"):
        holder[f"{step}_"] = holder.pop(step)
    else:  # one key twice in a file is not to be had from a dict
        holder["TWICE"] = None
        text = json.dumps(damaged).replace('"TWICE": null', f"{json.dumps(step)}: {json.dumps(holder[step])}", 1)
    return text


@many
@given(changes=some(st.sampled_from(PLACES), st.sampled_from(["gone", "doubled", "renamed", "twice"])))
def test_keys_and_entries_that_are_gone_doubled_or_renamed(world: tuple[Path, Policy, Any], changes: list[Any]) -> None:
    folder, rules, content = world
    whole = json.dumps(content)
    for path, kind in changes:
        damaged = json.loads(whole)
        text = misplaced(damaged, path, kind)
        (folder / "results.json").write_text(text or json.dumps(damaged))
        decision = verdict(folder, rules)
        if text:
            assert codes(decision) == {"unreadable"}
        elif decision.exit_code == 0:
            assert outcomes(damaged) == outcomes(content)


@many
@given(damages=DAMAGE)
def test_a_damaged_catalogue(world: tuple[Path, Policy, Any], damages: list[Any]) -> None:
    folder, rules, _ = world
    whole = json.dumps(catalogue_of(catalogue())).encode()
    for damage in damages:
        damaged = damaged_bytes(whole, *damage)
        (folder / "catalogue.json").write_bytes(damaged)
        assert (verdict(folder, rules).exit_code == 0) == (damaged == whole)  # the run says which it chose from


SHIPPED = policy_file("release").read_bytes()


@many
@given(
    damages=some(
        st.integers(0, len(SHIPPED) - 1),
        st.integers(0, 60),
        st.binary(max_size=12),
        st.sampled_from([b"", b"nan", b"-inf", b"1e999", b'"\\u0000"', b"[[waiver]]", b"=", b"[" * 2000, b"\xff"]),
    )
)
def test_a_damaged_policy(tmp_path: Path, damages: list[Any]) -> None:
    file = tmp_path / "p.toml"
    refusals = []
    for at, lost, noise, word in damages:
        file.write_bytes(SHIPPED[:at] + noise + word + SHIPPED[at + lost :])
        try:
            read_policy(file)
        except PolicyError as error:
            refusals.append(error)
    assert all(error.cause.isprintable() and str(file) in error.cause and error.remedy for error in refusals)


@pytest.mark.parametrize("path", [value for value in HOSTILE[:8] if isinstance(value, str)])
def test_evidence_that_leads_out_of_its_folder_is_refused(tmp_path: Path, path: str) -> None:
    content = results()
    content["checks"][0]["evidence"] = [{"file": path, "sha256": "0" * 64, "bytes": 1}]
    with pytest.raises(UnreadableError, match="which is not in its folder"):
        read_results(write(tmp_path / "run", content))
    assert not is_inside(path)


def test_a_folder_of_evidence_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    content, folder = results(), tmp_path / "run"
    keep(content, folder, "pod.log", b"1\n")
    write(folder, content)
    (folder / "evidence").rename(tmp_path / "elsewhere")
    (folder / "evidence").symlink_to(tmp_path / "elsewhere")
    assert "is a link" in " ".join(decide([folder], policy(tmp_path), now=NOW).reasons)


def test_a_file_that_is_huge_nested_or_no_file_is_refused_without_being_read_whole(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", results())
    file = folder / "results.json"
    with file.open("r+b") as stream:
        stream.truncate(MOST_BYTES * 100)  # a sparse file takes no room
    with pytest.raises(UnreadableError, match="larger than 64 MiB"):
        read_results(folder)
    file.write_text('{"format": 2, "run": ' + "[" * 100_000)
    with pytest.raises(UnreadableError, match="nested deeper"):
        read_results(folder)
    file.unlink()
    file.symlink_to("/dev/zero")
    with pytest.raises(UnreadableError, match="is a link"):
        read_results(folder)
    file.unlink()
    file.mkdir()
    with pytest.raises(UnreadableError, match="no file"):
        read_results(folder)


@pytest.mark.parametrize("digits", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 5000, "1" + "0" * 30, "-1"])
def test_numbers_that_are_none_are_refused(tmp_path: Path, digits: str) -> None:
    folder = write(tmp_path / "run", results())
    file = folder / "results.json"
    file.write_text(file.read_text().replace('"exit_code": 0', f'"exit_code": {digits}'))
    with pytest.raises(UnreadableError):
        read_results(folder)


@pytest.mark.parametrize("format_", [0, 3, 99, "2", 2.0, True, None, [2], -1])
def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path, format_: Any) -> None:
    with pytest.raises(UnreadableError, match="this version reads 1 and 2") as refusal:
        read_results(write(tmp_path / "run", {**results(), "format": format_}))
    assert "npu-conformance that wrote it" in refusal.value.remedy


def test_a_text_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", results())
    file = folder / "results.json"
    file.write_text(file.read_text().replace('"stopped": ""', '"stopped": "\\ud800"'))
    with pytest.raises(UnreadableError, match="damaged"):
        read_results(folder)


def test_a_folder_with_a_hostile_name_is_harmless_on_the_screen(tmp_path: Path) -> None:
    folder = tmp_path / "\x1b[2Jrun\nPASS"
    folder.mkdir()
    decision = decide([folder], policy(tmp_path), now=NOW)
    assert decision.exit_code == 3
    assert all(line.isprintable() for line in screen_lines(decision))


def test_a_check_with_the_name_of_another_run_is_told_as_extra(tmp_path: Path) -> None:
    content = results()
    content["checks"].append(check("a" * 199))
    decision = decide([write(tmp_path / "run", content)], policy(tmp_path), now=NOW)
    assert codes(decision) == {"check-extra"}
