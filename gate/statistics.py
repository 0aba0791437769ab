"""The tests that the gate makes: scipy does the mathematics, and each function says what it assumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

EXACT = 10_000
"""Pairs of values up to which ranks are counted exactly."""
SEED = 0
"""Of the integration over several tests, so that the same results give the same figures."""
SPREAD = 7.0
"""Standard deviations around the mean that an expectation is summed over."""


@dataclass(frozen=True)
class Test:
    """One test of a share of images.

    Attributes:
        p_value: the chance of a count as low as this, or lower, if there were no drop but the one that is allowed.
        false_alarm: the chance that the test, made at `alpha`, fails when there is no drop but that.
        smallest_drop: the smallest true drop, with what is allowed of it, that it finds with the wanted power; 1 when
            it finds none.
        low: lower end of the interval: of the share, or of the candidate's share less the baseline's.
        high: its upper end.
        rejects: whether the count is too low to be chance.
    """

    p_value: float
    false_alarm: float
    smallest_drop: float
    low: float
    high: float
    rejects: bool


@lru_cache(maxsize=256)
def against_threshold(count: int, images: int, expected: float, *, alpha: float, power: float, level: float) -> Test:
    """Whether `count` of `images` is too low for the share `expected`: the exact binomial test, one-sided.

    Assumes that each image is right or wrong by itself, with the same chance.

    Args:
        count: images that were right.
        images: that were looked at.
        expected: the share that a good candidate has at least.
        alpha: the false-alarm rate that the test may have at most.
        power: the chance with which `smallest_drop` is found.
        level: of the interval (Clopper and Pearson's, two-sided).
    """
    critical = critical_count(images, expected, alpha)
    result = stats.binomtest(count, images, expected, alternative="less")
    interval = stats.binomtest(count, images, expected).proportion_ci(level, method="exact")

    def lacks(drop: float) -> float:
        return float(stats.binom.cdf(critical, images, expected - drop)) - power

    return Test(
        float(result.pvalue),
        float(stats.binom.cdf(critical, images, expected)),
        _smallest(lacks, expected),
        float(interval.low),
        float(interval.high),
        count <= critical,
    )


def critical_count(images: int, expected: float, alpha: float) -> int:
    """The largest count that fails: so low that its chance is at most `alpha`; -1 when none is."""
    count = int(stats.binom.ppf(alpha, images, expected))
    while count >= 0 and stats.binom.cdf(count, images, expected) > alpha:
        count -= 1
    return count


@lru_cache(maxsize=256)
def against_baseline(
    count: int,
    images: int,
    baseline: int,
    baseline_images: int,
    *,
    alpha: float,
    power: float,
    level: float,
    allowed: float = 0.0,
) -> Test:
    """Whether the candidate's share is lower than the baseline's, by more than is allowed: Fisher's exact, one-sided.

    Assumes that both are samples of their own, of images that are right or wrong by themselves. A drop that is allowed
    is first taken from the baseline's count, then given to the candidate's, and the larger chance is taken. Either
    makes the means alike, and one of the two has no more spread than Fisher's test assumes: so a true drop of `allowed`
    fails no more often than with `alpha`. `p_value` and `false_alarm` are at that drop, for the share that was seen in
    both together. `smallest_drop` counts from the baseline's share, and is the larger of those for the share of both
    and for the baseline's own. Shares so near to 1 that this many images could not tell them from it are taken as the
    lowest of those, by Clopper and Pearson's. The interval is Newcombe's, from Wilson's for each.

    Args:
        count: images that the candidate had right.
        images: that it looked at.
        baseline: images that the baseline had right.
        baseline_images: that it looked at.
        alpha: the false-alarm rate that the test may have at most.
        power: the chance with which `smallest_drop` is found.
        level: of the interval, two-sided.
        allowed: the largest true drop that is no failure.
    """
    ours, theirs = _moved(allowed, images), _moved(allowed, baseline_images)
    lowered, raised = max(baseline - theirs, 0), min(count + ours, images)
    total = images + baseline_images
    p_value = max(
        float(stats.hypergeom.cdf(count, total, count + lowered, images)),
        float(stats.hypergeom.cdf(raised, total, raised + baseline, images)),
    )
    nearest = ((1 - level) / 2) ** (1 / baseline_images)

    def rate(share: float, drop: float) -> float:
        weights, critical = _critical_by_baseline(images, baseline_images, share, alpha, allowed)
        return float(np.sum(weights * stats.binom.cdf(critical, images, max(share - drop, 0.0))))

    def smallest(share: float) -> float:
        return _smallest(lambda drop: rate(share, drop) - power, share)

    pooled, own = min((count + baseline) / total, nearest), min(baseline / baseline_images, nearest)
    low, high = _newcombe(count, images, baseline, baseline_images, level)
    return Test(
        p_value,
        rate(min((count + baseline + allowed * images) / total, nearest), allowed),
        max(smallest(pooled), smallest(own)),
        low,
        high,
        p_value <= alpha,
    )


def _moved(allowed: float, images: int) -> int:
    """A share as images: so many that it is no less, but for what a float may lack."""
    return ceil(allowed * images - 1e-6)


def _newcombe(count: int, images: int, baseline: int, baseline_images: int, level: float) -> tuple[float, float]:
    ours, theirs = count / images, baseline / baseline_images
    one = stats.binomtest(count, images).proportion_ci(level, method="wilson")
    other = stats.binomtest(baseline, baseline_images).proportion_ci(level, method="wilson")
    difference = ours - theirs
    low = difference - float(np.hypot(ours - one.low, other.high - theirs))
    high = difference + float(np.hypot(one.high - ours, theirs - other.low))
    return low, high


@lru_cache(maxsize=64)
def _critical_by_baseline(
    images: int, baseline_images: int, share: float, alpha: float, allowed: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """For each likely count of the baseline its chance, and the largest count of the candidate that fails beside it."""
    spread = SPREAD * np.sqrt(baseline_images * share * (1 - share)) + 1
    least = max(0, int(baseline_images * share - spread))
    most = min(baseline_images, int(baseline_images * share + spread) + 1)
    counts = np.arange(least, most + 1)
    critical = critical_beside(counts, images, baseline_images, alpha, allowed)
    return stats.binom.pmf(counts, baseline_images, share), critical


def critical_beside(
    baseline: NDArray[np.int64], images: int, baseline_images: int, alpha: float, allowed: float = 0.0
) -> NDArray[np.int64]:
    """The largest count of the candidate that `against_baseline` fails beside each of the baseline's; -1 for none."""
    lowered = np.maximum(baseline - _moved(allowed, baseline_images), 0)
    critical = _critical(lowered, images, baseline_images, alpha)
    if allowed:
        raised = _critical(baseline, images, baseline_images, alpha) - _moved(allowed, images)
        critical = np.maximum(np.minimum(critical, raised), -1)
    return critical


def _critical(baseline: NDArray[np.int64], images: int, baseline_images: int, alpha: float) -> NDArray[np.int64]:
    """The largest counts that Fisher's test fails: those of the normal distribution, then step by step the exact ones.

    The steps are few, as both are nearly the same.
    """
    beside = baseline / baseline_images
    ours = beside
    for _ in range(4):
        share = (ours * images + baseline) / (images + baseline_images)
        deviation = np.sqrt(share * (1 - share) * (1 / images + 1 / baseline_images))
        ours = np.clip(beside + stats.norm.ppf(alpha) * deviation, 0, 1)
    critical = np.minimum((ours * images).astype(np.int64), images - 1)
    while (above := _lower_tail(critical, images, baseline, baseline_images) > alpha).any():
        critical = critical - above
    while (below := _lower_tail(critical + 1, images, baseline, baseline_images) <= alpha).any():
        critical = critical + below
    return critical


def _lower_tail(
    counts: NDArray[np.int64], images: int, baseline: NDArray[np.int64], baseline_images: int
) -> NDArray[np.float64]:
    """The hypergeometric chance of each count or a lower one: scipy's takes a hundred times as long for that many."""
    right = counts + baseline
    chance = _log_choose(images, counts) + _log_choose(baseline_images, baseline)
    term = np.exp(chance - _log_choose(images + baseline_images, np.maximum(right, 0)))
    total = np.zeros_like(term)
    at = counts.astype(np.float64)
    while (term > total * 1e-16).any():
        total += term
        term *= at * (baseline_images - right + at) / ((images - at + 1) * (right - at + 1))
        at -= 1
    return total


def _log_choose(number: int, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    logs: NDArray[np.float64] = (
        special.gammaln(number + 1) - special.gammaln(chosen + 1) - special.gammaln(number - chosen + 1)
    )
    return logs


def _smallest(lacks: Callable[[float], float], share: float) -> float:
    """The drop, up to `share`, at which a rising function is 0; 1 when it is negative still at `share`."""
    if lacks(share) < 0:
        return 1.0
    return 0.0 if lacks(0.0) >= 0 else float(optimize.brentq(lacks, 0.0, share, xtol=1e-7))


def apart(counts: Sequence[int], images: int) -> float:
    """The chance that evaluations of `images` each, all of one share, are as far apart as these counts or further.

    Pearson's chi-square test of homogeneity, which is exact enough for the rates that matter here; 1.0 where all are
    right, or none is.

    Args:
        counts: of each evaluation the images that were right; two or more.
        images: that each ranked.
    """
    if sum(counts) in (0, images * len(counts)):
        return 1.0
    table = np.array([counts, [images - count for count in counts]])
    return float(stats.chi2_contingency(table, correction=False).pvalue)


@lru_cache(maxsize=256)
def together(rates: tuple[float, ...], correlations: tuple[tuple[float, ...], ...]) -> float:
    """The chance that at least one of several tests fails a good candidate.

    Assumes that what they compare is normally distributed together: `correlations` are those of the compared numbers.
    """
    if len(rates) == 1:
        return rates[0]
    limits = stats.norm.isf(np.clip(rates, 1e-300, 1.0))
    limits = np.minimum(limits, 30.0)
    none = stats.multivariate_normal.cdf(
        limits, cov=correlations, allow_singular=True, maxpts=2_000_000, abseps=1e-7, releps=1e-7, rng=SEED
    )
    return min(max(1.0 - float(none), *rates), sum(rates))


@dataclass(frozen=True)
class Interval:
    """A distribution-free interval, and the chance that the truth is above it, or below it, each."""

    value: float
    low: float
    high: float
    one_sided: float


def median_interval(values: Sequence[float], alpha: float) -> Interval:
    """The median, and an interval between two order statistics that misses it to either side with `alpha` at most.

    Assumes that the values are independent and of one distribution, whichever. Its ends are infinite with too few.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    number = len(ordered)
    outside = critical_count(number, 0.5, alpha) + 1  # so many values lie outside of each end, at most
    if outside == 0:
        return Interval(float(np.median(ordered)), -np.inf, np.inf, 0.0)
    rate = float(stats.binom.cdf(outside - 1, number, 0.5))
    return Interval(float(np.median(ordered)), float(ordered[outside - 1]), float(ordered[number - outside]), rate)


def ratio_interval(values: Sequence[float], baseline: Sequence[float], alpha: float) -> Interval:
    """By what factor `values` are those of the baseline: Hodges and Lehmann's, with an interval from the rank-sum test.

    Assumes that both are independent and that one distribution is the other times a factor. The interval misses the
    factor to either side with `alpha` at most; its ends are 0 and infinite with too few values.
    """
    logs = np.log(np.asarray(values, dtype=np.float64))
    others = np.log(np.asarray(baseline, dtype=np.float64))
    differences = np.sort(np.subtract.outer(logs, others).ravel())
    value = float(np.exp(np.median(differences)))
    outside, rate = _outside(len(logs), len(others), alpha)
    if outside == 0:
        return Interval(value, 0.0, np.inf, 0.0)
    return Interval(value, float(np.exp(differences[outside - 1])), float(np.exp(differences[-outside])), rate)


def _outside(one: int, other: int, alpha: float) -> tuple[int, float]:
    """How many differences lie outside of each end of the interval, and the chance that the truth does.

    From the exact distribution, and from the normal one where there are so many that both are the same.
    """
    if one * other <= EXACT:
        cumulated = np.cumsum(rank_sum_distribution(one, other))
        outside = int(np.searchsorted(cumulated, alpha, side="right"))
        return outside, float(cumulated[outside - 1]) if outside else 0.0
    mean, deviation = one * other / 2, np.sqrt(one * other * (one + other + 1) / 12)
    outside = int(mean + stats.norm.ppf(alpha) * deviation + 0.5)
    return outside, float(stats.norm.cdf((outside - 0.5 - mean) / deviation))


@lru_cache(maxsize=64)
def rank_sum_distribution(one: int, other: int) -> NDArray[np.float64]:
    """The chance of each value of Mann and Whitney's U, from 0, when both samples are of one distribution.

    The generating function of U is a Gaussian binomial coefficient.
    """
    counts = np.zeros(one * other + 1)
    counts[0] = 1.0
    for step in range(1, min(one, other) + 1):
        factor = max(one, other) + step
        counts[factor:] = counts[factor:] - counts[: len(counts) - factor]
        for place in range(step):
            counts[place::step] = np.cumsum(counts[place::step])
    chances: NDArray[np.float64] = counts / counts.sum()
    return chances
