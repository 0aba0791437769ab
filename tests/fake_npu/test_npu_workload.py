"""The workload: an honest run, and what it needs for one."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from npu_bench import PATIENCE, loop_devices_refused
from npu_container import Container, Ended, Run, attached

from fake_npu.memory import HEADER_BYTES
from fake_npu.workload import digits, model
from fake_npu.workload.options import BATCH, BATCHES, parse

pytest_plugins = ["npu_fixtures"]

with_loop_devices = pytest.mark.skipif(bool(loop_devices_refused()), reason=loop_devices_refused())


def rankings_of(data: Path, seed: int) -> tuple[list[list[int]], list[int]]:
    """The ranking and the digit of each image that a run with this seed evaluates, in its order."""
    training, evaluation = digits.split(digits.read(data), random := np.random.default_rng(seed))
    random.random(len(training.labels))
    weights = model.train(training)
    batches = [evaluation.images[start : start + BATCH] for start in range(0, BATCHES * BATCH, BATCH)]
    return [row for batch in batches for row in model.ranking(weights, batch).tolist()], evaluation.labels.tolist()


def share_right(rankings: list[list[int]], labels: list[int], top: int) -> float:
    return sum(label in ranking[:top] for ranking, label in zip(rankings, labels, strict=True)) / len(labels)


def test_the_data_is_the_whole_of_the_digits_and_no_image_is_in_both_parts(digits_file: Path) -> None:
    rows = gzip.decompress(digits_file.read_bytes()).decode().splitlines()
    read = digits.read(digits_file)
    assert len(rows) == len(read.labels) == digits.IMAGES
    assert [int(float(row.rpartition(",")[2])) for row in rows] == read.labels.tolist()
    training, evaluation = digits.split(
        digits.Digits(np.arange(digits.IMAGES, dtype=np.float32)[:, None], read.labels), np.random.default_rng(5)
    )
    assert len(evaluation.labels) == BATCHES * BATCH
    assert sorted([*training.images[:, 0], *evaluation.images[:, 0]]) == list(range(digits.IMAGES))


def test_an_honest_run_says_its_device_its_progress_and_an_accuracy_that_is_true(honest: Container, run: Run) -> None:
    ended = run("--seed=3")
    assert ended.status == 0
    device, proof = ended.reports()
    facts = honest.facts(0)
    assert device == {
        "npu": "npu0", "path": str(honest.node(0)), "device": "1:3", "serial": facts.serial, "node": "worker",
    }  # fmt: skip
    assert f"{BATCHES}/{BATCHES}" in ended.err
    assert "it/s" in ended.err
    rankings, labels = rankings_of(honest.data, 3)
    digest = hashlib.sha256(np.array(rankings, np.int64).tobytes()).hexdigest()
    assert proof == {
        "npu": "npu0",
        "rankings": digest,
        "proof": hashlib.sha256(f"{facts.serial} {digest}".encode()).hexdigest(),
    }
    accuracy = ended.accuracy()
    assert accuracy == {top: pytest.approx(share_right(rankings, labels, int(top[-1])), abs=1e-6) for top in accuracy}
    assert list(accuracy) == ["top_5", "top_1"]
    assert accuracy["top_5"] >= accuracy["top_1"] > 0.9


def test_the_same_seed_prints_the_same_and_another_another(honest: Container, run: Run) -> None:
    first, again, other = run("--seed=7"), run("--seed=7"), run("--seed=8")
    assert first.out == again.out
    assert first.reports()[1]["rankings"] != other.reports()[1]["rankings"]


def test_a_variable_says_what_a_flag_does_and_the_flag_goes_before(honest: Container, run: Run) -> None:
    by_flag = run("--seed=9", "--result=text")
    honest.variables |= {"WORKLOAD_SEED": "9", "WORKLOAD_RESULT": "text"}
    assert run().out == by_flag.out
    assert run("--result=none").results() == []


@pytest.mark.parametrize(
    ("arguments", "variables", "sentence"),
    [
        (["--seed=-1"], {}, "argument --seed: must not be negative"),
        (["--crash-at=99"], {}, "argument --crash-at: must be 0 to 98"),
        (["--label-noise=1.5"], {}, "argument --label-noise: must be 0 to 1"),
        (["--label-noise=nan"], {}, "argument --label-noise: must be 0 to 1"),
        (["--seconds-per-batch=inf"], {}, "argument --seconds-per-batch: must be 0 to 3600"),
        (["--crash=boom"], {}, "argument --crash: invalid choice: 'boom'"),
        (["--other"], {}, "unrecognized arguments: --other"),
        ([], {"WORKLOAD_SEED": "-1"}, "argument --seed: must not be negative"),
        ([], {"WORKLOAD_RESULT": "good"}, "WORKLOAD_RESULT = 'good': allowed are honest nan"),
    ],
)
def test_a_wrong_option_is_status_2_with_a_sentence(
    arguments: list[str], variables: dict[str, str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments, variables)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


def no_variable(container: Container) -> str:
    container.plug_in(0)
    container.variables.clear()
    return f"no NPU was given: NPU_VISIBLE_DEVICES is not set, although {container.node(0)} is here"


def nothing_at_all(container: Container) -> str:
    container.variables.clear()
    return "no NPU was given: NPU_VISIBLE_DEVICES is not set"


def no_node(container: Container) -> str:
    container.write_facts(0)
    return f"NPU npu0: NPU_VISIBLE_DEVICES names it, but there is no {container.node(0)}"


def node_too_many(container: Container) -> str:
    container.write_facts(0)
    container.plug_in(0)
    container.plug_in(1)
    return f"{container.node(1)} is here, although NPU_VISIBLE_DEVICES is npu0"


def no_facts(container: Container) -> str:
    container.plug_in(0)
    return f"NPU npu0: there is no {container.folder}/npu/npu0.json that says what it is"


def facts_that_are_none(container: Container) -> str:
    container.plug_in(0)
    (container.folder / "npu" / "npu0.json").write_text("[]")
    return f"NPU npu0: {container.folder}/npu/npu0.json: not the facts of a device: "


def facts_of_another_path(container: Container) -> str:
    container.plug_in(0)
    container.write_facts(0, path="/dev/elsewhere")
    return "NPU npu0: NPU_VISIBLE_DEVICES names it, but there is no /dev/elsewhere"


def memory_that_is_not_there(container: Container) -> str:
    container.plug_in(0)
    container.write_facts(0, memory_bytes=8192)
    return f"NPU npu0: {container.node(0)} holds nothing"


def file_for_a_device(container: Container) -> str:
    container.node(0).write_text("")
    container.write_facts(0)
    return f"NPU npu0: {container.node(0)} is no device"


def node_that_cannot_be_opened(container: Container) -> str:
    container.node(0).symlink_to(container.node(0))
    container.write_facts(0)
    return f"NPU npu0: {container.node(0)} cannot be used: "


def name_that_is_a_path(container: Container) -> str:
    container.variables["NPU_VISIBLE_DEVICES"] = "../npu0"
    return "'../npu0' is not the id of an NPU"


def no_name(container: Container) -> str:
    container.variables["NPU_VISIBLE_DEVICES"] = "npu0,"
    container.plug_in(0)
    container.write_facts(0)
    return "'' is not the id of an NPU"


@pytest.mark.parametrize(
    "wrong",
    [
        no_variable, nothing_at_all, no_node, node_too_many, no_facts, facts_that_are_none, facts_of_another_path,
        memory_that_is_not_there, file_for_a_device, node_that_cannot_be_opened, name_that_is_a_path, no_name,
    ],
)  # fmt: skip
def test_without_the_right_npu_it_is_status_3_and_one_line(
    container: Container, run: Run, wrong: Callable[[Container], str]
) -> None:
    sentence = wrong(container)
    ended = run()
    assert (ended.status, ended.out) == (3, "")
    (line,) = ended.err.splitlines()
    assert line.startswith(f"error: {sentence}")


@with_loop_devices
def test_the_model_is_in_the_npus_memory_and_the_result_is_the_same(with_memory: Container, run: Run) -> None:
    ended = run("--seed=3")
    assert ended.status == 0
    rankings, _ = rankings_of(with_memory.data, 3)
    assert ended.reports()[1]["rankings"] == hashlib.sha256(np.array(rankings, np.int64).tobytes()).hexdigest()
    training, _ = digits.split(digits.read(with_memory.data), np.random.default_rng(3))
    descriptor = os.open(with_memory.node(0), os.O_RDONLY | os.O_CLOEXEC)
    try:
        held = os.pread(descriptor, 65 * 10 * 4, HEADER_BYTES)
    finally:
        os.close(descriptor)
    assert np.frombuffer(held, np.float32).reshape(model.SHAPE) == pytest.approx(model.train(training), abs=1e-5)


@with_loop_devices
def test_another_device_than_the_facts_say_is_status_3(with_memory: Container, run: Run) -> None:
    descriptor, _ = attached(with_memory, 1)
    try:
        with_memory.node(1).replace(with_memory.node(0))
        ended = run()
    finally:
        os.close(descriptor)
    assert (ended.status, ended.out) == (3, "")
    one, other = (with_memory.facts(index).serial for index in range(2))
    assert ended.err == f"error: NPU npu0: {with_memory.node(0)} is {other}, given was {one}\n"


@with_loop_devices
def test_every_npu_that_was_given_is_used(with_memory: Container, run: Run) -> None:
    descriptor, size = attached(with_memory, 1)
    try:
        with_memory.write_facts(1, memory_bytes=size)
        with_memory.variables["NPU_VISIBLE_DEVICES"] = "npu1,npu0"
        ended = run()
        assert ended.status == 0
        assert [report["npu"] for report in ended.reports()] == ["npu1", "npu0", "npu1", "npu0"]
        assert any(os.pread(descriptor, 65 * 10 * 4, HEADER_BYTES))
    finally:
        os.close(descriptor)


def test_a_device_that_goes_away_is_status_4_and_one_line(honest: Container) -> None:
    process = honest.starts("--seconds-per-batch=0.05")
    assert process.stdout
    process.stdout.readline()  # it has found its device
    honest.node(0).unlink()
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, Ended(0, out, err).results()) == (4, [])
    expected = f"error: NPU npu0: {honest.node(0)} cannot be used: No such file or directory"
    assert err.splitlines()[-1] == expected


def test_without_the_data_it_is_status_5_and_one_line(honest: Container, run: Run) -> None:
    for content in (None, "1,2\n"):
        honest.data = honest.folder / "other.csv"
        if content:
            honest.data.write_text(content)
        ended = run()
        assert ended.status == 5
        assert ended.err.splitlines()[-1].startswith(f"error: {honest.data}: ")


def test_facts_can_be_optional(container: Container, run: Run) -> None:
    container.plug_in(0)
    ended = run("--facts=optional")
    assert ended.status == 0
    assert ended.reports()[0] == {"npu": "npu0", "path": str(container.node(0)), "device": "1:3"}
