"""Accuracies against their thresholds and the baseline's: counts of images, never bare fractions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt

from gate import statistics
from gate.decision import Compared, Finding, Statistic, Verdict
from gate.measures import Reading, Sample, findings_of_number
from gate.policy import Accuracy, MetricLimits

FLOAT32 = 6e-8
"""By which a share may differ from a whole number of images when it was printed from 32 bits."""
UNIT = "fraction"
"""In which a check measures an accuracy."""
ROUNDING = 1e-6
"""Images by which a share times their number may miss a whole one, as a float does."""
SCATTER = 1e-6
"""How often repeats that are alike may be further apart; they share their images, and are closer than chance has it."""
AGAIN = "Run the evaluation again and keep its whole log."
INDEPENDENT = "each image is right or wrong by itself, with the same chance"
SAMPLES = "the candidate's and the baseline's images are samples of their own"
SMALLEST = "the smallest drop is the larger of those for the baseline's share and for the share of both"
ALLOWED = "false alarms and p are for a true drop as large as the one that is allowed"
REPEATS = "repeats share their images, so their mean counts as one evaluation"
FIXED = "the images, their order and the inference are the same each time, so that nothing is left to chance"


@dataclass(frozen=True)
class Count:
    """Images of one evaluation that were right: of the candidate or the baseline, over its runs.

    `equal` says whether every run had as many.
    """

    right: int
    equal: bool
    runs: int


@dataclass(frozen=True)
class Metric:
    """One accuracy, what the policy says of it, and the false-alarm rate that one test of it may have."""

    name: str
    limits: MetricLimits
    rules: Accuracy
    alpha: float


def compare_accuracies(sample: Sample, baseline: Sample, rules: Accuracy) -> Compared:
    """Compare every metric of the policy with its threshold, and with the baseline where there is one."""
    findings: list[Finding] = []
    ours = {name: _count(sample, name, rules, findings, "candidate") for name in rules.metrics}
    theirs = {
        name: _count(baseline, name, rules, findings, "baseline") if baseline.runs else None for name in rules.metrics
    }
    findings += [*_impossible(sample, rules), *_impossible(baseline, rules)]
    if any(finding.code == "not-believable" for finding in findings):
        return Compared((), tuple(findings), 0.0)
    asked = [
        (name, against)
        for name, limits in rules.metrics.items()
        for against, asks in (("threshold", limits.at_least is not None), ("baseline", bool(baseline.runs)))
        if asks
    ]
    for name in [name for name in rules.metrics if name not in dict(asked)]:
        sentence = f"{name} has no threshold in the policy, and there is no baseline: nothing was compared."
        remedy = "Give the accepted release with --baseline, or set at_least in the policy."
        findings.append(Finding("not-compared", "inconclusive", sentence, remedy, rules.check))
    told: list[Statistic] = []
    for name, against in asked:
        metric = Metric(name, rules.metrics[name], rules, rules.false_alarm / len(asked))
        count, other = ours[name], theirs.get(name)
        if count is None or (against == "baseline" and other is None):
            continue
        beside = other if against == "baseline" else None
        told.append(_fixed(metric, count, beside) if rules.images_are == "fixed" else _sampled(metric, count, beside))
    return Compared(tuple(told), tuple(findings), _together(told))


def _count(sample: Sample, name: str, rules: Accuracy, findings: list[Finding], whose: str) -> Count | None:
    counts = []
    told = len(findings)
    for reading in sample.of(rules.check, name):
        count = _whole(reading, rules.images)
        if isinstance(count, int):
            counts.append(count)
            continue
        sentence = f"{name} of run {reading.run} is {count}."
        findings.append(Finding("not-believable", "inconclusive", sentence, AGAIN, rules.check, reading.run))
    findings += findings_of_number(sample, rules.check, name, AGAIN)
    if not counts and len(findings) == told:
        sentence = f"{name} was measured by no run of the {whose}."
        findings.append(Finding("not-measured", "inconclusive", sentence, AGAIN, rules.check))
    if len(set(counts)) > 1 and statistics.apart(counts, rules.images) < SCATTER:
        ends = f"from {min(counts) / rules.images:.4%} to {max(counts) / rules.images:.4%}"
        sentence = f"{name} of the {whose}'s runs is {ends}, by more than chance explains: they are no repeats."
        findings.append(Finding("repeats-differ", "inconclusive", sentence, AGAIN, rules.check))
    return Count(floor(sum(counts) / len(counts)), len(set(counts)) == 1, len(counts)) if counts else None


def _whole(reading: Reading, images: int) -> int | str:
    """How many of `images` were right, or why the reading cannot be believed."""
    value = reading.value
    if isinstance(value, bool | str) or not 0 <= value <= 1 or reading.unit != UNIT:
        return f"{reading.shown_beside(UNIT)}, which is no share of images"
    count = round(value * images)
    if abs(value * images - count) > images * FLOAT32:
        return f"{value!r}, which is not a whole number of the policy's {images} images"
    return count


def _impossible(sample: Sample, rules: Accuracy) -> Iterable[Finding]:
    first = {one.run: one.value for one in sample.of(rules.check, "top_1")}
    for five in sample.of(rules.check, "top_5"):
        one = first.get(five.run)
        if isinstance(one, float) and isinstance(five.value, float) and five.value < one:
            sentence = f"Run {five.run} has top_5 {five.value!r} below top_1 {one!r}, which cannot be."
            yield Finding("not-believable", "inconclusive", sentence, AGAIN, rules.check, five.run)


def _sampled(metric: Metric, count: Count, other: Count | None) -> Statistic:
    rules, limits = metric.rules, metric.limits
    wanted = {"alpha": metric.alpha, "power": rules.power, "level": rules.confidence}
    if other is None:
        test = statistics.against_threshold(count.right, rules.images, limits.at_least or 0.0, **wanted)
    else:
        test = statistics.against_baseline(
            count.right, rules.images, other.right, rules.images, allowed=limits.allowed_drop, **wanted
        )
    name, alpha = metric.name, metric.alpha
    value = count.right / rules.images
    against = "the baseline's" if other else "the expected"
    limit = other.right / rules.images if other else limits.at_least or 0.0
    allowed = limits.allowed_drop if other else 0.0
    blind = test.smallest_drop > limits.visible_drop
    result: Verdict = "fail" if test.rejects else "inconclusive" if blind else "pass"
    points = f"the {allowed * 100:.2f} points that are allowed and chance"
    meaning = {
        "fail": f"is below {against} {limit:.4%}, by more than {f'{points} explain' if allowed else 'chance explains'} "
        f"(p = {test.p_value:.2g})",
        "inconclusive": f"shows no drop from {against} {limit:.4%}, but {rules.images} images cannot show the "
        f"{limits.visible_drop * 100:.2f} points that the policy wants seen",
        "pass": f"shows no drop from {against} {limit:.4%} beyond {points if allowed else 'chance'} "
        f"(p = {test.p_value:.2g})",
    }[result]
    found = f"a drop of {test.smallest_drop * 100:.2f} points would be found"
    if test.smallest_drop >= 1:
        found = f"{rules.images} images find no drop, however large,"
    at = " at the drop that is allowed" if allowed else ""
    sentence = f"{name} {value:.4%} {meaning}; {found} with {rules.power:.0%}, false alarms{at} {test.false_alarm:.2g}."
    assumed = {SAMPLES: other, SMALLEST: other, ALLOWED: allowed, REPEATS: count.runs > 1}
    return Statistic(
        metric=name,
        unit="fraction",
        against="baseline" if other else "threshold",
        test="Fisher's exact, one-sided" if other else "exact binomial, one-sided",
        value=value,
        low=test.low,
        high=test.high,
        confidence=rules.confidence,
        limit=allowed if other else limit,
        baseline=limit if other else None,
        p_value=test.p_value,
        alpha=alpha,
        false_alarm=test.false_alarm,
        smallest_drop=test.smallest_drop,
        power=rules.power,
        size=rules.images,
        baseline_size=rules.images if other else 0,
        result=result,
        sentence=sentence,
        assumptions=(INDEPENDENT, *(text for text, holds in assumed.items() if holds)),
    )


def _fixed(metric: Metric, count: Count, other: Count | None) -> Statistic:
    name, limits, rules = metric.name, metric.limits, metric.rules
    value = count.right / rules.images
    limit = other.right / rules.images if other else limits.at_least or 0.0
    drop = limit - value
    allowed = limits.allowed_drop if other else 0.0
    lacking = (other.right if other else ceil(limit * rules.images - ROUNDING)) - count.right
    most = floor(allowed * rules.images + ROUNDING)
    result: Verdict = "pass"
    meaning = f"is that of the baseline, {limit:.4%}" if other else f"is at least {limit:.4%}"
    if not count.equal or (other and not other.equal):
        result = "inconclusive"
        meaning = "differs between repeats, so images and inference are not fixed as the policy says"
    elif lacking > most:
        result, meaning = "fail", f"is below {limit:.4%} by {_images(lacking)}"
    elif other and -lacking > most:
        result = "inconclusive"
        meaning = f"is above the baseline's {limit:.4%}, so images or inference are not the same as the policy says"
    elif other and lacking:
        meaning = f"differs from the baseline's {limit:.4%} by {_images(abs(lacking))}, as is allowed"
    return Statistic(
        metric=name,
        unit="fraction",
        against="baseline" if other else "threshold",
        test="equality of counts" if other else "comparison of counts",
        value=value,
        low=-drop if other else value,
        high=-drop if other else value,
        confidence=1.0,
        limit=allowed if other else limit,
        baseline=limit if other else None,
        p_value=None,
        alpha=0.0,
        false_alarm=0.0,
        smallest_drop=0.0,
        power=1.0,
        size=rules.images,
        baseline_size=rules.images if other else 0,
        result=result,
        sentence=f"{name} {value:.4%} ({count.right} of {rules.images} images) {meaning}.",
        assumptions=(FIXED,),
    )


def _images(number: int) -> str:
    return f"{number} image" + "s" * (number != 1)


def _together(told: Sequence[Statistic]) -> float:
    """The rate of false alarms of all: thresholds, baseline, top_1 and top_5 look at the same images."""
    tests = [one for one in told if one.p_value is not None]
    if not tests:
        return 0.0
    shares = {one.metric: one.value for one in tests}
    first, five = shares.get("top_1", 0.0), shares.get("top_5", 1.0)
    between = sqrt(first * (1 - five) / (five * (1 - first))) if 0 < first <= five < 1 else 0.0

    def correlation(one: Statistic, other: Statistic) -> float:
        if one is other:
            return 1.0
        same_metric = 1.0 if one.metric == other.metric else between
        same_side = 1.0 if one.against == other.against else sqrt(0.5)
        return same_metric * same_side

    matrix = tuple(tuple(correlation(one, other) for other in tests) for one in tests)
    return statistics.together(tuple(one.false_alarm for one in tests), matrix)
