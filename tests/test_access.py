"""Tries to reach NPUs: what is asked of a container's shell, and what its answer means."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fixtures.access import LOOK, NULL, Seer, guesses, looking, read_tries
from fixtures.probe import Family, Sight, read_sight

FAMILY = Family("npu.test/npu", "/dev/npu*", "VISIBLE")


def shell(script: str, *arguments: str, **environment: str) -> list[str]:
    argv = ["/bin/sh", "-c", script, "sh", *arguments]
    path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    return subprocess.run(argv, env=path | environment, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_numbers_of_a_device_node_that_opens_are_told() -> None:
    told = shell(LOOK, "", "/dev/nul*")
    assert told[-1] == "end"
    assert read_tries(told).numbers == {NULL}
    assert read_sight(told).opened == {"/dev/null"}


def test_what_a_shell_tries_is_told_to_the_end(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.touch()
    told = shell(LOOK, "VISIBLE", "/dev/none*", str(there), str(tmp_path / "absent"), VISIBLE="npu0")
    assert told[-1] == "end"
    found = read_tries(told)
    assert found.variable == "npu0"
    assert found.reached == {str(there)}
    assert not found.made
    assert not read_sight(told).nodes


def test_an_image_without_the_programs_says_so(tmp_path: Path) -> None:
    told = shell(LOOK, "", "/dev/nul*", PATH=str(tmp_path))
    assert {"lacks mknod", "lacks stat"} <= set(told)


def test_the_tries_are_part_of_the_command() -> None:
    made = looking(FAMILY, "image", 1, aims={"c 1 3", "/dev/npu0"}, name="beside")
    assert made["command"][-4:] == ["VISIBLE", "/dev/npu*", "/dev/npu0", "c 1 3"]
    assert (made["name"], made["resources"]["limits"]) == ("beside", {"npu.test/npu": "1"})


@pytest.mark.parametrize(("environment", "variable"), [({}, None), ({"VISIBLE": ""}, "")])
def test_a_variable_that_is_empty_is_set(environment: dict[str, str], variable: str | None) -> None:
    assert read_tries(shell(LOOK, "VISIBLE", "/dev/none*", **environment)).variable == variable


def test_mounts_that_every_container_has_are_left_out() -> None:
    lines = ["mount /", "mount /proc/acpi", "mount /process", "mount /dev/shm", "mount /dev/npu0", "made b 7 0", "end"]
    found = read_tries(lines)
    assert found.mounts == {"/process", "/dev/npu0"}
    assert found.made == {"b 7 0"}
    assert not found.reached


def test_paths_are_guessed_from_the_pattern_and_from_what_others_see() -> None:
    holder = Seer({}, "main", Sight((), frozenset({"/dev/npu77"}), frozenset()), read_tries([]))
    found = guesses(FAMILY, holder)
    assert {"/dev/npu0", "/dev/npu63", "/dev/npu77"} <= found
    assert len(found) == 65
