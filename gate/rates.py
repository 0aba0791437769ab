"""Throughput and times of pods over repeats: nothing is assumed of how they are distributed."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf, isclose, isfinite, log2
from statistics import median

from gate import statistics
from gate.decision import Compared, Effect, Finding, Statistic, Verdict
from gate.measures import LEAST_SECONDS, TIMES, Sample, common_pods, findings_of_number
from gate.policy import Rate, Timing

REPEATS = "runs are independent of each other, and of one distribution, whichever"
FACTOR = "the candidate's distribution is the baseline's times a factor"
SECONDS = (
    "times of pods are whole seconds, so that a fail allows for one second more or less of each, a pass of times of one"
    " or two seconds means no more than that; of a run the median counts of the pods that every run has; 0 s counts as"
    " half a second"
)
ACCEPTED = "Give the results of the accepted release with `--baseline`."
MORE = "Run the checks again, and give all results folders together."


def compare_throughput(sample: Sample, baseline: Sample, rules: Rate) -> Compared:
    """Compare the median rate with its threshold, and with the baseline's where there is one."""
    findings: list[Finding] = []
    values, others = _rates(sample, rules, findings), _rates(baseline, rules, findings)
    name, unit = rules.measure, rules.unit
    asked = [rules.at_least is not None, rules.lowest_ratio is not None and bool(baseline.runs)]
    alpha = rules.false_alarm / max(sum(asked), 1)
    told = []
    if not values and any(asked):
        sentence = f"{name} was measured by no run."
        findings.append(Finding("not-measured", "inconclusive", sentence, MORE, rules.check))
    if rules.lowest_ratio is not None and not baseline.runs:
        effect: Effect = "warning" if rules.at_least is not None else "inconclusive"
        sentence = f"{name} was not compared with an accepted release's: there is no baseline."
        findings.append(Finding("not-compared", effect, sentence, ACCEPTED, rules.check))
    if values and rules.at_least is not None:
        told.append(_median(name, unit, values, rules.at_least, alpha))
    if asked[1] and values and rules.lowest_ratio is not None:
        if others:
            told.append(_ratio(name, unit, values, others, alpha, lowest=rules.lowest_ratio))
        else:
            sentence = f"{name} was measured by no run of the baseline."
            findings.append(Finding("not-measured", "inconclusive", sentence, MORE, rules.check))
    return Compared(tuple(told), tuple(findings), sum(one.false_alarm for one in told))


def _rates(sample: Sample, rules: Rate, findings: list[Finding]) -> list[float]:
    values = []
    for reading in sample.of(rules.check, rules.measure):
        value = reading.value
        if isinstance(value, float) and isfinite(value) and value > 0 and reading.unit == rules.unit:
            values.append(value)
        else:
            said = f"{reading.shown_beside(rules.unit)}, which is no rate in {rules.unit}"
            sentence = f"{rules.measure} of run {reading.run} is {said}."
            findings.append(Finding("not-believable", "inconclusive", sentence, MORE, rules.check, reading.run))
    findings += findings_of_number(sample, rules.check, rules.measure, MORE)
    return values


def compare_timings(sample: Sample, baseline: Sample, rules: Timing) -> Compared:
    """Compare how long NPU pods took to start and to run with the baseline's; a warning without a baseline."""
    if not baseline.runs:
        sentence = "Times of pods were not compared with an accepted release's: there is no baseline."
        return Compared((), (Finding("not-compared", "warning", sentence, ACCEPTED),), 0.0)
    told, findings = [], []
    for name, (words, _) in TIMES.items():
        pods = common_pods((sample, baseline), name)
        ours, theirs = sample.times_of(name, pods), baseline.times_of(name, pods)
        if ours and theirs:
            told.append(_ratio(name, "s", ours, theirs, rules.false_alarm / len(TIMES), highest=rules.highest_ratio))
        else:
            sentence = f"Not every run says of one and the same NPU pod how long it took {words}."
            findings.append(Finding("not-measured", "inconclusive", sentence, MORE))
    return Compared(tuple(told), tuple(findings), sum(one.false_alarm for one in told))


