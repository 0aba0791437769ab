"""How the workload behaves: flags, each also a variable, so that a pod can set them without a command of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fake_npu.memory import FACTS_DIR
from fake_npu.workload.digits import DATA

ENVIRONMENT_PREFIX = "WORKLOAD_"
"""`--crash-at` is `WORKLOAD_CRASH_AT`."""
BATCHES = 98
BATCH = 10


@dataclass(frozen=True)
class Options:
    """What one run does. The defaults are an honest run; all that follows `crash_at` is a defect."""

    seed: int
    seconds_per_batch: float
    visible_devices_env: str
    device_pattern: str
    facts: str
    facts_dir: Path
    data: Path
    label_noise: float
    prediction_noise: float
    crash_at: int | None
    crash: str
    stop_at: int | None
    hang_at: int | None
    result: str
    npu: str


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """The options from the flags, else from the variables, else the defaults. Wrong ones end the process, status 2."""
    parser = argparse.ArgumentParser("python -m fake_npu.workload", description=__doc__)

    def option(name: str, kind: Callable[[str], object], default: object, meaning: str, choices: str = "") -> None:
        variable = ENVIRONMENT_PREFIX + name.upper().replace("-", "_")
        parser.add_argument(
            f"--{name}",
            type=kind,
            default=environment.get(variable, default),
            choices=choices.split() or None,
            help=f"{meaning} ({variable}; default: {default})",
        )

    option("seed", _whole, 0, "same seed, same numbers")
    option("seconds-per-batch", _seconds, 0.002, "pause after each batch")
    option("visible-devices-env", str, "NPU_VISIBLE_DEVICES", "variable that names the NPUs")
    option("device-pattern", str, "/dev/npu*", "glob of all NPUs' device nodes")
    option("facts", str, "required", "whether a device needs facts that say which it is", "required optional")
    option("facts-dir", Path, FACTS_DIR, "where the facts are, one file `<id>.json` a device")
    option("data", Path, DATA, "the digits")
    option("label-noise", _share, 0.0, "share of training labels that are random: a bad model")
    option("prediction-noise", _share, 0.0, "share of images whose digit is ranked last: accuracy falls by as much")
    option("crash-at", _place, None, "batch before which it crashes")
    option("crash", str, "exception", "how", "exception exit-1 exit-0 segv kill oom")
    option("stop-at", _place, None, "batch before which it ends quietly, status 0, no result")
    option("hang-at", _place, None, "batch before which it stops for ever")
    option("result", str, "honest", "what is printed at the end", "honest nan outside twice numpy text binary none")
    option("npu", str, "used", "ignored: computes without touching any NPU", "used ignored")
    options = Options(**vars(parser.parse_args(arguments)))
    for name, allowed in (("facts", "required optional"), ("crash", "exception exit-1 exit-0 segv kill oom"),
                          ("result", "honest nan outside twice numpy text binary none"),
                          ("npu", "used ignored")):  # fmt: skip
        if getattr(options, name) not in allowed.split():  # argparse does not check what came as a default
            parser.error(f"{ENVIRONMENT_PREFIX}{name.upper()} = {getattr(options, name)!r}: allowed are {allowed}")
    return options


def _whole(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def _place(text: str) -> int:
    value = int(text)
    if not 0 <= value <= BATCHES:
        raise argparse.ArgumentTypeError(f"must be 0 to {BATCHES}")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 3600:
        raise argparse.ArgumentTypeError("must be 0 to 3600")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must be 0 to 1")
    return value
