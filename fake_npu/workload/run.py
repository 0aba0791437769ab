"""One run: find the NPU, train, evaluate in 98 batches with the model read back from the NPU, say how good it was."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fake_npu.workload import digits, model
from fake_npu.workload.npu import Npu, NpuError, given
from fake_npu.workload.options import BATCH, BATCHES, Options, parse

EXIT_NO_NPU = 3
"""No NPU, or not the right one."""
EXIT_NPU_LOST = 4
"""The NPU went away, or became another, while it was used."""
EXIT_DATA = 5
"""The data is not in the image."""


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the workload.

    Returns:
        0, or `EXIT_NO_NPU`, `EXIT_NPU_LOST`, `EXIT_DATA`; 2 for wrong options.
    """
    options = parse(arguments, environment)
    try:
        npus = _npus(options, environment)
    except NpuError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_NO_NPU
    _say_cpu_features()
    random = np.random.default_rng(options.seed)
    try:
        training, evaluation = digits.split(digits.read(options.data), random)
    except digits.DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_DATA
    noisy = random.random(len(training.labels)) < options.label_noise
    training.labels[noisy] = random.integers(0, digits.CLASSES, int(noisy.sum()))
    weights = model.train(training)
    try:
        rankings = _evaluate(options, npus, weights, evaluation)
    except NpuError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_NPU_LOST
    if rankings is None:
        return 0
    _spoil(rankings, evaluation.labels, options.prediction_noise, random)
    digest = hashlib.sha256(rankings.tobytes()).hexdigest()
    for npu in npus:
        serial = npu.facts.serial if npu.facts else ""
        _report({"npu": npu.id, "rankings": digest, "proof": proof(serial, digest)})
    _print_result(options.result, rankings, evaluation.labels)
    return 0


def proof(serial: str, rankings: str) -> str:
    """What ties these predictions to that NPU: hex digits that take both to compute."""
    return hashlib.sha256(f"{serial} {rankings}".encode()).hexdigest()


def _npus(options: Options, environment: Mapping[str, str]) -> list[Npu]:
    if options.npu == "ignored":
        return []
    npus = given(
        environment,
        variable=options.visible_devices_env,
        pattern=options.device_pattern,
        facts_required=options.facts == "required",
        facts_dir=options.facts_dir,
    )
    for npu in npus:
        fields = {"npu": npu.id, "path": str(npu.path), "device": npu.numbers}
        if npu.facts:
            fields |= {"serial": npu.facts.serial, "node": npu.facts.node}
        _report(fields)
    return npus


def _evaluate(
    options: Options, npus: Sequence[Npu], weights: NDArray[np.float32], evaluation: digits.Digits
) -> NDArray[np.int64] | None:
    """The ranking of each evaluation image, each batch with the weights that one of the NPUs holds; None: stopped."""
    rankings = np.empty((BATCHES * BATCH, digits.CLASSES), np.int64)
    size = weights.nbytes
    for npu in npus:
        npu.write(weights.tobytes())
    with tqdm(total=BATCHES, ascii=True) as bar:
        for batch in range(BATCHES):
            _misbehave(options, batch)
            if batch == options.stop_at:
                return None
            held = weights
            if npus:
                npu = npus[batch % len(npus)]
                npu.check()
                if npu.has_memory:
                    held = np.frombuffer(npu.read(size), np.float32).reshape(model.SHAPE)
            part = slice(batch * BATCH, (batch + 1) * BATCH)
            rankings[part] = model.ranking(held, evaluation.images[part])
            time.sleep(options.seconds_per_batch)
            bar.update()
        _misbehave(options, BATCHES)
    return rankings


def _misbehave(options: Options, batch: int) -> None:
    if batch == options.hang_at:
        while True:
            signal.pause()
    if batch == options.crash_at:
        _crash(options.crash)


def _crash(how: str) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    if how == "exit-1":
        sys.exit(1)
    if how == "exit-0":
        os._exit(0)
    if how in {"segv", "kill"}:
        os.kill(os.getpid(), signal.SIGSEGV if how == "segv" else signal.SIGKILL)
    if how == "oom":
        hoard = []
        while True:
            hoard.append(np.ones(1 << 24))
    raise RuntimeError("crash asked for by --crash-at")


def _spoil(rankings: NDArray[np.int64], labels: NDArray[np.int64], share: float, random: np.random.Generator) -> None:
    """Rank the digit of a share of those images last that have it first, so that both accuracies fall by as much."""
    right = np.flatnonzero(rankings[:, 0] == labels)
    count = min(round(share * len(labels)), len(right))
    for row in random.choice(right, count, replace=False):
        rankings[row] = np.roll(rankings[row], -1)


def _print_result(kind: str, rankings: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
    top_5, top_1 = (model.accuracy(rankings, labels, top) for top in (5, 1))
    shown = {
        "honest": [f"{{'top_5': {top_5!r}, 'top_1': {top_1!r}}}"],
        "nan": [f"{{'top_5': {top_5!r}, 'top_1': nan}}"],
        "outside": [f"{{'top_5': {top_5 + 1!r}, 'top_1': {top_1!r}}}"],
        "twice": [f"{{'top_5': {top_5!r}, 'top_1': {value!r}}}" for value in (top_1, top_1 / 2)],
        "numpy": [f"{{'top_5': {np.float32(top_5)!r}, 'top_1': {np.float32(top_1)!r}}}"],
        "text": ["{'top_5': very good, 'top_1': good}"],
        "none": [],
    }
    sys.stderr.flush()
    if kind == "binary":
        sys.stdout.buffer.write(model.NAME.encode() + b", result =  {'top_5': \xff\xfe\x00, 'top_1': \x80}\n")
    for values in shown.get(kind, []):
        print(f"{model.NAME}, result =  {values}", flush=True)


def _say_cpu_features() -> None:
    """A line like TensorFlow's: which of the CPU's instructions numpy uses beyond those that it needs."""
    found = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", [])
    frame = inspect.currentframe()
    line = frame.f_lineno if frame else 0
    now = datetime.now().isoformat(" ", "microseconds")  # noqa: DTZ005 - local time, as TensorFlow prints it
    place = f"fake_npu/workload/run.py:{line}"
    print(
        f"{now}: I {place}] numpy uses these instructions of your CPU: {' '.join(found)}", file=sys.stderr, flush=True
    )


def _report(fields: Mapping[str, str]) -> None:
    print(json.dumps(fields), flush=True)
