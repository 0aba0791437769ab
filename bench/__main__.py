"""`python -m bench`: the time to a verdict on a kept and on a new cluster, and the flow against plain kubectl.

Each figure is a ratio of two times that were measured in this run, or of a run's own steps. With `--cold` the cache is
a new, empty one, so that everything is fetched and built.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from bench.runs import ROOT, Run, environment, finished_run
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

CLUSTER = "npu-e2e-bench"
FLOW = "run test-npu-pod"
"""The step of a run in which the flow is."""


def timed_run(*options: str, cache: Path | None = None) -> Run:
    """Run the documented flow on the cluster of the bench.

    Raises:
        SystemExit: it did not pass; what it printed is shown.
    """
    run = finished_run("--cluster-name", CLUSTER, *options, cache=cache)
    if not run.passed:
        raise SystemExit(f"The run did not pass, so there is nothing to measure:\n{run.printed}")
    return run


def cold_run() -> Run:
    """Run the flow with a new, empty cache; engine and cache are gone afterwards.

    Raises:
        SystemExit: it did not pass.
    """
    with tempfile.TemporaryDirectory(prefix="npu-e2e-cold-") as folder:
        cache = Path(folder)
        try:
            return timed_run("--no-keep", cache=cache)
        finally:
            argv = [sys.executable, "-m", "fixtures.cli", "clean", "--keep-cache"]  # images of a user's engine stay
            subprocess.run(argv, cwd=ROOT, env=environment(cache), check=True)


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
        cold = cold_run()
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
