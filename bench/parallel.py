"""`python -m bench.parallel`: the conformance profile in several processes, and the same checks one after the other.

Both on the same kept cluster, in this run. Ratios are of the time by the clock, once to the checks' own time (without
that in line for what another check held), once to the serial run.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

from bench.runs import finished_run


@dataclass(frozen=True)
class Timed:
    """A run of the profile.

    Attributes:
        wall: seconds by the clock from the first check's begin to the last one's end.
        own: seconds of all checks together, without those in line.
        outcomes: of each check, by its id.
        result: its verdict.
    """

    wall: float
    own: float
    outcomes: dict[str, str]
    result: str


def timed(*options: str) -> Timed:
    """Run the profile on a kept cluster; what kept it from passing is shown.

    Raises:
        SystemExit: it ended without results.
    """
    run = finished_run("--profile", "conformance", "--keep", *options)
    results = run.results
    if not run.passed:
        print("\n".join(results["verdict"]["reasons"]), file=sys.stderr)
    spent = results["time"]
    outcomes = {check["id"]: check["outcome"] for check in results["checks"]}
    return Timed(spent["wall"], spent["checks"] - spent["queued"], outcomes, results["verdict"]["result"])


def main() -> int:
    """Measure, and print a Markdown table; 1 when the two runs differ in the outcome of a check."""
    parser = argparse.ArgumentParser(prog="python -m bench.parallel", description=__doc__)
    parser.add_argument("--processes", type=int, default=8)
    options = parser.parse_args()
    together = timed("-n", str(options.processes))
    serial = timed("-n", "0")
    print("| run | checks, by the clock | checks' own time | by the clock / own | by the clock / serial |")
    print("| --- | --- | --- | --- | --- |")
    for name, run in ((f"{options.processes} processes", together), ("one after the other", serial)):
        ratios = f"{run.wall / run.own:.2f} | {run.wall / serial.wall:.2f}"
        print(f"| {name}: {run.result} | {run.wall:.0f} s | {run.own:.0f} s | {ratios} |")
    differ = {
        identity: (outcome, serial.outcomes.get(identity))
        for identity, outcome in together.outcomes.items()
        if outcome != serial.outcomes.get(identity)
    }
    for identity, (first, second) in sorted(differ.items()):
        print(f"{identity} is {first} in {options.processes} processes, and {second} in one.")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
