"""The workload: an honest run, what it needs, and every defect that it can be told to have."""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from npu_bench import PATIENCE, REPOSITORY, loop_control, loop_devices_refused

from fake_npu import loop
from fake_npu.driver import make_node
from fake_npu.memory import HEADER_BYTES, Facts, header, serial_of
from fake_npu.workload import digits, model
from fake_npu.workload.options import BATCH, BATCHES, parse
from fake_npu.workload.run import main

pytest_plugins = ["npu_fixtures"]

with_loop_devices = pytest.mark.skipif(bool(loop_devices_refused()), reason=loop_devices_refused())


@dataclass
class Container:
    """What a container sees: its devices, their facts, the variable.

    Attributes:
        folder: holds the nodes in `dev`, the facts in `npu`.
        variables: the container's environment.
    """

    folder: Path
    data: Path
    variables: dict[str, str]

    def arguments(self, *more: str) -> list[str]:
        return [
            f"--device-pattern={self.folder}/dev/npu*",
            f"--facts-dir={self.folder}/npu",
            f"--data={self.data}",
            "--seconds-per-batch=0",
            *more,
        ]

    def node(self, index: int) -> Path:
        return self.folder / "dev" / f"npu{index}"

    def facts(self, index: int, **changes: object) -> Facts:
        path = str(self.node(index))
        fields: dict[str, Any] = {"node": "worker", "serial": serial_of("worker", path), "path": path}
        return Facts(**{**fields, "memory_bytes": 0, **changes})

    def write_facts(self, index: int, **changes: object) -> Facts:
        facts = self.facts(index, **changes)
        (self.folder / "npu" / f"npu{index}.json").write_text(facts.to_json())
        return facts

    def plug_in(self, index: int) -> None:
        """A device that is always there, and has no memory of its own."""
        self.node(index).symlink_to("/dev/null")

    def starts(self, *more: str) -> subprocess.Popen[str]:
        """The workload as a program of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "fake_npu.workload", *self.arguments(*more)],
            env={**os.environ, **self.variables, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@dataclass
class Ended:
    """How a run ended, and what it printed."""

    status: int
    out: str
    err: str

    def reports(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]

    def results(self) -> list[str]:
        return [line for line in self.out.splitlines() if line.startswith(f"{model.NAME}, result =  ")]

    def accuracy(self) -> dict[str, float]:
        (line,) = self.results()
        values: dict[str, float] = ast.literal_eval(line.removeprefix(f"{model.NAME}, result =  "))
        return values


Run = Callable[..., Ended]


@pytest.fixture
def container(tmp_path: Path, digits_file: Path) -> Container:
    for name in ("dev", "npu"):
        (tmp_path / name).mkdir()
    return Container(tmp_path, digits_file, {"NPU_VISIBLE_DEVICES": "npu0"})


@pytest.fixture
def honest(container: Container) -> Container:
    """A container with one device, and its facts."""
    container.plug_in(0)
    container.write_facts(0)
    return container


@pytest.fixture
def run(container: Container, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the workload in this process."""

    def call(*more: str) -> Ended:
        capsys.readouterr()
        status = main(container.arguments(*more), container.variables)
        return Ended(status, *capsys.readouterr())

    return call


@pytest.fixture
def with_memory(container: Container) -> Iterator[Container]:
    """A container with one device that has memory: a real loop device."""
    descriptor, memory = attached(container, 0)
    container.write_facts(0, memory_bytes=memory)
    yield container
    os.close(descriptor)


def attached(container: Container, index: int) -> tuple[int, int]:
    """A descriptor of a loop device that `npu<index>` leads to, with its header, and the size of its memory."""
    size = 64 << 10
    memory = container.folder / f"memory{index}"
    memory.write_bytes(header(container.facts(index, memory_bytes=size)).ljust(size, b"\0"))
    if not (container.folder / "dev" / "loop-control").exists():
        loop_control(container.folder / "dev")
    descriptor, minor = loop.attach(memory, container.folder / "dev" / "loop-control", container.folder / "dev" / "x")
    make_node(container.node(index), stat.S_IFBLK, os.makedev(loop.LOOP_MAJOR, minor))
    return descriptor, size


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