def _median(name: str, unit: str, values: Sequence[float], limit: float, alpha: float) -> Statistic:
    interval = statistics.median_interval(values, alpha)
    bad, good = _below(interval.high, limit), not _below(interval.low, limit)
    result: Verdict = "fail" if bad else "pass" if good else "inconclusive"
    needed = ceil(-log2(alpha))
    meaning = {
        "fail": f"is below {limit:.4g}",
        "pass": f"is at least {limit:.4g}",
        "inconclusive": f"may be above or below {limit:.4g}"
        if len(values) >= needed
        else f"takes {needed} runs to tell",
    }[result]
    return Statistic(
        metric=name,
        unit=unit,
        against="threshold",
        test="order statistics (sign test), one-sided",
        value=interval.value,
        low=interval.low,
        high=interval.high,
        confidence=1 - 2 * interval.one_sided if interval.one_sided else 1.0,
        limit=limit,
        baseline=None,
        p_value=None,
        alpha=alpha,
        false_alarm=interval.one_sided,
        smallest_drop=None,
        power=None,
        size=len(values),
        baseline_size=0,
        result=result,
        sentence=f"{name}: the median of {_runs(values)}, {interval.value:.4g} {unit}, {meaning}"
        f" (interval {_ends(interval.low, interval.high)}).",
        assumptions=(REPEATS,),
    )


def _ratio(
    name: str,
    unit: str,
    values: Sequence[float],
    others: Sequence[float],
    alpha: float,
    *,
    lowest: float = 0.0,
    highest: float = inf,
) -> Statistic:
    interval = statistics.ratio_interval(values, others, alpha)
    surely = interval
    if unit == "s":  # each is a whole second, and may be up to one longer or shorter
        shortest = [max(value - 1, LEAST_SECONDS) for value in values]
        surely = statistics.ratio_interval(shortest, [value + 1 for value in others], alpha)
    bad = _below(interval.high, lowest) or _below(highest, surely.low)
    good = not _below(interval.low, lowest) and not _below(highest, interval.high)
    result: Verdict = "fail" if bad else "pass" if good else "inconclusive"
    limit, word = (lowest, "at least") if lowest else (highest, "at most")
    wanted = f"{word} {limit:.4g} times the baseline's"
    meaning = {
        "fail": f"which is not {wanted}",
        "pass": f"which is {wanted}",
        "inconclusive": f"which may or may not be {wanted}: {_runs(values)} and {len(others)} of the baseline are too"
        " few or too scattered",
    }[result]
    return Statistic(
        metric=name,
        unit=unit,
        against="baseline",
        test="Hodges and Lehmann's factor with the rank-sum interval",
        value=median(values),
        low=interval.low,
        high=interval.high,
        confidence=1 - 2 * interval.one_sided if interval.one_sided else 1.0,
        limit=limit,
        baseline=median(others),
        p_value=None,
        alpha=alpha,
        false_alarm=interval.one_sided,
        smallest_drop=None,
        power=None,
        size=len(values),
        baseline_size=len(others),
        result=result,
        sentence=f"{name}: {interval.value:.3g} times the baseline's (interval {_ends(interval.low, interval.high)}), "
        f"{meaning}.",
        assumptions=(REPEATS, FACTOR, *((SECONDS,) if unit == "s" else ())),
    )


def _below(value: float, limit: float) -> bool:
    """Whether it is, by more than the last digits in which calculations differ."""
    return value < limit and not isclose(value, limit, rel_tol=1e-9)


def _runs(values: Sequence[float]) -> str:
    return f"{len(values)} run{'' if len(values) == 1 else 's'}"


def _ends(low: float, high: float) -> str:
    return f"{low:.4g} to {high:.4g}" if isfinite(low) and isfinite(high) else "without ends"
