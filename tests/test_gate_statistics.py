"""The gate's tests: against other ways to the same numbers, and what is decided with them."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gateworld import IMAGES, POLICY, TOP_1, TOP_5, codes, judged, of, results
from numpy.typing import NDArray
from scipy import stats

from gate import statistics
from gate.decision import Decision, Statistic
from gate.screen import screen_lines


def test_the_figures_of_the_documented_run_are_those_that_were_computed_by_hand() -> None:
    test = statistics.against_threshold(TOP_1, IMAGES, TOP_1 / IMAGES, alpha=1e-3, power=0.8, level=0.95)
    assert round(test.smallest_drop * 100, 2) == 0.77
    assert round(test.false_alarm, 5) == 0.00097
    assert statistics.critical_count(IMAGES, TOP_1 / IMAGES, 1e-3) == 36_849
    two = statistics.against_baseline(TOP_1, IMAGES, TOP_1, IMAGES, alpha=1e-3, power=0.8, level=0.95)
    assert round(two.smallest_drop * 100, 2) == 1.09
    five = statistics.against_baseline(TOP_5, IMAGES, TOP_5, IMAGES, alpha=1e-3, power=0.8, level=0.95)
    assert five.smallest_drop * 100 == pytest.approx(0.673, abs=0.003)  # by hand from the normal distribution


@pytest.mark.parametrize(("images", "expected", "alpha"), [(20, 0.9, 0.05), (512, 0.748, 1e-3), (5000, 0.924, 0.01)])
def test_the_largest_count_that_fails_has_at_most_the_chance_that_was_asked_for(
    images: int, expected: float, alpha: float
) -> None:
    count = statistics.critical_count(images, expected, alpha)
    chances = stats.binom.pmf(np.arange(images + 1), images, expected).cumsum()
    assert chances[count] <= alpha < chances[count + 1]
    at = statistics.against_threshold(count, images, expected, alpha=alpha, power=0.8, level=0.95)
    above = statistics.against_threshold(count + 1, images, expected, alpha=alpha, power=0.8, level=0.95)
    assert (at.rejects, above.rejects) == (True, False)
    assert at.p_value <= alpha < above.p_value


def test_no_count_fails_where_too_few_images_can_show_nothing() -> None:
    assert statistics.critical_count(3, 0.5, 1e-3) == -1
    test = statistics.against_threshold(0, 3, 0.5, alpha=1e-3, power=0.8, level=0.95)
    assert (test.rejects, test.smallest_drop, test.false_alarm) == (False, 1.0, 0.0)


def test_two_samples_are_compared_as_by_fisher_and_the_rate_is_that_of_all_outcomes() -> None:
    images, share, alpha = 40, 0.75, 0.05
    test = statistics.against_baseline(24, images, 36, images, alpha=alpha, power=0.8, level=0.95)
    table = np.array([[24, 16], [36, 4]])
    assert test.p_value == pytest.approx(stats.fisher_exact(table, alternative="less").pvalue)
    assert test.rejects
    chances = stats.binom.pmf(np.arange(images + 1), images, share)
    rate = sum(
        chances[ours] * chances[theirs]
        for ours, theirs in product(range(images + 1), repeat=2)
        if stats.hypergeom.cdf(ours, 2 * images, ours + theirs, images) <= alpha
    )
    assert test.false_alarm == pytest.approx(rate, rel=0.02)


SURE: dict[str, Any] = {"alpha": 1e-3, "power": 0.8, "level": 0.95}


def test_a_drop_that_is_allowed_is_no_failure_however_sure() -> None:
    assert statistics.against_baseline(36_000, IMAGES, TOP_1, IMAGES, **SURE).rejects
    assert not statistics.against_baseline(36_000, IMAGES, TOP_1, IMAGES, allowed=0.03, **SURE).rejects
    barely = statistics.against_baseline(36_000, IMAGES, TOP_1, IMAGES, allowed=0.02, **SURE)
    assert not barely.rejects  # 2.3 points were seen, and 2.0 may well be the truth
    clear = statistics.against_baseline(35_500, IMAGES, TOP_1, IMAGES, allowed=0.02, **SURE)
    assert clear.rejects
    assert 0.8e-3 < clear.false_alarm <= 1e-3
    unallowed = statistics.against_baseline(TOP_1, IMAGES, TOP_1, IMAGES, **SURE)
    assert barely.smallest_drop == pytest.approx(unallowed.smallest_drop + 0.02, abs=0.001)


def fails(images: int, baseline_images: int, alpha: float, allowed: float = 0.0) -> NDArray[np.bool_]:
    """By count of the candidate, and of the baseline, whether the candidate fails."""
    critical = statistics.critical_beside(np.arange(baseline_images + 1), images, baseline_images, alpha, allowed)
    return np.asarray(np.arange(images + 1)[:, np.newaxis] <= critical)


@pytest.mark.parametrize(("images", "baseline_images"), [(60, 60), (40, 90), (90, 40)])
@pytest.mark.parametrize("allowed", [0.0, 0.02, 0.1, 0.5])
@pytest.mark.parametrize("alpha", [0.05, 2.5e-4])
def test_the_largest_drop_that_is_allowed_fails_no_more_often_than_asked_for_whatever_the_share(
    images: int, baseline_images: int, allowed: float, alpha: float
) -> None:
    failing = fails(images, baseline_images, alpha, allowed)
    for share in np.linspace(allowed, 1.0, 41):
        ours = stats.binom.pmf(np.arange(images + 1), images, share - allowed)
        theirs = stats.binom.pmf(np.arange(baseline_images + 1), baseline_images, share)
        assert ours @ failing @ theirs <= alpha


@pytest.mark.parametrize("allowed", [0.0, 0.1])
@pytest.mark.parametrize(("images", "baseline_images"), [(20, 20), (12, 30)])
def test_what_fails_is_one_and_the_same_by_the_chance_and_by_the_count(
    images: int, baseline_images: int, allowed: float
) -> None:
    failing = fails(images, baseline_images, 0.05, allowed)
    assert failing.any()
    wanted: dict[str, Any] = {"alpha": 0.05, "power": 0.8, "level": 0.95, "allowed": allowed}
    for ours, theirs in product(range(images + 1), range(0, baseline_images + 1, 3)):
        test = statistics.against_baseline(ours, images, theirs, baseline_images, **wanted)
        assert test.rejects == failing[ours, theirs] == (test.p_value <= 0.05)


@pytest.mark.parametrize(("images", "share"), [(2560, 0.97), (512, 0.99), (5000, 0.998), (512, 0.3)])
def test_the_rate_beside_a_baseline_is_exact_near_the_ends_too(images: int, share: float) -> None:
    right, alpha = round(share * images), 2.5e-4
    share = right / images
    test = statistics.against_baseline(right, images, right, images, alpha=alpha, power=0.8, level=0.95)
    rate = 0.0
    for theirs in range(images + 1):
        if (chance := stats.binom.pmf(theirs, images, share)) > 1e-9:
            below = np.arange(max(0, theirs - images // 8), theirs)
            critical = below[stats.hypergeom.cdf(below, 2 * images, below + theirs, images) <= alpha]
            rate += chance * stats.binom.cdf(critical.max(initial=-1), images, share)
    assert test.false_alarm == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize(
    ("images", "baseline", "candidate", "share"),
    [(IMAGES, 0.748, 0.85, 0.748), (5000, 0.748, 0.95, 0.748), (980, 1.0, 1.0, 0.998), (980, 0.5, 0.2, 0.5)],
)
def test_the_smallest_drop_is_found_as_often_as_it_says_whatever_the_candidate_came_to(
    images: int, baseline: float, candidate: float, share: float
) -> None:
    test = statistics.against_baseline(
        round(candidate * images), images, round(baseline * images), images, alpha=2.5e-4, power=0.8, level=0.95
    )
    source = np.random.default_rng(20261124)
    good, bad = (source.binomial(images, each, 2000) for each in (share, share - test.smallest_drop))
    counts, places = np.unique(good, return_inverse=True)
    found = np.mean(bad <= statistics.critical_beside(counts, images, images, 2.5e-4)[places])
    assert found > 0.77


def test_a_baseline_that_was_right_always_is_no_sharper_than_one_that_erred_once() -> None:
    drops = [statistics.against_baseline(n, 980, n, 980, **SURE).smallest_drop for n in (980, 979, 975, 970)]
    assert drops == sorted(drops)


@pytest.mark.parametrize(("one", "other"), [(1, 1), (3, 4), (4, 3), (5, 5)])
def test_the_distribution_of_ranks_is_that_of_all_orders(one: int, other: int) -> None:
    counts = np.zeros(one * other + 1)
    for places in combinations(range(one + other), one):
        counts[sum(place - number for number, place in enumerate(places))] += 1
    assert statistics.rank_sum_distribution(one, other) == pytest.approx(counts / counts.sum())
    lowest = stats.mannwhitneyu(range(one), range(10, 10 + other), alternative="less", method="exact")
    assert statistics.rank_sum_distribution(one, other)[0] == pytest.approx(lowest.pvalue)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    source = np.random.default_rng(20261124)
    missed = factors = 0
    for _ in range(2000):
        ours, theirs = source.lognormal(1.0, 0.3, 6).tolist(), source.lognormal(1.0, 0.3, 7).tolist()
        interval = statistics.median_interval(ours, 0.05)
        missed += interval.high < np.exp(1.0)
        factors += statistics.ratio_interval(ours, theirs, 0.05).high < 1.0
    assert missed / 2000 == pytest.approx(statistics.median_interval([1.0] * 6, 0.05).one_sided, rel=0.4)
    assert factors / 2000 == pytest.approx(statistics.ratio_interval([1.0] * 6, [1.0] * 7, 0.05).one_sided, rel=0.25)


def test_many_values_are_ranked_as_few_are_in_no_time() -> None:
    source = np.random.default_rng(1)
    ours, theirs = source.lognormal(1.0, 0.3, 100).tolist(), source.lognormal(1.0, 0.3, 100).tolist()
    exact = statistics.ratio_interval(ours, theirs, 0.0125)
    normal = statistics.ratio_interval([*ours, ours[0]], theirs, 0.0125)
    assert normal.low == pytest.approx(exact.low, rel=0.01)
    assert normal.high == pytest.approx(exact.high, rel=0.01)
    assert normal.one_sided == pytest.approx(exact.one_sided, rel=0.05)
    assert exact.one_sided <= 0.0125
    assert statistics.ratio_interval(ours * 10, theirs * 10, 0.0125).low < 1.1


def test_too_few_values_have_no_interval() -> None:
    assert statistics.median_interval([3.0] * 4, 0.05).low == -np.inf
    assert statistics.median_interval([3.0] * 5, 0.05).low == 3.0
    assert statistics.ratio_interval([3.0], [3.0], 0.05).high == np.inf


def test_several_tests_together_alarm_no_more_than_their_sum_and_no_less_than_the_worst() -> None:
    rates = (0.05, 0.04)
    assert statistics.together(rates, ((1.0, 0.0), (0.0, 1.0))) == pytest.approx(1 - 0.95 * 0.96, rel=1e-4)
    assert statistics.together(rates, ((1.0, 1.0), (1.0, 1.0))) == pytest.approx(0.05, rel=1e-4)
    assert 0.05 < statistics.together(rates, ((1.0, 0.5), (0.5, 1.0))) < 0.09


def told(decision: Decision) -> dict[tuple[str, str], Statistic]:
    return {(one.metric, one.against): one for one in decision.statistics}


def test_an_accuracy_that_is_lower_than_chance_explains_fails(tmp_path: Path) -> None:
    decision = judged(tmp_path, results(top_1=36_800))
    assert decision.exit_code == 1
    one = told(decision)["top_1", "threshold"]
    assert (one.result, one.test) == ("fail", "exact binomial, one-sided")
    assert "by more than chance explains" in one.sentence
    assert one.assumptions
    assert judged(tmp_path, results(top_1=36_900)).exit_code == 0


def test_a_pass_is_never_that_it_could_not_have_been_seen(tmp_path: Path) -> None:
    few = POLICY.replace("images = 49664", "images = 512")
    content = results()
    for measured, right in zip(of(content, "flow-accuracy")["measured"], (383, 474), strict=True):
        measured["value"] = right / 512
    decision = judged(tmp_path, content, text=few)
    assert (decision.exit_code, codes(decision)) == (2, {"cannot-be-seen"})
    assert "512 images cannot show the 1.25 points" in " ".join(decision.reasons)


def test_where_no_drop_could_be_found_the_gate_says_so_and_asks_for_images_not_runs(tmp_path: Path) -> None:
    content = results()
    for measured in of(content, "flow-accuracy")["measured"]:
        measured["value"] = 1.0
    decision = judged(tmp_path, content, text=POLICY.replace("images = 49664", "images = 3"))
    one = told(decision)["top_1", "threshold"]
    assert (one.result, one.smallest_drop) == ("inconclusive", 1.0)
    assert one.sentence.endswith("; 3 images find no drop, however large, with 80%, false alarms 0.")
    assert [finding.remedy for finding in decision.findings if finding.code == "cannot-be-seen"] == [
        "Evaluate more images, or ask for less in the policy."
    ] * 2
    screen = "\n".join(screen_lines(decision))
    assert "sees no drop" in screen
    assert "100.00 points" not in screen


def test_an_allowed_drop_is_named_where_its_numbers_are(tmp_path: Path) -> None:
    text = POLICY.replace("visible_drop = 0.0125", "visible_drop = 0.03\nallowed_drop = 0.01")
    one = told(judged(tmp_path, results(), baseline=[results("bbbb0001")], text=text))["top_1", "baseline"]
    assert one.result == "pass"
    assert "no drop from the baseline's 74.8027% beyond the 1.00 points that are allowed and chance" in one.sentence
    assert "false alarms at the drop that is allowed" in one.sentence
    assert any("smallest drop" in text for text in one.assumptions)
    lenient = text.replace("at_least = 0.748", "at_least = 0.70")
    low = judged(tmp_path, results(top_1=36_000), baseline=[results("bbbb0001")], text=lenient)
    assert "by more than the 1.00 points that are allowed and chance explain" in told(low)["top_1", "baseline"].sentence


def test_a_candidate_below_its_baseline_fails_though_it_meets_the_threshold(tmp_path: Path) -> None:
    lenient = POLICY.replace("at_least = 0.748", "at_least = 0.70")
    decision = judged(tmp_path, results(top_1=36_400), baseline=[results("bbbb0001")], text=lenient)
    assert told(decision)["top_1", "threshold"].result == "pass"
    assert told(decision)["top_1", "baseline"].result == "fail"
    assert decision.exit_code == 1
    assert decision.false_alarm is not None
    assert decision.false_alarm <= 0.001


def test_where_images_and_inference_are_fixed_counts_are_equal(tmp_path: Path) -> None:
    fixed = POLICY.replace("images = 49664", 'images = 49664\nimages_are = "fixed"')
    base = [results("bbbb0001")]
    assert judged(tmp_path, results(), text=fixed, baseline=base).exit_code == 0
    fewer = judged(tmp_path, results(top_1=TOP_1 - 1), text=fixed, baseline=base)
    assert (fewer.exit_code, told(fewer)["top_1", "baseline"].result) == (1, "fail")
    more = judged(tmp_path, results(top_1=TOP_1 + 1), text=fixed, baseline=base)
    assert (more.exit_code, told(more)["top_1", "baseline"].result) == (2, "inconclusive")
    unsteady = judged(tmp_path, results(), results("aaaa0002", top_1=TOP_1 + 1), text=fixed)
    assert unsteady.exit_code == 2
    allowed = fixed.replace("visible_drop = 0.0125", "visible_drop = 0.0125\nallowed_drop = 0.0001")
    assert judged(tmp_path, results(top_1=TOP_1 - 4), text=allowed, baseline=base).exit_code == 1  # below 0.748 then
    lower = allowed.replace("at_least = 0.748", "at_least = 0.747")
    assert judged(tmp_path, results(top_1=TOP_1 - 4), text=lower, baseline=base).exit_code == 0


@pytest.mark.parametrize(
    ("right", "limit", "verdict"),
    [
        (37_148, "0.7479945", "is below 74.7995% by 1 image"),
        (37_147, "0.7479945", "is below 74.7995% by 2 images"),
        (37_149, "0.7479945", "is at least 74.7995%"),
        (37_248, "0.75", "is at least 75.0000%"),
    ],
)
def test_where_images_are_fixed_what_is_too_few_is_a_whole_number(
    tmp_path: Path, right: int, limit: str, verdict: str
) -> None:
    fixed = POLICY.replace("images = 49664", 'images = 49664\nimages_are = "fixed"').replace("0.748", limit)
    one = told(judged(tmp_path, results(top_1=right), text=fixed))["top_1", "threshold"]
    assert one.sentence.endswith(f"({right} of 49664 images) {verdict}.")
    assert one.result == ("fail" if "below" in verdict else "pass")


def test_where_counts_should_be_equal_and_are_not_more_images_are_no_remedy(tmp_path: Path) -> None:
    fixed = POLICY.replace("images = 49664", 'images = 49664\nimages_are = "fixed"')
    decision = judged(tmp_path, results(), results("aaaa0002", top_1=TOP_1 + 1), text=fixed)
    remedies = {finding.remedy for finding in decision.findings if finding.code == "cannot-be-seen"}
    assert remedies == {'Evaluate the same images in the same way, or set images_are = "sample" in the policy.'}


RATES = POLICY + "\n[throughput]\nat_least = 3.0\nlowest_ratio = 0.5\n"


def runs(*rates: float, prefix: str = "aaaa") -> list[dict[str, Any]]:
    return [results(f"{prefix}{number:04d}", rate=rate) for number, rate in enumerate(rates)]


def test_a_rate_is_judged_by_its_median_over_repeats(tmp_path: Path) -> None:
    good = (3.6, 3.7, 3.5, 3.65, 3.8)
    assert judged(tmp_path, *runs(*good), text=RATES).exit_code == 0
    few = judged(tmp_path, *runs(*good[:4]), text=RATES)
    assert (few.exit_code, codes(few)) == (2, {"cannot-be-seen"})
    assert "takes 5 runs to tell" in " ".join(few.reasons)
    slow = judged(tmp_path, *runs(*(rate - 1 for rate in good)), text=RATES)
    assert (slow.exit_code, codes(slow)) == (1, {"too-low"})
    mixed = judged(tmp_path, *runs(2.0, 2.5, 3.5, 3.6, 3.7), text=RATES)
    assert mixed.exit_code == 2


def test_a_rate_is_compared_with_the_baselines_whatever_its_distribution(tmp_path: Path) -> None:
    base = runs(7.2, 7.4, 7.1, 7.3, 7.5, 7.6, prefix="bbbb")
    half = judged(tmp_path, *runs(3.1, 3.2, 3.15, 3.3, 3.25, 3.05), text=RATES, baseline=base)
    assert told(half)["rate", "baseline"].result == "fail"
    assert half.exit_code == 1
    fine = judged(tmp_path, *runs(6.1, 6.2, 6.15, 6.3, 6.25, 6.05), text=RATES, baseline=base)
    assert told(fine)["rate", "baseline"].result == "pass"
    assert fine.exit_code == 0


@pytest.mark.parametrize("rate", [0, -1.0, "fast", True])
def test_a_rate_that_is_none_is_not_believed(tmp_path: Path, rate: Any) -> None:
    assert "not-believable" in codes(judged(tmp_path, results(rate=rate), text=RATES))


def test_pods_that_take_longer_than_in_the_baseline_are_named(tmp_path: Path) -> None:
    text = POLICY + "\n[timing]\nhighest_ratio = 2.0\n"
    base = runs(*[3.67] * 6, prefix="bbbb")
    assert judged(tmp_path, *runs(*[3.67] * 6), text=text, baseline=base).exit_code == 0
    slow = runs(*[3.67] * 6)
    for content in slow:
        for pod in content["pods"]:
            pod["started"] = pod["created"] + 9
    decision = judged(tmp_path, *slow, text=text, baseline=base)
    assert told(decision)["pod start", "baseline"].result == "fail"
    few = judged(tmp_path, *runs(3.67), text=text, baseline=base)
    assert codes(few) == {"cannot-be-seen"}
