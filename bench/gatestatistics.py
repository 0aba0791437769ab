"""`python -m bench.gatestatistics`: how often the gate fails a good candidate and finds a bad one, against its claims.

Each figure is of GATES simulated gates, decided by the functions that the gate itself uses, with its random numbers
from a fixed seed. Rates as low as one in a thousand are had to a few percent by drawing near the limit and weighing
each draw by how much rarer it is where it is claimed: importance sampling.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gate import statistics

GATES = 10_000
SEED = 20_261_124
IMAGES = 49_664
TOP_1, TOP_5 = 37_150 / IMAGES, 45_911 / IMAGES
ALLOWED = 0.10
"""By which a rate may differ from its claim."""
POWER = 0.8
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Rate:
    """A claim and what the simulation found."""

    what: str
    claimed: float
    found: float
    error: float

    @property
    def fits(self) -> bool:
        """Whether it is within ALLOWED of the claim."""
        return abs(self.found - self.claimed) <= ALLOWED * self.claimed


def _rate(what: str, claimed: float, weights: NDArray[np.float64] | NDArray[np.bool_]) -> Rate:
    return Rate(what, claimed, float(weights.mean()), float(weights.std() / np.sqrt(len(weights))))


def thresholds(source: np.random.Generator, gates: int) -> Iterator[Rate]:
    """One accuracy against its threshold."""
    for name, share in (("top_1", TOP_1), ("top_5", TOP_5)):
        for images in (512, IMAGES):
            for alpha in (0.05, 0.001):
                test = statistics.against_threshold(
                    round(share * images), images, share, alpha=alpha, power=POWER, level=0.95
                )
                limit = statistics.critical_count(images, share, alpha)
                near = limit / images
                counts = source.binomial(images, near, gates)
                ratio = np.exp(stats.binom.logpmf(counts, images, share) - stats.binom.logpmf(counts, images, near))
                label = f"{name}, {images} images, threshold, at most {alpha:g}"
                yield _rate(f"{label}: false alarms", test.false_alarm, (counts <= limit) * ratio)
                bad = source.binomial(images, share - test.smallest_drop, gates)
                drop = f"{test.smallest_drop * 100:.2f} points"
                yield _rate(f"{label}: finds {drop}", POWER, (bad <= limit).astype(float))


def baselines(source: np.random.Generator, gates: int) -> Iterator[Rate]:
    """One accuracy against the baseline's: both are drawn anew for each gate."""
    for name, share in (("top_1", TOP_1), ("top_5", TOP_5)):
        for images in (512, IMAGES):
            for alpha in (0.05, 0.001):
                right = round(share * images)
                test = statistics.against_baseline(right, images, right, images, alpha=alpha, power=POWER, level=0.95)
                apart = stats.norm.isf(alpha) * np.sqrt(share * (1 - share) / (2 * images))
                near = (share - apart, share + apart)
                ours, theirs = (source.binomial(images, each, gates) for each in near)
                ratio = np.exp(
                    stats.binom.logpmf(ours, images, share)
                    - stats.binom.logpmf(ours, images, near[0])
                    + stats.binom.logpmf(theirs, images, share)
                    - stats.binom.logpmf(theirs, images, near[1])
                )
                label = f"{name}, {images} images, baseline, at most {alpha:g}"
                yield _rate(f"{label}: false alarms", test.false_alarm, _rejects(ours, theirs, images, alpha) * ratio)
                bad = source.binomial(images, share - test.smallest_drop, gates)
                good = source.binomial(images, share, gates)
                drop = f"{test.smallest_drop * 100:.2f} points"
                found = _rejects(bad, good, images, alpha).astype(float)
                yield _rate(f"{label}: finds {drop}", POWER, found)


def _rejects(ours: Counts, theirs: Counts, images: int, alpha: float) -> NDArray[np.bool_]:
    chances = stats.hypergeom.cdf(ours, 2 * images, ours + theirs, images)
    return np.asarray(chances <= alpha)


