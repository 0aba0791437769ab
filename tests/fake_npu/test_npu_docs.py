"""docs/fake-npu.md is whole: every key, command, fault, metric, event and option, in the words of the code."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from npu_bench import REPOSITORY, documented, texts

from fake_npu import config, npuctl
from fake_npu.config import Config, load
from fake_npu.faultkinds import KINDS, RPCS
from fake_npu.metrics import Metrics
from fake_npu.workload.options import Options, parse

CODE = REPOSITORY / "fake_npu"


@pytest.fixture(scope="module")
def page() -> str:
    return (REPOSITORY / "docs" / "fake-npu.md").read_text()


def meanings() -> dict[str, str]:
    """What the docstring of each of Config's fields says."""
    tree = ast.parse(Path(config.__file__).read_text())
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Config")
    return {
        field.target.id: " ".join(str(after.value.value).split())
        for field, after in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }


def test_every_key_of_the_configuration_with_its_meaning(page: str) -> None:
    rows = documented(page, "Configuration")
    assert texts(rows) == [field.name for field in dataclasses.fields(Config)]
    assert {row[0]: row[2] for row in rows} == meanings()


def test_the_documented_defaults_are_a_file_that_says_the_defaults(page: str, tmp_path: Path) -> None:
    file = tmp_path / "defaults.toml"
    file.write_text("".join(f"{key} = {default}\n" for key, default, _ in documented(page, "Configuration")))
    assert load({"FAKE_NPU_CONFIG": str(file)}) == Config()


def test_every_fault_with_its_calls_and_text(page: str) -> None:
    assert documented(page, "Faults") == [
        [kind, "all" if rpcs == RPCS else ", ".join(rpcs), text] for kind, (text, rpcs) in KINDS.items()
    ]


def commands(parser: argparse.ArgumentParser, before: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Every command of npuctl as its words."""
    choices = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not choices:
        return {before}
    return {words for name, inner in choices[0].items() for words in commands(inner, (*before, name))}


def test_every_command_of_npuctl(page: str) -> None:
    written = [shlex.split(row[0])[1:] for row in documented(page, "npuctl")]
    known = commands(npuctl._parser())
    assert {tuple(word for word in words if word.islower()) for words in written} == known


def test_the_documented_command_of_health_is_one(page: str) -> None:
    (line,) = re.findall(r"^kubectl .* npuctl health .*$", page, re.MULTILINE)
    before, _, after = line.partition(" -- npuctl ")
    options = npuctl._parser().parse_args(shlex.split(after))
    assert (options.devices, options.health) == (["npu0"], "Unhealthy")
    objects = list(yaml.safe_load_all((CODE / "manifests" / "fake-npu.yaml").read_text()))
    (daemonset,) = (each for each in objects if each["metadata"]["name"] == "fake-npu" and each["kind"] == "DaemonSet")
    assert before == f"kubectl -n {daemonset['metadata']['namespace']} exec ds/{daemonset['metadata']['name']}"


def test_the_documented_manifest_and_image_are_there(page: str) -> None:
    (path,) = re.findall(r"^kubectl apply -f (\S+)$", page, re.MULTILINE)
    image = set(re.findall(r"image: (\S+)", (REPOSITORY / path).read_text()))
    assert set(re.findall(r"kind load docker-image (\S+?)`", page)) == image


def test_every_metric(page: str) -> None:
    families = {family.name + "_total" * (family.type == "counter") for family in Metrics().registry.collect()}
    assert set(texts(documented(page, "Metrics"))) == families


def test_every_event_of_the_log(page: str) -> None:
    used: set[str] = set()
    for path in CODE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and re.fullmatch(r"events\.(info|warning|error)", ast.unparse(node.func)):
                named = [each.value for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant)]
                used |= {str(name) for name in named}
    written = re.findall(r"[a-z-]+", " ".join(texts(documented(page, "Log"))))
    assert len(written) == len(set(written))
    assert set(written) == used


def test_every_option_of_the_workload_with_its_default_meaning_and_choices(
    page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"], {})
    helped = " ".join(capsys.readouterr().out.split())
    told = re.findall(r"--([a-z-]+) (?:[A-Z_]+|{([^}]*)}) ((?:(?! --).)*?) \(WORKLOAD_\w+; default: (.*?)\)", helped)
    expected = [
        [f"--{name}", "in the image" if name == "data" else default.replace("None", "none"), meaning + listed(choices)]
        for name, choices, meaning, default in told
    ]
    rows = documented(page, "The workload")
    assert rows == expected
    assert texts(rows) == [f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Options)]


def listed(choices: str) -> str:
    """What an option may be, as the page has it."""
    return ": " + ", ".join(f"`{choice}`" for choice in choices.split(",")) if choices else ""


def test_the_defaults_of_the_workload_are_an_honest_run() -> None:
    options = parse([], {})
    assert (options.crash_at, options.stop_at, options.hang_at) == (None, None, None)
    assert (options.label_noise, options.prediction_noise, options.result, options.npu) == (0, 0, "honest", "used")
    assert options.facts == "required"
