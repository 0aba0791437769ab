"""`python -m bench`: the time to a verdict on a kept and on a new cluster, and the flow against plain kubectl.

Each figure is a ratio of two times that were measured in this run, or of a run's own steps. With `--cold` the cache is
a new, empty one, so that everything is fetched and built.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from fixtures.apipaths import path_of
from fixtures.client import connect
from fixtures.documented import NAME, manifest
from fixtures.engine import tools
from fixtures.kubectl import Kubectl
from fixtures.namespaces import namespace_of
from fixtures.record import Record
from fixtures.steps import Steps
from fixtures.targets import Cluster
from fixtures.targets.kind import clusters_folder
from fixtures.targets.npus import NAMESPACE, PLUGIN
from fixtures.versions import KUBERNETES

ROOT = Path(__file__).parents[1]
CLUSTER = "npu-e2e-bench"
FLOW = "run test-npu-pod"
"""The step of a run in which the flow is."""


@dataclass(frozen=True)
class Timed:
    """A run: seconds by the wall clock, and seconds by step."""

    wall: float
    steps: dict[str, float]


def timed_run(*options: str, cache: Path | None = None) -> Timed:
    """Run the documented flow in a process of its own.

    Raises:
        SystemExit: it did not pass; what it printed is shown.
    """
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "pytest", "e2e", "--cluster-name", CLUSTER, "--results", folder, *options]
        env = {**os.environ, **({"NPU_E2E_CACHE": str(cache)} if cache else {})}
        began = time.monotonic()
        done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        wall = time.monotonic() - began
        if done.returncode:
            raise SystemExit(f"The run did not pass, so there is nothing to measure:\n{done.stdout}{done.stderr}")
        results = json.loads((Path(folder) / "results.json").read_text())
    return Timed(wall, {step["name"]: step["seconds"] for step in results["steps"]})


def plain_kubectl(rounds: int) -> float:
    """Seconds from `kubectl apply` to the end of `kubectl wait` for the documented pod, the least of some rounds."""
    steps = Steps(sys.stderr)
    kubeconfig = clusters_folder() / CLUSTER / "kubeconfig"
    kubectl = Kubectl(tools.kubectl(KUBERNETES, steps), kubeconfig)
    took = []
    with connect(kubeconfig, Record()) as client:
        plugin = client.get(path_of("DaemonSet", NAMESPACE, PLUGIN))
        image = plugin["spec"]["template"]["spec"]["containers"][0]["image"]
        cluster = Cluster("kind", client, kubectl, frozenset(), image)
        for _ in range(rounds):
            with namespace_of(cluster) as namespace:
                pod = yaml.safe_dump(manifest(image, "aliyun.com/npu")).encode()
                began = time.monotonic()
                kubectl.run("apply", "--namespace", namespace, "-f", "-", stdin=pod)
                until = "--for=jsonpath={.status.phase}=Succeeded"
                kubectl.run("wait", "pod", NAME, "--namespace", namespace, until, "--timeout=120s", timeout=125)
                took.append(time.monotonic() - began)
    return min(took)


def main() -> int:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--cold", action="store_true", help="also build everything in a new, empty cache (minutes)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the short measurements (3)")
    options = parser.parse_args()
    rows: list[tuple[str, str, str]] = []
    if options.cold:
        with tempfile.TemporaryDirectory() as folder:
            cold = timed_run("--no-keep", cache=Path(folder))
        total = sum(cold.steps.values())
        rows.append(
            (
                "cold start to verdict / sum of its steps",
                f"{cold.wall:.0f} s / {total:.0f} s",
                f"{cold.wall / total:.2f}",
            )
        )
        rows += [
            (f"· {name}", f"{seconds:.1f} s", "")
            for name, seconds in sorted(cold.steps.items(), key=lambda s: -s[1])[:12]
        ]
    new = timed_run("--keep")
    again = [timed_run("--keep") for _ in range(options.rounds)]
    kept = min(again, key=lambda run: run.wall)
    rows.append(("images there, new cluster, to verdict", f"{new.wall:.1f} s", ""))
    rows.append(
        ("kept cluster to verdict / new cluster to verdict", f"{kept.wall:.1f} s", f"{kept.wall / new.wall:.2f}")
    )
    plain = plain_kubectl(options.rounds)
    flow = min(run.steps[FLOW] for run in again)
    rows.append(
        (
            "the flow with its log read / kubectl apply + kubectl wait",
            f"{flow:.1f} s / {plain:.1f} s",
            f"{flow / plain:.2f}",
        )
    )
    timed_run("--no-keep")
    print("| what | measured | ratio |\n| --- | --- | --- |")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