def both(source: np.random.Generator, gates: int) -> Iterator[Rate]:
    """top_1 and top_5 of the same images at once, each with half of the false-alarm rate."""
    between = float(np.sqrt(TOP_1 * (1 - TOP_5) / (TOP_5 * (1 - TOP_1))))
    for alpha in (0.1, 0.001):
        limits = [statistics.critical_count(IMAGES, share, alpha / 2) for share in (TOP_1, TOP_5)]
        each = tuple(
            float(stats.binom.cdf(limit, IMAGES, share)) for limit, share in zip(limits, (TOP_1, TOP_5), strict=True)
        )
        claimed = statistics.together(each, ((1.0, between), (between, 1.0)))
        parts = np.array([TOP_1, TOP_5 - TOP_1, 1 - TOP_5])
        tilted = [_tilted(parts, which, limit / IMAGES) for which, limit in zip(((0,), (0, 1)), limits, strict=True)]
        drawn = np.vstack([source.multinomial(IMAGES, tilt, gates // 2) for tilt in tilted])
        logs = np.array([drawn @ np.log(tilt) for tilt in tilted])
        ratio = np.exp(drawn @ np.log(parts) - np.logaddexp(*logs) + np.log(2))
        alarm = (drawn[:, 0] <= limits[0]) | (drawn[:, 0] + drawn[:, 1] <= limits[1])
        yield _rate(f"top_1 and top_5 together, at most {alpha:g}: false alarms", claimed, alarm * ratio)


def _tilted(parts: NDArray[np.float64], which: tuple[int, ...], share: float) -> NDArray[np.float64]:
    """`parts` with those of `which` scaled to sum to `share`, the others to the rest."""
    inside = np.isin(np.arange(len(parts)), which)
    scaled: NDArray[np.float64] = np.where(
        inside, parts * share / parts[inside].sum(), parts * (1 - share) / parts[~inside].sum()
    )
    return scaled


def rates(source: np.random.Generator, gates: int) -> Iterator[Rate]:
    """Throughput over repeats, with a distribution that is far from normal."""

    def drawn(number: int) -> NDArray[np.float64]:
        heavy = source.standard_t(3, (gates, number)) * 0.03
        return np.asarray(3.67 * np.exp(heavy))

    for repeats in (6, 12):
        ours, theirs = drawn(repeats), drawn(repeats)
        medians = [statistics.median_interval(one.tolist(), 0.05) for one in ours]
        missed = np.array([one.high < 3.67 for one in medians], dtype=float)
        yield _rate(f"rate, {repeats} repeats, threshold: false alarms", medians[0].one_sided, missed)
        ratios = [
            statistics.ratio_interval(one.tolist(), other.tolist(), 0.05)
            for one, other in zip(ours, theirs, strict=True)
        ]
        missed = np.array([one.high < 1.0 for one in ratios], dtype=float)
        yield _rate(f"rate, {repeats} repeats, baseline: false alarms", ratios[0].one_sided, missed)


def main() -> int:
    """Print a Markdown table; 1 when a rate differs from its claim by more than ALLOWED."""
    parser = argparse.ArgumentParser(prog="python -m bench.gatestatistics", description=__doc__)
    parser.add_argument("--gates", type=int, default=GATES, help=f"for each figure ({GATES})")
    gates = parser.parse_args().gates
    source = np.random.default_rng(SEED)
    print("| what | claimed | found | standard error | within 10 % |\n| --- | --- | --- | --- | --- |")
    misses = 0
    for part in (thresholds, baselines, both, rates):
        for one in part(source, gates):
            misses += not one.fits
            fits = "yes" if one.fits else "NO"
            print(f"| {one.what} | {one.claimed:.3g} | {one.found:.3g} | {one.error:.1g} | {fits} |", flush=True)
    return int(misses > 0)


if __name__ == "__main__":
    sys.exit(main())
