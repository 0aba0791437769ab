"""The catalogue: all checks as they are collected, each literal, and the behaviours that none of them proves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from projects import PASSING, ROOT, Project, modules_apart, new_project

from fixtures.catalogue import Entry, Row, collected, rows_not_checked
from fixtures.cataloguecommand import COLUMNS, RENEW, as_markdown
from fixtures.checks import ID, Check
from fixtures.errors import HarnessError
from fixtures.options import PROFILES
from fixtures.rows import NOT_CHECKED, NOT_WRITTEN, ROWS

pytest_plugins = ["pytester"]
IDS = [identity for group in ROWS.values() for identity in group]
NOT_WRITTEN_AT_MOST = 0
"""Behaviours without a check and without a reason: lower it with each check that is written, to none."""


def _npu_e2e(*words: str, folder: Path, root: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    """`npu-e2e WORDS` in `folder`, by the code of `root`."""
    return subprocess.run(
        [sys.executable, "-m", "fixtures.cli", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Any:
    done = _npu_e2e("catalogue", "--format", "json", folder=tmp_path_factory.mktemp("elsewhere"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    project = new_project(pytester, monkeypatch, tmp_path_factory)
    (project.path / "pyproject.toml").write_text('[tool.pytest]\naddopts = ["--strict-markers"]\n')
    return project


def _collected(project: Project, code: str, capfd: pytest.CaptureFixture[str]) -> Any:
    """Where each check of the project stands, by its id; or the text of the HarnessError."""
    project.write(code)
    with modules_apart():
        try:
            found: Any = {e.check.id: [e.file, e.title, e.function] for e in collected(project.path)}
        except HarnessError as error:
            found = str(error)
    assert capfd.readouterr() == ("", "")
    return found


def test_the_page_is_up_to_date(tmp_path: Path) -> None:
    done = _npu_e2e("catalogue", "--format", "markdown", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (ROOT / "docs/catalogue.md").read_text()
    assert page == done.stdout, f"docs/catalogue.md is stale. Renew it: `{RENEW}`."


def test_an_entry_says_all_that_a_check_declares(catalogue: Any) -> None:
    entries = {entry["id"]: entry for entry in catalogue["checks"]}
    assert len(entries) == len(catalogue["checks"])
    assert entries["flow-npu-released"] == {
        "id": "flow-npu-released",
        "level": "must",
        "claim": "After the pod's end the kubelet counts no device as its any more.",
        "profile": "documented",
        "needs": ["podresources"],
        "source": "document",
        "defects": entries["flow-npu-released"]["defects"],
        "verbs": ["pods/exec: create get", "pods/log: get", "pods: create get list watch", "secrets: create get"],
        "file": "e2e/test_documented_flow.py",
        "function": "test_npu_is_released",
    }
    assert set(COLUMNS) < set(entries["flow-npu-released"])


def test_every_check_says_where_its_claim_comes_from_and_what_it_asks_of_the_api(catalogue: Any) -> None:
    silent = [entry["id"] for entry in catalogue["checks"] if not (entry["source"] and entry["verbs"])]
    assert not silent, "Give @check of these a source and verbs."


def test_every_behaviour_has_a_check_or_a_reason_and_never_both(catalogue: Any) -> None:
    declared = [entry["id"] for entry in catalogue["checks"]]
    rows = rows_not_checked(declared)
    assert [vars(row) for row in rows] == catalogue["not_checked"]
    assert not {row.id for row in rows} & set(declared)
    assert {row.id for row in rows} | set(declared) >= set(IDS)
    unwritten = [row.id for row in rows if row.reason == NOT_WRITTEN]
    assert len(unwritten) <= NOT_WRITTEN_AT_MOST, f"{len(unwritten)} behaviours have neither: {', '.join(unwritten)}"


def test_the_behaviours_are_those_that_were_read() -> None:
    assert [len(rows) for rows in ROWS.values()] == [25, 11, 22, 25, 5, 8, 5, 17]
    assert len(set(IDS)) == len(IDS)
    for identity in IDS:
        assert ID.fullmatch(identity), identity
    for sentence in [*NOT_CHECKED.values(), *(text for group in ROWS.values() for text in group.values())]:
        assert sentence, "a reason or a text is empty"
        assert not sentence.endswith("."), sentence


def test_a_reason_for_what_has_a_check_or_is_no_behaviour_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "drax-zero" in NOT_CHECKED
    with pytest.raises(HarnessError, match="The behaviour drax-zero has a check, and a reason for having none"):
        rows_not_checked(["alloc-basic", "drax-zero"])
    assert "alloc-basic" not in {row.id for row in rows_not_checked(["alloc-basic"])}
    monkeypatch.setattr("fixtures.catalogue.NOT_CHECKED", {"drax-zeros": "it takes a driver"})
    with pytest.raises(HarnessError, match="gives a reason to drax-zeros, which is no behaviour"):
        rows_not_checked([])


def test_nothing_around_it_changes_what_there_is(tmp_path: Path, catalogue: Any) -> None:
    done = _npu_e2e(
        "catalogue",
        "--format=json",
        folder=tmp_path,
        PYTEST_ADDOPTS="-k nothing --profile conformance",
        NPU_E2E_PROFILE="documented",
        NPU_E2E_TARGET="nowhere",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == catalogue
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("profile", ["documented", "conformance", "slow"])
def test_a_profile_shows_its_checks_and_no_others(profile: str, tmp_path: Path, catalogue: Any) -> None:
    done = _npu_e2e("catalogue", "--profile", profile, folder=tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == list(COLUMNS)
    chosen = [entry for entry in catalogue["checks"] if entry["profile"] in PROFILES[profile]]
    assert [line.split()[0] for line in lines[1:-2]] == [entry["id"] for entry in chosen]
    for entry, line in zip(chosen, lines[1:], strict=False):
        assert entry["claim"] in line
        assert ", ".join(entry["verbs"]) in line
    assert lines[-1].startswith(f"{len(chosen)} checks: ")


def test_a_profile_or_format_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    for words in (["--profile", "all"], ["--format", "xml"]):
        done = _npu_e2e("catalogue", *words, folder=tmp_path)
        assert done.returncode == 5
        assert "invalid choice" in done.stderr


def test_without_its_checks_it_says_how_to_install_them(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "fixtures", tmp_path / "site/fixtures", ignore=shutil.ignore_patterns("__pycache__"))
    done = _npu_e2e("catalogue", folder=tmp_path, root=tmp_path / "site")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"The checks are not beside {tmp_path}/site/fixtures: npu-conformance was installed without them.",
        "Install it from its checkout: `python3 -m pip install --editable CHECKOUT`.",
    ]


def test_checks_are_collected_in_order_whatever_they_are_wrapped_in(
    project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    code = '''
import functools

def wrapping(function):
    @functools.wraps(function)
    def wrapper(): return function()
    return wrapper

class TestGroup:
    @check("three", profile="slow", level="should", needs=("faults",), **{"source": "x"})
    @pytest.mark.xfail(reason="kubernetes/kubernetes#1")
    def test_three(self):
        """Three holds."""

@check(
    "four"
)
@wrapping
def test_one():
    """Four holds."""
'''
    found = _collected(project, PASSING.replace("test_two", "test_2") + code, capfd)
    file = "e2e/test_it.py"
    names = {"one": "test_one", "two": "test_2", "three": "test_three", "four": "test_one"}
    del names["one"]  # the later function of that name has replaced it
    assert found == {identity: [file, "", name] for identity, name in names.items()}


@pytest.mark.parametrize(
    "declaration",
    [
        'NAME = "two"\n@check(NAME)',
        'NAME = "two"\n@check(f"{NAME}")',
        '@check("-".join(["two"]))',
        'WORDS = ["two"]\n@check(*WORDS)',
        'LEVEL = "must"\n@check("two", level=LEVEL)',
        'OPTIONS = {"level": "must"}\n@check("two", **OPTIONS)',
        'two = check("two")\n@two',
        'other = check\n@other("two")',
        '@check("two")\n@check("three")',
    ],
)
def test_a_declaration_that_is_not_literal_is_refused(
    project: Project, capfd: pytest.CaptureFixture[str], declaration: str
) -> None:
    said = _collected(project, PASSING.replace('@check("two")', declaration), capfd)
    assert said.startswith("e2e/test_it.py does not declare the check t"), said
    assert "above test_two." in said


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('@check("two")', '@check("one")', "both declare the check one"),
        ('@check("two")', "", "e2e/test_it.py::test_two declares no check: decorate it with @check"),
        ('@check("two")', '@check("Two")', "has an id that is not lower-case words"),
        ('@check("two")', "import no_such_module", "No module named 'no_such_module'"),
        ('@check("two")', "pytest.skip('x', allow_module_level=True)", "e2e/test_it.py skips itself"),
        ('@check("two")', "@check('two'", "SyntaxError"),
    ],
)
def test_what_cannot_be_collected_is_no_catalogue(
    project: Project, capfd: pytest.CaptureFixture[str], old: str, new: str, sentence: str
) -> None:
    said = _collected(project, PASSING.replace(old, new), capfd)
    assert said.startswith("The checks cannot be collected: "), said
    assert sentence in said
    assert "See `pytest --collect-only e2e` in " in said


def test_an_empty_project_is_no_catalogue(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    assert _collected(project, "", capfd).startswith("The checks cannot be collected: ")


def _page(entries: Sequence[Entry], rows: Sequence[Row]) -> list[str]:
    return as_markdown(entries, rows).splitlines()


def test_a_page_has_a_table_a_file_and_is_whole_whatever_a_claim_holds() -> None:
    one = Check("one", "must", "A | B.", "slow", ("faults",), "document", ("leaks",), ("pods: get", "nodes: list"))
    entries = [
        Entry(one, "e2e/test_a.py", "What A does.", "test_one"),
        Entry(Check("two", "should", "Two.", "documented"), "e2e/test_b.py", "", "test_two"),
    ]
    lines = _page(entries, [Row("scheduler", "sched-x", "a|b", NOT_WRITTEN)])
    assert "2 checks: 1 must, 1 should." in lines[2]
    assert "1 are not written yet." in lines[2]
    assert [line for line in lines if line.startswith("#")] == [
        "# Catalogue",
        "## What A does.",
        "## e2e/test_b.py",
        "## Not checked",
    ]
    assert "| `one` | must | A \\| B. | slow | `faults` | document | `leaks` | `pods: get`, `nodes: list` |" in lines
    assert "| `two` | should | Two. | documented | - | - | - | - |" in lines
    assert "| scheduler | `sched-x` | a\\|b | not written yet |" in lines
    assert "## Not checked" not in _page(entries, [])
