"""Evidence: what is kept, what is taken out of it, what is left out and said to be."""

from __future__ import annotations

import base64
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import Answer, ApiServer, Object, kubeconfig, listed, pod, refusal, serving

from fixtures import evidence
from fixtures.client import Client, connect
from fixtures.errors import HarnessError
from fixtures.evidence import collect
from fixtures.record import Record

PODS = "/api/v1/namespaces/default/pods"
SECRET = "hunter22-of-this-run"


def of_pod(name: str, time: str, **fields: Any) -> Object:
    return {
        "metadata": {"name": f"{name}-{time}", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": name},
        "type": "Normal",
        "reason": "Scheduled",
        "message": f"with {SECRET}",
        "lastTimestamp": time,
        **fields,
    }


@pytest.fixture
def server() -> Iterator[ApiServer]:
    statuses = [{"name": "main", "restartCount": 1, "state": {"running": {}}}]
    statuses_of_init = [{"name": "driver", "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}]
    found = pod("a", "Running", containerStatuses=statuses, initContainerStatuses=statuses_of_init)
    found["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    found["spec"]["containers"][0]["env"] = [{"name": "X_TOKEN", "value": "other"}, {"name": "Y", "value": SECRET}]
    with serving() as plain:
        plain.on(f"GET {PODS}", listed("1", found))
        node = {"kind": "Node", "metadata": {"name": "n1"}, "status": {"allocatable": {"aliyun.com/npu": "4"}}}
        plain.on("GET /api/v1/nodes/n1", node)
        events = [of_pod("a", "2026-01-01T00:00:02Z"), of_pod("a", "2026-01-01T00:00:01Z", eventTime=None)]
        plain.on("GET /api/v1/namespaces/default/events", listed("1", *events, kind="Event"))
        plain.on(f"GET {PODS}/a/log", Answer(f"epoch 1\nkey {SECRET}\né\n".encode()))
        yield plain


@pytest.fixture
def client(server: ApiServer, tmp_path: Path) -> Iterator[Client]:
    with connect(kubeconfig(tmp_path, server.url), Record()) as connected:
        connected.first_pause = 0.001
        yield connected


def collected(client: Client, folder: Path, **more: Any) -> list[str]:
    options: dict[str, Any] = {"namespace": "default", "more": lambda _: {}, "secrets": [SECRET]}
    return collect(client, folder, **{**options, **more})


def test_what_a_person_needs_is_kept_for_its_owner(server: ApiServer, client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "evidence" / "check"
    in_base64 = base64.b64encode(SECRET.encode()).decode()

    def more(nodes: list[str]) -> dict[str, Callable[[], str]]:
        return {f"plugin-{node}.log": lambda: f"allocated npu-0 {in_base64}\n" for node in nodes}

    names = collected(client, folder, more=more)
    assert names == [
        "pod-a.yaml",
        "node-n1.yaml",
        "events.txt",
        "pod-a.driver.log",
        "pod-a.main.log",
        "pod-a.main.previous.log",
        "plugin-n1.log",
    ]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    whole = "".join(path.read_text() for path in folder.iterdir())
    assert SECRET not in whole
    assert in_base64 not in whole
    kept = yaml.safe_load((folder / "pod-a.yaml").read_text())
    assert kept["status"]["phase"] == "Running"
    assert "managedFields" not in kept["metadata"]
    assert kept["spec"]["containers"][0]["env"][0] == {"name": "X_TOKEN", "value": "█████"}
    assert yaml.safe_load((folder / "node-n1.yaml").read_text())["status"]["allocatable"] == {"aliyun.com/npu": "4"}
    assert (folder / "events.txt").read_text().splitlines() == [
        "2026-01-01T00:00:01Z Normal Scheduled Pod a: with █████",
        "2026-01-01T00:00:02Z Normal Scheduled Pod a: with █████",
    ]
    assert (folder / "pod-a.main.log").read_text() == "epoch 1\nkey █████\né\n"
    logs = [asked.query for asked in server.asked_for(f"GET {PODS}/a/log")]
    assert [(query["container"], query["previous"]) for query in logs] == [
        ("driver", "false"),
        ("main", "false"),
        ("main", "true"),
    ]


def test_what_cannot_be_had_is_listed_and_the_rest_is_kept(server: ApiServer, client: Client, tmp_path: Path) -> None:
    server.on(f"GET {PODS}/a/log", refusal(400, "BadRequest", 'container "main" is waiting to start'))
    server.on("GET /api/v1/nodes/n1", refusal(403, "Forbidden", "nodes is forbidden"))

    def unreadable() -> str:
        return (tmp_path / "none").read_text()

    def refused() -> str:
        raise HarnessError(f"The kubelet's log with {SECRET} is not to be had.", "Look there.")

    more = {"plugin.log": unreadable, "kubelet.log": refused, "../x.log": lambda: "", "last.log": lambda: "there\n"}
    names = collected(client, tmp_path / "e", more=lambda _: more)
    assert names == ["pod-a.yaml", "events.txt", "last.log", "not-collected.txt"]
    said = (tmp_path / "e" / "not-collected.txt").read_text().splitlines()
    wanted = [
        ("node-n1.yaml", "nodes is forbidden"),
        ("pod-a.driver.log", "is waiting to start"),
        ("pod-a.main.log", "is waiting to start"),
        ("pod-a.main.previous.log", "is waiting to start"),
        ("plugin.log", "No such file"),
        ("kubelet.log", "The kubelet's log with █████ is not to be had."),
        ("'../x.log'", "not the name of a new file"),
    ]
    assert len(said) == len(wanted)
    for line, (name, reason) in zip(said, wanted, strict=True):
        assert line.startswith(f"{name}: ")
        assert reason in line
    assert not (tmp_path / "x.log").exists()


def test_a_cluster_that_is_away_leaves_what_comes_another_way(
    server: ApiServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on(f"GET {PODS}", Answer(status=0))
    server.on("GET /api/v1/namespaces/default/events", Answer(pieces=[b"{"], then="hold"))
    monkeypatch.setattr(evidence, "REQUEST_SECONDS", 0.2)
    names = collected(client, tmp_path / "e", more=lambda _: {"kubelet.log": lambda: "there\n"})
    assert names == ["kubelet.log", "not-collected.txt"]
    assert (tmp_path / "e" / "not-collected.txt").read_text().count("does not answer") == 2


def test_a_namespace_without_pods_is_said_to_have_none(server: ApiServer, client: Client, tmp_path: Path) -> None:
    server.on(f"GET {PODS}", listed("1"))
    assert collected(client, tmp_path / "e") == ["events.txt", "not-collected.txt"]
    assert "there was none in default" in (tmp_path / "e" / "not-collected.txt").read_text()


def test_of_many_pods_those_that_did_not_succeed_are_kept(
    server: ApiServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "MOST_PODS", 2)
    phases = {"a": "Succeeded", "b": "Failed", "c": "Succeeded", "d": "Pending"}
    server.on(f"GET {PODS}", listed("1", *(pod(name, phase) for name, phase in phases.items())))
    names = collected(client, tmp_path / "e")
    assert [name for name in names if name.startswith("pod-")] == ["pod-b.yaml", "pod-d.yaml"]
    assert "2 of the 4 in default" in (tmp_path / "e" / "not-collected.txt").read_text()


def test_a_long_log_keeps_its_end_and_says_what_was_cut(
    server: ApiServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "LOG_BYTES", 1000)
    monkeypatch.setattr(evidence, "MARGIN_BYTES", 500)
    pieces = [f"line {number} {'é' * 20}\n".encode() for number in range(200)]
    server.on(f"GET {PODS}/a/log", Answer(pieces=pieces))
    collected(client, tmp_path / "e")
    first, *lines = (tmp_path / "e" / "pod-a.main.log").read_text().splitlines()
    assert [int(line.split()[1]) for line in lines] == list(range(200 - len(lines), 200))
    assert 15 <= len(lines) <= 1000 // 49
    whole = sum(map(len, pieces))
    assert first == f"[about {whole - sum(map(len, pieces[-len(lines) :]))} bytes before this are left out]"


@pytest.mark.parametrize("after", [*range(30, 110, 8), 250, 300, 310, 320])
def test_a_credential_across_a_cut_is_not_kept_in_half(
    server: ApiServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(evidence, "LOG_BYTES", 100)
    monkeypatch.setattr(evidence, "MARGIN_BYTES", 200)
    log = b"x" * 400 + b"y" + SECRET.encode() + b"z" * after
    server.on(f"GET {PODS}/a/log", Answer(pieces=[log[n : n + 10] for n in range(0, len(log), 10)]))
    collected(client, tmp_path / "e")
    kept = (tmp_path / "e" / "pod-a.main.log").read_text().splitlines()[1]
    assert kept.endswith("z" * min(after, 50))
    assert set(kept) <= set("xyz█")


def test_a_log_that_shrinks_shows_no_half_of_a_credential_either(
    server: ApiServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "LOG_BYTES", 100)
    monkeypatch.setattr(evidence, "MARGIN_BYTES", 400)
    long = "".join(f"{number:02}" for number in range(50))
    log = (long * 20).encode()
    server.on(f"GET {PODS}/a/log", Answer(pieces=[log[n : n + 7] for n in range(0, len(log), 7)]))
    collected(client, tmp_path / "e", secrets=[long])
    first, *kept = (tmp_path / "e" / "pod-a.main.log").read_text().splitlines()
    assert first.startswith("[about")
    assert set("".join(kept)) <= {"█"}


def test_a_log_that_breaks_off_or_goes_on_is_kept_as_far_as_it_came(
    server: ApiServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "REQUEST_SECONDS", 0.3)
    server.on(
        f"GET {PODS}/a/log",
        Answer(b""),
        Answer(pieces=[b"one\n"], then="cut"),
        Answer(pieces=[b"two\n"], then="hold"),
    )
    collected(client, tmp_path / "e")
    assert (tmp_path / "e" / "pod-a.driver.log").read_text() == ""
    assert "one\n[What" in (tmp_path / "e" / "pod-a.main.log").read_text()
    assert "broke off" in (tmp_path / "e" / "pod-a.main.log").read_text()
    assert "two\n[it was still coming" in (tmp_path / "e" / "pod-a.main.previous.log").read_text()


def test_what_does_not_fit_is_dropped_and_listed(client: Client, tmp_path: Path) -> None:
    more = {"big.log": lambda: "x" * 5000, "small.log": lambda: "there\n"}
    names = collected(client, tmp_path / "e", more=lambda _: more, total_bytes=4000)
    assert "big.log" not in names
    assert "small.log" in names
    assert "big.log: its 5000 bytes did not fit" in (tmp_path / "e" / "not-collected.txt").read_text()
    files = [path for path in (tmp_path / "e").iterdir() if path.name != "not-collected.txt"]
    assert sum(path.stat().st_size for path in files) <= 4000


def test_without_time_everything_is_listed(server: ApiServer, client: Client, tmp_path: Path) -> None:
    assert collected(client, tmp_path / "e", total_seconds=0) == ["not-collected.txt"]
    assert (tmp_path / "e" / "not-collected.txt").read_text().count("no time left") == 2
    assert server.asked == []


def test_a_folder_that_cannot_be_written_is_no_error(client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert collected(client, tmp_path / "file" / "e") == []


def test_an_interrupt_goes_on_and_what_is_missing_is_still_listed(client: Client, tmp_path: Path) -> None:
    def unreadable() -> str:
        raise OSError(5, "Input/output error")

    def interrupted() -> str:
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)
        return ""

    with pytest.raises(KeyboardInterrupt):
        collected(client, tmp_path / "e", more=lambda _: {"one.log": unreadable, "two.log": interrupted})
    assert (tmp_path / "e" / "not-collected.txt").read_text() == "one.log: Input/output error\n"
    assert (tmp_path / "e" / "pod-a.yaml").exists()
