"""`python -m bench.gate`: the gate and its report over many runs, against reading the same files.

1,000 runs of 130 checks, each with a wait and a pod, and 1 GB of evidence by default. Each measurement is of a process
of its own: seconds by the wall clock and of the processor, and its peak memory. `read` reads every file once;
`read, hash, parse` also hashes it and parses what is JSON, which is the least that a gate can do that believes nothing.
A second gate, over a tenth of the evidence, shows whether memory grows with it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

ROOT = Path(__file__).parents[1]
IMAGE = "sha256:" + "1" * 64
FILES = 4
"""Of evidence, in a run."""
POLICY = """
format = 1
profile = "conformance"
[accuracy]
images = 49664
[accuracy.top_1]
at_least = 0.74
visible_drop = 0.02
"""
READ = "import sys\nfor f in sys.stdin.read().split('\\n'):\n s = open(f, 'rb')\n while s.read(1 << 20): pass\n"
PARSE = (
    "import hashlib, json, sys\nfor f in sys.stdin.read().split('\\n'):\n h = hashlib.sha256(); s = open(f, 'rb')\n"
    " while p := s.read(1 << 20): h.update(p)\n if f.endswith('.json'): json.load(open(f, 'rb'))\n"
)


@dataclass(frozen=True)
class Measured:
    """A process: seconds by the wall clock, seconds of the processor, and MB of memory at its peak."""

    wall: float
    cpu: float
    peak: float


def measured(argv: list[str], stdin: str = "", status: int = 0) -> Measured:
    """Run a program to its end.

    Raises:
        SystemExit: it ended with another status, so that there is nothing to measure.
    """
    with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as out:
        given.write(stdin)
        given.seek(0)
        began = time.monotonic()
        process = subprocess.Popen(argv, cwd=ROOT, stdin=given, stdout=out, stderr=subprocess.STDOUT)
        _, raw, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(raw)
        if process.returncode != status:
            out.seek(0)
            raise SystemExit(f"{argv[:4]} ended with {process.returncode}:\n{out.read()[:4000]}")
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def make_run(folder: Path, number: int, checks: int, evidence: int) -> None:
    """A results folder of a run in which all went well, with `evidence` bytes kept."""
    began = 1_760_000_000.0 + 1000 * number
    catalogue = json.dumps({"format": 1, "checks": [_entry(one) for one in range(checks)]}).encode()
    kept: list[dict[str, Any]] = []
    for part in range(FILES):
        file = folder / f"evidence/check-{part}/pod.log"
        file.parent.mkdir(parents=True)
        line = f"2026-11-24T12:00:00Z worker-{part} run {number} epoch 1 step 12/98 3.67 it/s\n".encode()
        data = line * (evidence // FILES // len(line) + 1)
        file.write_bytes(data)
        relative = file.relative_to(folder).as_posix()
        kept.append({"file": relative, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)})
    (folder / "catalogue.json").write_bytes(catalogue)
    (folder / "results.json").write_text(
        json.dumps(
            {
                "format": 2,
                "run": {
                    "id": f"{number:08x}", "state": "finished", "began": began, "ended": began + 600, "exit_code": 0,
                    "command": ["pytest", "e2e"], "stopped": "",
                },
                "verdict": {"result": "pass", "reasons": []},
                "settings": {"target": "cluster"},
                "target": {"target": "cluster"},
                "catalogue": {"file": "catalogue.json", "sha256": hashlib.sha256(catalogue).hexdigest()},
                "subject": {"before": _subject(began + 1), "after": _subject(began + 599)},
                "inventory": {"before": 80, "after": 80, "left_behind": []},
                "checks": [_check(one, kept[one : one + 1]) for one in range(checks)],
                "deselected": [],
                "steps": [],
                "waits": [_wait(one, began) for one in range(checks)],
                "retries": [],
                "pods": [_pod(one, began) for one in range(checks)],
            }
        )
    )  # fmt: skip


def _entry(number: int) -> dict[str, Any]:
    name = "flow-accuracy" if number == 0 else f"check-{number}"
    claim = "What is true of a conformant cluster, in a sentence of the usual length."
    return {"id": name, "level": "must", "claim": claim, "profile": "documented", "needs": []}


def _check(number: int, kept: list[dict[str, Any]]) -> dict[str, Any]:
    measured_here = [{"name": "top_1", "value": 37150 / 49664, "unit": "fraction"}] if number == 0 else []
    return {
        **_entry(number), "nodeid": f"e2e/test_it.py::test_{number}", "outcome": "passed", "reason": "", "remedy": "",
        "detail": "", "seconds": {"setup": 0.1, "call": 4.0, "teardown": 0.2}, "evidence": kept, "notes": [],
        "measured": measured_here,
    }  # fmt: skip


def _subject(at: float) -> dict[str, Any]:
    node = {
        "uid": "u", "image": IMAGE, "os_image": "Alibaba Cloud Linux 3", "kernel": "5.10.134",
        "containerd": "containerd://2.1.4", "kubelet": "v1.37.2", "npus": 4,
    }  # fmt: skip
    nodes = [{**node, "name": f"worker-{one}", "boot_id": f"boot-{one}"} for one in range(2)]
    images = [{"role": role, "image": role, "digest": "sha256:" + "2" * 64} for role in ("plugin", "workload")]
    return {"at": at, "kubernetes": "v1.37.2", "nodes": nodes, "images": images}


def _wait(number: int, began: float) -> dict[str, Any]:
    states = [[1, "Pending"]]
    check = f"check-{number}"
    return {"what": "a pod", "began": began, "seconds": 9.0, "outcome": "met", "states": states, "check": check}


def _pod(number: int, began: float) -> dict[str, Any]:
    at = began + 4 * number
    return {
        "namespace": "npu", "name": f"p-{number}", "uid": f"u-{number}", "node": f"worker-{number % 2}",
        "phase": "Succeeded", "npus": 1, "check": "", "created": at, "scheduled": at + 0.1, "pulled": at + 0.2,
        "started": at + 0.5, "finished": at + 4.0,
    }  # fmt: skip


CLI = [sys.executable, "-m", "fixtures.cli"]


def gate(folders: list[Path], policy: Path, output: Path | None) -> Measured:
    """The gate over `folders`, with what it writes, signed, when `output` is given."""
    written = ["--output", str(output), "--key", str(policy.parent / "release.key")] if output else []
    return measured([*CLI, "gate", "--policy", str(policy), *written, "--results", *map(str, folders)])


def write_keys(folder: Path) -> None:
    """`release.key` and `release.pub` in `folder`."""
    private = Ed25519PrivateKey.generate()
    (folder / "release.key").touch(0o600)
    (folder / "release.key").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "release.pub").write_bytes(public)


def main() -> int:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m bench.gate", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--checks", type=int, default=130)
    parser.add_argument("--evidence", type=int, default=1000, help="MB of all runs together (1000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        whole, tenth = Path(name, "whole"), Path(name, "tenth")
        policy = Path(name, "policy.toml")
        policy.write_text(POLICY)
        write_keys(policy.parent)
        for number in range(options.runs):
            make_run(whole / f"{number}", number, options.checks, options.evidence * 10**6 // options.runs)
            make_run(tenth / f"{number}", number, options.checks, options.evidence * 10**5 // options.runs)
        files = "\n".join(str(file) for file in sorted(whole.rglob("*.*")) if file.name != "catalogue.json")
        folders, small = sorted(whole.iterdir()), sorted(tenth.iterdir())
        os.sync()  # else the disk is busy with these files while they are measured
        measured([sys.executable, "-c", READ], files)  # so that all of it is in the page cache
        rows = {
            "read": measured([sys.executable, "-c", READ], files),
            "read, hash, parse": measured([sys.executable, "-c", PARSE], files),
            "gate": gate(folders, policy, None),
            "gate and report": gate(folders, policy, Path(name, "out")),
            "gate and report, a tenth of the evidence": gate(small, policy, Path(name, "out-tenth")),
        }
        key, bundle = ["--key", f"{name}/release.pub"], f"{name}/bundle.tar"
        packed = [*CLI, "bundle", f"{name}/out", "--to", bundle, *key, "--results", *map(str, folders)]
        rows["bundle, looked through for credentials"] = measured(packed)
        rows["verify the bundle"] = measured([*CLI, "verify", bundle, *key, "--image", IMAGE, "--policy", str(policy)])
    least = rows["read, hash, parse"]
    print("| what | clock | processor | peak memory | clock, against read, hash, parse | processor, the same |")
    print("| --- | --- | --- | --- | --- | --- |")
    for what, one in rows.items():
        against = f"{one.wall / least.wall:.2f} | {one.cpu / least.cpu:.2f}"
        print(f"| {what} | {one.wall:.1f} s | {one.cpu:.1f} s | {one.peak:.0f} MB | {against} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
