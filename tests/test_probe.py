"""What a probe runs and what its log tells, without a cluster."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fixtures.probe import TELL, Family, container, read_sight

FAMILY = Family("a/npu", "/dev/npu*", "NPUS")


def _ran(script: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", script, "sh", *arguments], env=environ, capture_output=True, text=True, check=False
    )


def test_it_tells_variable_and_nodes(tmp_path: Path) -> None:
    (tmp_path / "npu0").write_text("")
    done = _ran(TELL, "NPUS", f"{tmp_path}/npu*", NPUS="npu0,npu1")
    lines = done.stdout.splitlines()
    assert lines[-1] == "end"
    seen = read_sight(lines)
    assert seen.visible == ("npu0", "npu1")
    assert seen.nodes == seen.opened == {f"{tmp_path}/npu0"}


@pytest.mark.parametrize("environ", [{}, {"NPUS": ""}])
def test_nothing_is_seen_where_nothing_is(tmp_path: Path, environ: dict[str, str]) -> None:
    seen = read_sight(_ran(TELL, "NPUS", f"{tmp_path}/npu*", **environ).stdout.splitlines())
    assert (seen.visible, seen.nodes, seen.opened) == ((), frozenset(), frozenset())


def test_without_a_variable_none_is_read(tmp_path: Path) -> None:
    (tmp_path / "npu0").write_text("")
    seen = read_sight(_ran(TELL, "", f"{tmp_path}/npu*").stdout.splitlines())
    assert seen.visible == ()
    assert seen.opened == {f"{tmp_path}/npu0"}


def test_a_container_that_stays_ends_well_once_it_has_told() -> None:
    (_, _, script, *_) = container(FAMILY, "image", 1, stays=True)["command"]
    with subprocess.Popen(["sh", "-c", script, "sh", "NPUS", "/nothing*"], stdout=subprocess.PIPE, text=True) as sh:
        assert sh.stdout
        assert [sh.stdout.readline().strip() for _ in range(2)] == ["visible", "end"]
        sh.terminate()
        assert sh.wait(timeout=10) == 0


def test_a_container_asks_for_npus_or_for_none() -> None:
    assert container(FAMILY, "image", 1)["resources"] == {"limits": {"a/npu": "1"}}
    assert "resources" not in container(FAMILY, "image")