def test_an_ignored_npu_is_not_touched_and_nothing_is_proven(container: Container, run: Run) -> None:
    container.variables.clear()
    ended = run("--npu=ignored")
    assert (ended.status, ended.reports()) == (0, [])
    assert ended.accuracy()["top_1"] > 0.9


def test_label_noise_is_a_bad_model(honest: Container, run: Run) -> None:
    good, bad, random = (run(f"--label-noise={share}").accuracy()["top_1"] for share in (0, 0.8, 1))
    assert good > bad > random
    assert random < 0.3


def test_prediction_noise_lowers_both_accuracies_by_its_share(honest: Container, run: Run) -> None:
    good, bad, none = (run(f"--prediction-noise={share}").accuracy() for share in (0, 0.2, 1))
    for top in ("top_1", "top_5"):
        assert good[top] - bad[top] == pytest.approx(0.2, abs=1e-6)
    assert none["top_1"] == 0


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("nan", ["{'top_5': FIVE, 'top_1': nan}"]),
        ("outside", ["{'top_5': FIVE_PLUS_1, 'top_1': ONE}"]),
        ("twice", ["{'top_5': FIVE, 'top_1': ONE}", "{'top_5': FIVE, 'top_1': HALF}"]),
        ("numpy", ["{'top_5': np.float32(FIVE_32), 'top_1': np.float32(ONE_32)}"]),
        ("text", ["{'top_5': very good, 'top_1': good}"]),
        ("none", []),
    ],
)
def test_a_result_that_is_wrong_on_purpose(honest: Container, run: Run, kind: str, shown: list[str]) -> None:
    true = run().accuracy()
    five, one = true["top_5"], true["top_1"]
    words = {"FIVE_PLUS_1": five + 1, "FIVE_32": float(str(np.float32(five))), "ONE_32": float(str(np.float32(one))),
             "HALF": one / 2, "FIVE": five, "ONE": one}  # fmt: skip
    for word, value in words.items():
        shown = [line.replace(word, repr(value)) for line in shown]
    ended = run(f"--result={kind}")
    assert ended.status == 0
    assert ended.results() == [f"{model.NAME}, result =  {line}" for line in shown]


def test_a_result_that_is_no_text(honest: Container, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(honest.arguments("--result=binary"), honest.variables) == 0
    last = capfdbinary.readouterr().out.splitlines()[-1]
    assert last.startswith(model.NAME.encode() + b", result =  ")
    with pytest.raises(UnicodeDecodeError):
        last.decode()


def test_it_stops_quietly(honest: Container, run: Run) -> None:
    ended = run("--stop-at=60")
    assert (ended.status, ended.results(), len(ended.reports())) == (0, [], 1)
    assert f"/{BATCHES}" in ended.err
    assert f"{BATCHES}/{BATCHES}" not in ended.err


class HungError(Exception):
    """The run waits for ever."""


@pytest.mark.parametrize("batch", [0, 60, BATCHES])
def test_it_hangs(honest: Container, run: Run, batch: int) -> None:
    """A timer looks at what the run does until it is seen to wait."""

    def look(_: int, frame: FrameType | None) -> None:
        if frame and frame.f_code.co_name == "_misbehave":
            raise HungError

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        with pytest.raises(HungError):
            run(f"--hang-at={batch}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_exception_is_a_traceback_in_the_middle(honest: Container, run: Run) -> None:
    with pytest.raises(RuntimeError, match="crash asked for by --crash-at"):
        run("--crash-at=60")


LITTLE_MEMORY = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, (5 << 27, 5 << 27))
runpy.run_module("fake_npu.workload", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("how", "status"), [("exit-1", 1), ("exit-0", 0), ("segv", -signal.SIGSEGV), ("kill", -signal.SIGKILL), ("oom", 1)]
)
def test_it_crashes(honest: Container, how: str, status: int) -> None:
    arguments = honest.arguments("--crash-at=60", f"--crash={how}")
    start = ["-c", LITTLE_MEMORY] if how == "oom" else ["-m", "fake_npu.workload"]
    ended = subprocess.run(
        [sys.executable, *start, *arguments],
        env={**os.environ, **honest.variables, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == status
    assert Ended(0, ended.stdout, "").results() == []
    assert f"{BATCHES}/{BATCHES}" not in ended.stderr
    assert ("MemoryError" in ended.stderr) == (how == "oom")
