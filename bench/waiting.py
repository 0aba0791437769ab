"""`python -m bench.waiting`: from a change in the API server to whoever waits for it, three ways side by side.

A ConfigMap is changed; the check's own `wait_for`, a poll once a second and `kubectl wait` all wait for the same
change, in the same run. The time is from the moment at which the change was answered to the moment at which a waiter
knows of it; nothing is subtracted.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from fixtures.apipaths import path_of
from fixtures.client import Client, Object, connect
from fixtures.engine import tools
from fixtures.kubectl import Kubectl
from fixtures.namespaces import namespace_of
from fixtures.record import Record
from fixtures.steps import Steps
from fixtures.targets import Cluster
from fixtures.targets.kind import clusters_folder
from fixtures.versions import KUBERNETES
from fixtures.wait import wait_for

POLL_SECONDS = 1.0
LIMIT = 60.0
HEAD_START = 0.7
"""Seconds that the waiters have to be waiting before the change, plus a part of a second that differs each round."""


def main() -> int:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m bench.waiting", description=__doc__)
    parser.add_argument("--cluster-name", default="npu-e2e", help="of a kept kind cluster (npu-e2e)")
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    kubeconfig = clusters_folder() / options.cluster_name / "kubeconfig"
    if not kubeconfig.exists():
        print(f"There is no kept cluster {options.cluster_name}: run `tox -e e2e` first.", file=sys.stderr)
        return 2
    taken = measured(kubeconfig, options.rounds)
    ours = statistics.quantiles(taken["wait_for"], n=20)[18]
    print("| from a change to whoever waits | p50 | p95 | p95 / wait_for's |\n| --- | --- | --- | --- |")
    for name, seconds in taken.items():
        p50, p95 = statistics.median(seconds), statistics.quantiles(seconds, n=20)[18]
        print(f"| {name} | {1000 * p50:.0f} ms | {1000 * p95:.0f} ms | {p95 / ours:.1f} |")
    return 0


def measured(kubeconfig: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, by way of waiting."""
    taken: dict[str, list[float]] = {"wait_for": [], "a poll once a second": [], "kubectl wait": []}
    with ExitStack() as held:
        client = held.enter_context(connect(kubeconfig, Record()))
        kubectl = Kubectl(tools.kubectl(KUBERNETES, Steps(sys.stderr)), kubeconfig)
        namespace = held.enter_context(namespace_of(Cluster("kind", client, kubectl, frozenset(), None)))
        path = path_of("ConfigMap", namespace, "bench")
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bench"}, "data": {"round": "0"}}
        client.create(path_of("ConfigMap", namespace), made)
        for number in range(1, rounds + 1):
            for name, seconds in _round(client, kubectl, namespace, path, str(number)).items():
                taken[name].append(seconds)
    return taken


def _round(client: Client, kubectl: Kubectl, namespace: str, path: str, value: str) -> dict[str, float]:
    seen: dict[str, float] = {}

    def is_so(obj: Object | None) -> bool:
        return obj is not None and obj["data"]["round"] == value

    def watch() -> None:
        wait_for(client, f"round {value}", path, is_so, timeout=LIMIT)

    def poll() -> None:
        while not is_so(client.get(path)):
            time.sleep(POLL_SECONDS)

    def plain() -> None:
        words = ("wait", "configmap/bench", "--namespace", namespace, f"--for=jsonpath={{.data.round}}={value}")
        kubectl.run(*words, f"--timeout={LIMIT:.0f}s", timeout=LIMIT + 5)

    def noting(name: str, wait: Callable[[], None]) -> threading.Thread:
        def work() -> None:
            wait()
            seen[name] = time.monotonic()

        thread = threading.Thread(target=work, name=name)
        thread.start()
        return thread

    waiters = [noting(name, way) for name, way in
               (("wait_for", watch), ("a poll once a second", poll), ("kubectl wait", plain))]  # fmt: skip
    time.sleep(HEAD_START + int(value) % 10 / 10)
    client.patch(path, {"data": {"round": value}})
    changed = time.monotonic()
    for waiter in waiters:
        waiter.join()
    return {name: max(0.0, at - changed) for name, at in seen.items()}


if __name__ == "__main__":
    sys.exit(main())
