"""The throughput over the run: from the bar of a training log to the series that the gate draws."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jsonschema_rs
import pytest

from fixtures.documented import CHECK, DocumentedFlow, throughput
from fixtures.record import Record
from fixtures.results import Run
from fixtures.session import FACTS, RECORD, RUN, STEPS
from fixtures.steps import Steps
from fixtures.traininglog import read_training_log
from fixtures.traininglog.progress import MOST_POINTS, Course
from fixtures.worker import Worker, take
from gate.results import SCHEMA

ENDED = 1795514430.0  # 2026-11-24T10:00:30Z


def bar(done: int, total: int, second: int, rate: str) -> str:
    minutes = f"{second // 60 % 60:02}:{second % 60:02}"
    clock = f"{second // 3600}:{minutes}" if second >= 3600 else minutes
    return f"\r{100 * done // total:3}%|##| {done}/{total} [{clock}<00:01, {rate}]"


def flow(log: str, status: Any = None) -> DocumentedFlow:
    ended = {"state": {"terminated": {"finishedAt": "2026-11-24T10:00:30Z"}}}
    pod = {"status": {"containerStatuses": [ended]} if status is None else status}
    return DocumentedFlow("ns", pod, (), "", read_training_log([log.encode()]), (), ())


def test_the_rates_of_the_bar_are_a_series_that_ends_with_the_container() -> None:
    log = (
        bar(10, 98, 3, " 3.10it/s")
        + bar(12, 98, 3, " 3.20it/s")
        + bar(50, 98, 14, " 1.50s/it")
        + bar(98, 98, 27, " 3.67it/s")
    )
    (series,) = throughput(flow(log))
    assert (series["name"], series["unit"], series["check"]) == ("throughput", "it/s", CHECK)
    assert series["points"] == [[ENDED - 24, 3.2], [ENDED - 13, pytest.approx(1 / 1.5)], [ENDED, 3.67]]


@pytest.mark.parametrize(
    ("log", "status"),
    [
        ("Completed\n", None), (bar(1, 98, 0, "?it/s"), None), (bar(98, 98, 27, " 3.67it/s"), {}),
        (bar(98, 98, 27, " 3.67it/s"), {"containerStatuses": [{"state": {"running": {}}}]}),
    ],
)  # fmt: skip
def test_a_log_without_rates_or_a_pod_without_an_end_has_none(log: str, status: Any) -> None:
    assert throughput(flow(log, status)) == []


def test_a_bar_of_days_is_thinned_out_from_end_to_end() -> None:
    course = Course()
    for second in range(100_000):
        course.add(second, float(second))
    assert MOST_POINTS / 2 < len(course.points) <= MOST_POINTS
    assert course.points[-1] == (99_999, 99_999.0)
    gaps = {later - earlier for (earlier, _), (later, _) in zip(course.points, course.points[1:], strict=False)}
    assert max(gaps) <= 2 * course.step


def test_a_bar_that_lies_of_its_clock_spoils_no_results_file() -> None:
    log = (
        bar(1, 98, 0, " 3.10it/s")
        + bar(98, 98, 3600 * 999_998, " 3.67it/s")
        + bar(98, 98, 3600 * 999_999, f"{'9' * 400}.00it/s")
    )
    points = [point for one in throughput(flow(log)) for point in one["points"]]
    assert points
    limits = json.loads(Path(SCHEMA).read_text())["$defs"]["time"]
    assert all(jsonschema_rs.is_valid(limits, at) for at, _ in points)
    json.dumps(points, allow_nan=False)


def test_what_a_worker_measured_is_in_the_results_of_the_run_once() -> None:
    one = {"name": "throughput", "unit": "it/s", "check": CHECK, "points": [[ENDED, 3.67]]}

    def run_of() -> Run:
        return Run(["pytest"], {}, cast("Steps", SimpleNamespace(timings=[])), Record())

    there, here = run_of(), run_of()
    there.about.series.append(one)
    stash: dict[Any, Any] = {RUN: there, RECORD: Record(), STEPS: there.steps, FACTS: {}}
    worker = Worker(cast("Any", SimpleNamespace(stash=stash, option=SimpleNamespace())))
    for _ in range(2):
        report = SimpleNamespace(nodeid="e2e/test_it.py::test_it")
        worker.pytest_runtest_logreport(cast("Any", report))
        take(report.npu_conformance, here, Record(), {})
    assert here.about.as_json()["series"] == [one]
