"""Shards of a run: each check is in one, the results say which, and the gate wants all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import HEAD, PASSING, Project, new_project

from gate.results import read_results
from gate.runs import findings_of_runs

pytest_plugins = ["pytester"]


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    made = new_project(pytester, monkeypatch, tmp_path_factory)
    made.write(PASSING)
    for number in range(3):
        renamed = PASSING.replace('check("one")', f'check("one-{number}")').replace(
            'check("two")', f'check("two-{number}")'
        )
        (pytester.path / "e2e" / f"test_more_{number}.py").write_text(HEAD + renamed)
    return made


def test_each_check_is_in_one_shard_with_its_file_and_the_gate_wants_all(project: Project, tmp_path: Path) -> None:
    whole: list[str] = []
    shards = []
    for index in (1, 2, 3):
        assert project.run(PASSING, "--shard", f"{index}/3").ret == 0
        assert project.results()["run"]["shard"] == {"index": index, "of": 3}
        part = list(project.outcomes())
        assert sorted(one.removeprefix("one") for one in part if one.startswith("one")) == sorted(
            one.removeprefix("two") for one in part if one.startswith("two")
        )
        assert len(part) + len(project.results()["deselected"]) == 8
        whole += part
        folder = tmp_path / str(index)
        folder.mkdir()
        (folder / "results.json").write_bytes((project.pytester.path / "results" / "results.json").read_bytes())
        shards.append(read_results(folder))
    assert len(whole) == len(set(whole)) == 8

    def told(*given: int) -> set[str]:
        return {one.code for one in findings_of_runs([shards[index - 1] for index in given], 4e9)}

    assert "shard-missing" not in told(1, 2, 3)
    assert "shard-missing" in told(1, 3)


def test_a_whole_run_is_no_shard(project: Project) -> None:
    assert project.run(PASSING).ret == 0
    assert project.results()["run"]["shard"] is None


@pytest.mark.parametrize("said", ["0/3", "4/3", "1", "1/", "a/b", "-1/3", "1/10001", "1/3/5"])
def test_what_is_no_shard_is_a_mistake_of_usage(project: Project, said: str) -> None:
    result = project.run(PASSING, f"--shard={said}")
    assert result.ret == 4
    assert any("is not I/N, such as 1/3" in line for line in result.errlines)
