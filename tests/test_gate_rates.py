"""Rates and times of pods: what is compared with what, and what rounding can do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from gateworld import POLICY, codes, judged, of, policy, results

from gate.decision import Decision
from gate.measures import Sample
from gate.policy import Timing
from gate.policyrules import PolicyError
from gate.rates import compare_timings

RATES = POLICY + "\n[throughput]\nlowest_ratio = 0.5\nat_least = 0.1\n"
TIMES = POLICY + "\n[timing]\nhighest_ratio = 2.0\n"


def runs(name: str, rate: float, unit: str = "it/s", count: int = 6) -> list[dict[str, Any]]:
    found = [results(f"{name}{number:04d}", rate=rate) for number in range(count)]
    for content in found:
        of(content, "flow-throughput")["measured"][0]["unit"] = unit
    return found


def results_of(decision: Decision, against: str) -> dict[str, str]:
    return {one.metric: one.result for one in decision.statistics if one.against == against}


@pytest.mark.parametrize("rate", [0.58, 1.0, 1.87, 3.67, 7.99])
def test_a_ratio_exactly_at_its_limit_passes(tmp_path: Path, rate: float) -> None:
    decision = judged(tmp_path, *runs("aaaa", rate), baseline=runs("bbbb", 2 * rate), text=RATES)
    assert results_of(decision, "baseline")["rate"] == "pass"


def test_a_rate_in_another_unit_is_not_believed(tmp_path: Path) -> None:
    decision = judged(tmp_path, *runs("aaaa", 3.67, "s/it"), text=RATES.replace("lowest_ratio = 0.5\n", ""))
    assert "not-believable" in codes(decision)
    assert "3.67 s/it, which is no rate in it/s" in " ".join(decision.reasons)


def test_what_was_not_compared_with_a_baseline_is_told(tmp_path: Path) -> None:
    only = RATES.replace("at_least = 0.1\n", "")
    assert codes(judged(tmp_path / "a", results(), text=only)) == {"not-compared"}
    for text in (TIMES, RATES.replace("at_least = 0.1", "at_least = 0.0001")):
        decision = judged(tmp_path / "b", *runs("aaaa", 3.67), text=text)
        assert [one.effect for one in decision.findings if one.code == "not-compared"] == ["warning"]
        assert decision.exit_code == 0
    nothing = POLICY[: POLICY.index("[accuracy.top_1]")] + "[accuracy.top_1]\nvisible_drop = 0.01\n"
    assert codes(judged(tmp_path / "c", results(), text=nothing)) == {"not-compared"}


@pytest.mark.parametrize("table", ["[throughput]\n", "[accuracy]\nimages = 3\n"])
def test_a_policy_that_compares_nothing_is_refused(tmp_path: Path, table: str) -> None:
    with pytest.raises(PolicyError, match="line 3"):
        policy(tmp_path, f'format = 1\nprofile = "conformance"\n{table}')


def test_a_number_that_no_machine_holds_is_no_verdict(tmp_path: Path) -> None:
    content = results()
    of(content, "flow-throughput")["measured"][0]["value"] = 10**400
    assert codes(judged(tmp_path, content, text=RATES)) == {"unreadable"}


def with_pods(name: str, seconds: dict[str, float]) -> list[dict[str, Any]]:
    found = runs(name, 3.67)
    for content in found:
        pod = content["pods"][0]
        content["pods"] += [
            {**pod, "name": name, "uid": name, "started": pod["started"], "finished": pod["started"] + took}
            for name, took in seconds.items()
        ]
        for one in content["pods"][:2]:
            one["name"] = "train"
    return found


def test_times_are_compared_of_pods_that_every_run_has(tmp_path: Path) -> None:
    alone, more = with_pods("aaaa", {}), with_pods("bbbb", {"short-a": 1.0, "short-b": 2.0, "short-c": 1.0})
    decision = judged(tmp_path, *alone, baseline=more, text=TIMES)
    assert results_of(decision, "baseline")["pod run"] == "pass"
    slow = with_pods("aaaa", {"short-a": 5.0, "short-b": 9.0})
    for content in slow:
        for pod in content["pods"][:2]:
            pod["finished"] = pod["started"] + 140.0
    decision = judged(tmp_path / "slow", *slow, baseline=with_pods("bbbb", {}), text=TIMES)
    assert results_of(decision, "baseline")["pod run"] == "fail"


def timed(base: Sequence[float]) -> Sample:
    return Sample(len(base), {}, {}, {name: tuple({"p": one} for one in base) for name in ("pod start", "pod run")})


@pytest.mark.parametrize(
    ("seconds", "baseline", "result"),
    [(10.0, 5.0, "pass"), (56.0, 28.0, "pass"), (57.0, 28.0, "inconclusive"), (60.0, 28.0, "fail"),
     (3.0, 1.0, "inconclusive"), (6.0, 1.0, "fail")],
)  # fmt: skip
def test_a_second_of_rounding_fails_nobody(seconds: float, baseline: float, result: str) -> None:
    compared = compare_timings(timed([seconds] * 6), timed([baseline] * 6), Timing(2.0, 0.05))
    assert {one.result for one in compared.statistics} == {result}
