"""Several runs of one candidate: which of them counts, and what each must bring."""

from __future__ import annotations

from pathlib import Path

from gateworld import CLOUD, POLICY, all_passed, codes, judged, keep, of, results

DIGEST = "sha256:" + "8" * 64


def test_a_check_that_fails_from_some_run_on_is_not_flaky(tmp_path: Path) -> None:
    text = POLICY.replace("format = 1\n", "format = 1\nflaky = 1\n", 1)
    for outcomes, status in {
        ("failed", "passed"): "flaky",
        ("passed", "failed"): "failed",
        ("passed", "failed", "passed"): "flaky",
        ("failed", "known-upstream"): "failed",
    }.items():
        runs = [results(f"aaaa000{number}") for number in range(len(outcomes))]
        for number, (run, outcome) in enumerate(zip(runs, outcomes, strict=True)):
            run["run"]["began"] -= 10 - number
            of(run, "alloc-exclusive").update(outcome=outcome, reason="kubernetes/kubernetes#1: Both got npu-0.")
        decision = judged(tmp_path / "-".join(outcomes), *reversed(runs), text=text)
        (row,) = [row for row in decision.checks if row.id == "alloc-exclusive"]
        assert (row.status, decision.exit_code) == (status, 0 if status == "flaky" else 1), outcomes


def test_the_gravest_of_several_runs_gives_the_reason(tmp_path: Path) -> None:
    runs = [results(f"aaaa000{number}") for number in range(3)]
    of(runs[0], "alloc-exclusive").update(outcome="skipped", skipped_for="other", reason="Not today.", remedy="Wait.")
    of(runs[1], "alloc-exclusive").update(outcome="failed", reason="Both got npu-0.", remedy="Read the plugin's log.")
    for name, run in (("first.log", 0), ("second.log", 1)):
        keep(runs[run], tmp_path / f"run-{run}", name, b"kept\n", "alloc-exclusive")
    decision = judged(tmp_path, *runs)
    (row,) = [row for row in decision.checks if row.id == "alloc-exclusive"]
    assert (row.reason, row.remedy) == ("Both got npu-0.", "Read the plugin's log.")
    assert [Path(kept.file).name for _, kept in row.evidence] == ["second.log", "first.log"]


def test_an_allowed_skip_beside_a_pass_is_no_skip_and_no_repeat(tmp_path: Path) -> None:
    one, other = results("aaaa0001"), results("aaaa0002")
    all_passed(other)
    assert judged(tmp_path / "a", one, other).exit_code == 0
    twice = POLICY.replace("format = 1\n", "format = 1\nrepeats = 2\n", 1).replace(
        'checks = ["flow-completed"]', f'checks = ["flow-completed", "{CLOUD[0]}"]'
    )
    assert codes(judged(tmp_path / "b", one, other, text=twice)) == {"check-skipped"}, "what is named has to pass"
    del one["checks"][-1]
    one["deselected"] = [CLOUD[0]]
    assert codes(judged(tmp_path / "c", one, other, text=twice)) == {"check-unproven"}


def test_each_of_several_waivers_of_a_check_counts(tmp_path: Path) -> None:
    waiver = (
        '[[waiver]]\ncheck = "alloc-exclusive"\noutcomes = ["{}"]\nreason = "r"\nowner = "o"\nexpires = 2027-01-31\n'
    )
    text = "\n".join([POLICY, waiver.format("failed"), waiver.format("skipped")])
    content = results()
    of(content, "alloc-exclusive").update(outcome="failed", reason="Both got npu-0.")
    assert judged(tmp_path, content, text=text).exit_code == 0


def test_evidence_without_a_hash_is_refused_but_of_the_first_format(tmp_path: Path) -> None:
    content = results()
    keep(content, tmp_path / "run-0", "pod.log", b"kept\n")
    assert judged(tmp_path, content).exit_code == 0
    of(content, "flow-completed")["evidence"][0]["sha256"] = ""
    assert "without its SHA-256" in " ".join(judged(tmp_path, content).reasons)


def test_every_repeat_has_its_accuracies_and_is_one_of_them(tmp_path: Path) -> None:
    one, other = results("aaaa0001"), results("aaaa0002")
    of(other, "flow-accuracy")["measured"].pop()
    assert codes(judged(tmp_path / "a", one, other)) == {"not-measured"}
    apart = results("aaaa0002", top_1=36_200)
    assert "repeats-differ" in codes(judged(tmp_path / "b", results("aaaa0001", top_1=38_100), apart))
    near = results("aaaa0002", top_1=37_300)
    assert judged(tmp_path / "c", one, near).exit_code == 0


def test_a_plugin_that_was_pinned_is_pinned_before_the_run_too(tmp_path: Path) -> None:
    content = results()
    content["subject"]["after"]["images"][0].update(digest=DIGEST)
    text = f'{POLICY}\n[candidate]\nplugin = "{DIGEST}"\n'
    assert judged(tmp_path, content, text=text).exit_code == 3


def test_a_device_in_two_containers_is_a_failure_though_no_check_came_to_an_answer(tmp_path: Path) -> None:
    content = results()
    for one in content["checks"]:
        one.update(outcome="error", reason="No device.", skipped_for="")
    content["violations"] = ["npu-0 is in a and b."]
    assert judged(tmp_path, content).exit_code == 1
