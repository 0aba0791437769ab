"""The gate's verdict: pass only for what was seen to pass, and each way to be green for nothing is closed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from gateworld import (
    CLOUD,
    NOW,
    POLICY,
    catalogue,
    catalogue_of,
    check,
    codes,
    judged,
    keep,
    of,
    policy,
    results,
    write,
)

from fixtures.cli import main
from gate.catalogue import read_catalogue
from gate.decision import Decision
from gate.jsonfile import UnreadableError
from gate.judge import decide
from gate.results import SCHEMA
from gate.screen import ROWS, WIDTH, screen_lines

Content = dict[str, Any]


def test_a_candidate_that_shows_all_that_is_asked_for_passes(tmp_path: Path) -> None:
    decision = judged(tmp_path, results())
    assert (decision.verdict, decision.exit_code, decision.reasons) == ("pass", 0, ())
    statuses = {row.id: row.status for row in decision.checks}
    assert statuses["flow-completed"] == "passed"
    assert statuses[CLOUD[0]] == "not-applicable"
    assert statuses["lw-error-later"] == "outside"
    assert {one.metric: one.result for one in decision.statistics} == {"top_1": "pass", "top_5": "pass"}


def set_outcome(identity: str, outcome: str, **more: Any) -> Callable[[Content], object]:
    def spoil(content: Content) -> None:
        of(content, identity).update(outcome=outcome, reason="It is so.", **more)

    return spoil


def everywhere(outcome: str) -> Callable[[Content], object]:
    def spoil(content: Content) -> None:
        for one in content["checks"]:
            one.update(outcome=outcome, reason="No device.", skipped_for="other" if outcome == "skipped" else "")

    return spoil


def drop(identity: str) -> Callable[[Content], object]:
    return lambda content: content["checks"].remove(of(content, identity))


def change(*path: str | int, to: Any) -> Callable[[Content], object]:
    def spoil(content: Content) -> None:
        place: Any = content
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return spoil


def also(identity: str, **more: Any) -> Callable[[Content], object]:
    return lambda content: content["checks"].append({**check(identity), **more})


DIGEST = "sha256:" + "8" * 64
LEFT = [{"change": "added", "what": "Namespace npu-e2e-1 (uid-9)", "detail": ""}]
WAYS_TO_BE_GREEN_FOR_NOTHING: list[tuple[str, Callable[[Content], object], str, int]] = [
    # harnesses.md, B1 1: a filter that matches nothing, and a run in which all is skipped
    ("no check was selected", change("checks", to=[]), "nothing-ran", 3),
    ("all is skipped", everywhere("skipped"), "nothing-ran", 3),
    ("all is not run", everywhere("not-run"), "nothing-ran", 3),
    ("all are errors", everywhere("error"), "nothing-ran", 3),
    # 2: a check that finds nothing to look at marks itself passed
    ("a pass without a call", change("checks", 0, "seconds", to={"setup": 1.0}), "check-error", 2),
    ("accuracy passed, nothing measured", lambda c: of(c, "flow-accuracy")["measured"].clear(), "not-measured", 2),
    # 3: skipped and excluded checks vanish from the report
    ("a must is missing", drop("alloc-exclusive"), "check-missing", 2),
    ("a should is missing", drop("pull-anonymous"), "check-missing", 2),
    ("a must is skipped", set_outcome("alloc-exclusive", "skipped", skipped_for="other"), "check-skipped", 2),
    ("a skip that says it is for a capability that it does not need",
     set_outcome("alloc-exclusive", "skipped", skipped_for="capability"), "check-skipped", 2),
    ("a skip for a capability that the target has", change("capabilities", to=["cloud"]), "check-skipped", 2),
    ("a skip in a run that does not say what its target has", lambda c: c.pop("capabilities"), "check-skipped", 2),
    # 4: names that collide overwrite each other
    ("a check is there twice", also("alloc-exclusive", profile="conformance"), "check-duplicated", 2),
    ("a pass hides a failure of the same id", also("alloc-exclusive", profile="conformance", outcome="failed"),
     "check-duplicated", 2),
    ("a check that the catalogue does not know", also("alloc-new"), "check-extra", 2),
    # 5: what is not known rolls up to passed
    ("a must is an error", set_outcome("alloc-exclusive", "error"), "check-error", 2),
    ("a must is not run", set_outcome("alloc-exclusive", "not-run"), "check-not-run", 2),
    ("a pass at the second try", change("checks", 0, "tries", to=2), "check-flaky", 1),
    ("a must was made a should for the run", change("checks", 0, "level", to="should"), "check-changed", 2),
    ("another catalogue", change("catalogue", to={"file": "catalogue.json", "sha256": "0" * 64}),
     "catalogue-differs", 2),
    ("no catalogue", change("catalogue", to=None), "catalogue-differs", 2),
    # 6: a verdict that is written into the results, and one written before the clean-up
    ("the run calls itself passed and failed", set_outcome("flow-completed", "failed"), "check-failed", 1),
    ("the run says that it failed, and no check did", change("verdict", "result", to="fail"), "run-contradicts", 2),
    ("the run had a deliberate defect", change("settings", "defect", to="world-opens-dev"), "defect", 3),
    ("the run was killed", change("run", "state", to="running"), "run-not-finished", 2),
    ("the run was interrupted", change("run", "state", to="interrupted"), "run-not-finished", 2),
    ("the target was never ready", change("run", "state", to="cannot-run"), "run-not-finished", 2),
    ("the run was stopped at its first failure", change("run", "stopped", to="pytest stopped."), "run-not-finished", 2),
    ("the run has no exit code", change("run", "exit_code", to=None), "run-not-finished", 2),
    ("the run is troubled", change("run", "troubles", to=["The disk is full."]), "run-troubled", 2),
    ("the nodes were not read after the run", change("subject", "after", to=None), "subject-unknown", 2),
    # 7: a failed look reads as `nothing there`
    ("nobody looked at what was left", change("inventory", to=None), "inventory-unknown", 2),
    ("the inventory is empty", change("inventory", to={"before": 0, "after": 0, "left_behind": []}),
     "inventory-unknown", 2),
    ("a namespace was left", change("inventory", "left_behind", to=LEFT), "left-behind", 4),
    # 8: a check that passes on a node without an accelerator
    ("NPU pods ran on one of two nodes", lambda c: c["pods"].pop(), "node-not-exercised", 2),
    ("the pods were on nodes without NPUs", lambda c: [p.update(node="control-plane") for p in c["pods"]],
     "node-not-exercised", 2),
    ("the pods had no NPU", lambda c: [p.update(npus=0) for p in c["pods"]], "node-not-exercised", 2),
    ("no node has an NPU", lambda c: [n.update(npus=0) for s in c["subject"].values() for n in s["nodes"]],
     "subject-unknown", 2),
    ("a device was in two containers", lambda c: c.update(violations=["npu-0 is in a and b."]), "device-violated", 1),
    # subject
    ("another node image after a reboot", change("subject", "after", "nodes", 1, "image", to="sha256:9"),
     "subject-changed", 2),
    ("a reboot, or another machine of the same name",
     change("subject", "after", "nodes", 1, "boot_id", to="another"), "subject-changed", 2),
    ("a node went away", lambda c: c["subject"]["after"]["nodes"].pop(), "subject-changed", 2),
    ("NPUs went away", change("subject", "after", "nodes", 1, "npus", to=3), "subject-changed", 2),
    ("the plugin was replaced", change("subject", "after", "images", 0, "digest", to="sha256:" + "9" * 64),
     "subject-changed", 2),
    ("a digest is unknown", lambda c: [s["images"][1].update(digest="") for s in c["subject"].values()],
     "subject-unknown", 2),
    ("no plugin was seen", lambda c: [s["images"].pop(0) for s in c["subject"].values()], "subject-unknown", 2),
    ("the plugin was replaced, under another name",
     change("subject", "after", "images", 0, to={"role": "plugin", "image": "plugin:2", "digest": DIGEST}),
     "subject-changed", 2),
    ("a second plugin came", lambda c: c["subject"]["after"]["images"].append(
        {"role": "plugin", "image": "plugin:2", "digest": DIGEST}), "subject-changed", 2),
    ("a second plugin went away", lambda c: c["subject"]["before"]["images"].append(
        {"role": "plugin", "image": "plugin:2", "digest": DIGEST}), "subject-changed", 2),
    ("a roll-out of the plugin ended meanwhile", lambda c: c["subject"]["before"]["images"].append(
        {"role": "plugin", "image": "plugin:1", "digest": DIGEST}), "subject-changed", 2),
    ("no plugin was seen before", lambda c: c["subject"]["before"]["images"].pop(0), "subject-changed", 2),
    ("nodes have two plugins", lambda c: [s["images"].append(
        {"role": "plugin", "image": "plugin:1", "digest": DIGEST}) for s in c["subject"].values()],
     "subjects-differ", 2),
    ("nodes have two images", lambda c: [s["nodes"][2].update(image=DIGEST) for s in c["subject"].values()],
     "subjects-differ", 2),
    ("nodes have two kernels", lambda c: [s["nodes"][2].update(kernel="6.6") for s in c["subject"].values()],
     "subjects-differ", 2),
    ("the node image is unknown", lambda c: [s["nodes"][1].update(image="") for s in c["subject"].values()],
     "subject-unknown", 2),
    ("the boot id is unknown", lambda c: [s["nodes"][1].update(boot_id="") for s in c["subject"].values()],
     "subject-unknown", 2),
    ("the version of Kubernetes is unknown", lambda c: [s.update(kubernetes="") for s in c["subject"].values()],
     "subject-unknown", 2),
    # what a run says of itself, and no must in it does
    ("it says that it failed, and only a should did", lambda c: (
        of(c, "pull-anonymous").update(outcome="failed", reason="Anybody may."),
        c["run"].update(exit_code=1), c["verdict"].update(result="fail")), "run-contradicts", 2),
    ("exit code 1 of other tests", lambda c: (
        of(c, "pull-anonymous").update(outcome="failed", reason="Anybody may."), c["run"].update(exit_code=1)),
     "run-contradicts", 2),
    ("exit code 0 of a run that is no pass", change("verdict", "result", to="inconclusive"), "run-contradicts", 2),
    ("a reason of a check that is not there", lambda c: (
        of(c, "flow-completed").update(outcome="failed"), c["run"].update(exit_code=1),
        c["verdict"].update(result="fail", reasons=["flow-completed: failed: It is failed.", "The API went away."])),
     "run-contradicts", 1),
    ("it finished without a time", change("run", "ended", to=None), "run-not-finished", 2),
    # known failures
    ("a known failure of no issue", set_outcome("alloc-exclusive", "known-upstream"), "check-error", 2),
    ("a known failure that was never called", lambda c: of(c, "alloc-exclusive").update(
        outcome="known-upstream", reason="kubernetes/kubernetes#1: x", seconds={"setup": 1.0}), "check-error", 2),
    ("a known failure of what the policy names", lambda c: of(c, "flow-completed").update(
        outcome="known-upstream", reason="kubernetes/kubernetes#1: x"), "check-unproven", 2),
    # clocks
    ("it ended before it began", change("run", "ended", to=NOW - 5000), "clock", 2),
    ("it is of tomorrow", change("run", "ended", to=NOW + 86_400), "clock", 2),
    ("its nodes were read after its end", change("subject", "after", "at", to=NOW - 100), "clock", 2),
    # numbers
    ("a value of other images", change("checks", 1, "measured", 0, "value", to=0.7481), "not-believable", 2),
    ("a value above 1", change("checks", 1, "measured", 0, "value", to=74.8), "not-believable", 2),
    ("a value that is a word", change("checks", 1, "measured", 0, "value", to="good"), "not-believable", 2),
    ("a value that is true", change("checks", 1, "measured", 0, "value", to=True), "not-believable", 2),
    ("an accuracy in percent", change("checks", 1, "measured", 0, "unit", to="percent"), "not-believable", 2),
    ("two values of one accuracy", lambda c: of(c, "flow-accuracy")["measured"].append(
        {"name": "top_1", "value": 45_000 / 49_664, "unit": "fraction"}), "not-believable", 2),
    ("top_5 below top_1", change("checks", 1, "measured", 1, "value", to=37_000 / 49_664), "not-believable", 2),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "code", "exit_code"),
    [pytest.param(*way[1:], id=way[0].replace(" ", "-")) for way in WAYS_TO_BE_GREEN_FOR_NOTHING],
)
def test_no_way_to_be_green_for_nothing(
    tmp_path: Path, spoil: Callable[[Content], object], code: str, exit_code: int
) -> None:
    content = results()
    spoil(content)
    decision = judged(tmp_path, content)
    assert code in codes(decision), decision.reasons
    assert decision.exit_code == exit_code, decision.reasons
    assert decision.verdict != "pass"
    assert decision.reasons


def test_no_results_folder_at_all_is_never_a_pass(tmp_path: Path) -> None:
    assert decide([], policy(tmp_path), now=NOW).exit_code == 3
    (tmp_path / "empty").mkdir()
    assert decide([tmp_path / "empty"], policy(tmp_path), now=NOW).exit_code == 3


def test_a_catalogue_without_required_checks_is_never_a_pass(tmp_path: Path) -> None:
    text = 'format = 1\nprofile = "documented"\n'
    content = results()
    shoulds = [{**entry, "level": "should"} for entry in catalogue()]
    for one in content["checks"]:
        one["level"] = "should"
    decision = judged(tmp_path, content, text=text, entries=shoulds)
    assert decision.exit_code == 3
    assert decision.reasons == ("No check that the policy requires has passed.",)


def test_a_check_that_the_policy_requires_and_the_catalogue_lacks_blocks(tmp_path: Path) -> None:
    decision = judged(tmp_path, results(), text=POLICY.replace('"flow-completed"', '"flow-complete"'))
    assert codes(decision) == {"check-unknown"}


def test_what_fails_is_told_also_without_a_catalogue(tmp_path: Path) -> None:
    content = results()
    of(content, "alloc-exclusive").update(outcome="failed", reason="Both got npu-0.")
    folder = write(tmp_path / "run", content)
    (folder / "catalogue.json").unlink()
    decision = decide([folder], policy(tmp_path), now=NOW)
    assert decision.exit_code == 1
    assert {"catalogue-missing", "check-failed"} <= codes(decision)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("node_image", "sha256:" + "7" * 64),
        ("os_image", "X"),
        ("kernel", "6.6.1"),
        ("containerd", "containerd://1"),
        ("kubernetes", "v1.36.0"),
        ("plugin", "sha256:" + "8" * 64),
        ("workload", "sha256:" + "8" * 64),
        ("catalogue", "0" * 64),
    ],
)
def test_results_of_another_candidate_say_nothing_of_this_one(tmp_path: Path, word: str, value: str) -> None:
    content = results()
    of(content, "flow-completed")["outcome"] = "failed"  # of another image: no failure of this one
    decision = judged(tmp_path, content, text=f'{POLICY}\n[candidate]\n{word} = "{value}"\n')
    assert decision.exit_code == 3
    assert decision.verdict == "inconclusive"


def test_the_candidate_that_is_named_passes(tmp_path: Path) -> None:
    named = f'node_image = "sha256:{"1" * 64}"\nplugin = "sha256:{"2" * 64}"\nkernel = "5.10.134-17.al8.x86_64"'
    assert judged(tmp_path, results(), text=f"{POLICY}\n[candidate]\n{named}\n").exit_code == 0


def test_shards_of_one_run_make_a_whole_and_a_missing_one_is_named(tmp_path: Path) -> None:
    one, other = results("aaaa0001"), results("aaaa0002")
    ids = [entry["id"] for entry in one["checks"]]
    one["checks"] = [entry for entry in one["checks"] if entry["id"] in ids[:3]]
    other["checks"] = [entry for entry in other["checks"] if entry["id"] in ids[3:]]
    one["run"]["shard"], other["run"]["shard"] = {"index": 1, "of": 2}, {"index": 2, "of": 2}
    assert judged(tmp_path, one, other).exit_code == 0
    decision = judged(tmp_path, one)
    assert {"shard-missing", "check-missing"} <= codes(decision)
    assert decision.exit_code == 2


def test_a_failure_in_one_of_several_runs_is_a_failure(tmp_path: Path) -> None:
    bad = results("aaaa0002")
    of(bad, "alloc-exclusive")["outcome"] = "failed"
    decision = judged(tmp_path, results(), bad, results("aaaa0003"))
    assert (decision.exit_code, codes(decision)) == (1, {"check-flaky"})
    assert [one.outcome for row in decision.checks if row.id == "alloc-exclusive" for one in row.observations] == [
        "passed", "failed", "passed",
    ]  # fmt: skip
    allowed = judged(
        tmp_path, results(), bad, results("aaaa0003"), text=POLICY.replace("[required]", "flaky = 1\n[required]")
    )
    assert allowed.exit_code == 0
    assert any(finding.code == "check-flaky" and finding.effect == "warning" for finding in allowed.findings)


def test_repeats_that_the_policy_asks_for_are_runs_of_their_own(tmp_path: Path) -> None:
    text = POLICY.replace("[required]", "repeats = 2\n[required]")
    assert "check-unproven" in codes(judged(tmp_path, results(), text=text))
    assert "run-twice" in codes(judged(tmp_path, results(), results(), text=text))
    assert judged(tmp_path, results(), results("aaaa0002"), text=text).exit_code == 0


def test_runs_of_different_images_are_not_one_candidate(tmp_path: Path) -> None:
    other = results("aaaa0002")
    for reading in other["subject"].values():
        for node in reading["nodes"]:
            node["kernel"] = "6.6"
    assert "subjects-differ" in codes(judged(tmp_path, results(), other))


def waiver(**more: str) -> str:
    lines = {
        "check": '"alloc-exclusive"',
        "reason": '"Issue 7"',
        "owner": '"A. Owner"',
        "expires": "2026-12-31",
        **more,
    }
    return POLICY + "\n[[waiver]]\n" + "\n".join(f"{key} = {value}" for key, value in lines.items())


def failing() -> Content:
    content = results()
    of(content, "alloc-exclusive").update(outcome="failed", reason="Both got npu-0.")
    return content


def findings(decision: Decision) -> dict[str, str]:
    return {finding.code: finding.effect for finding in decision.findings}


def test_a_waiver_excuses_what_it_names_until_its_last_day(tmp_path: Path) -> None:
    day = 86_400
    decision = judged(tmp_path, failing(), text=waiver())
    assert decision.exit_code == 0
    row = next(row for row in decision.checks if row.id == "alloc-exclusive")
    assert row.status == "waived"
    assert "Issue 7 (A. Owner, until 2026-12-31; it failed)" in row.waiver
    assert "waiver-expires" not in findings(decision)  # 37 days
    assert findings(judged(tmp_path, failing(), text=waiver(expires="2026-12-08")))["waiver-expires"] == "warning"
    assert "waiver-expires" not in findings(judged(tmp_path, failing(), text=waiver(expires="2026-12-09")))
    assert judged(tmp_path, failing(), text=waiver(expires="2026-11-24")).exit_code == 0
    expired = judged(tmp_path, failing(), text=waiver(expires="2026-11-23"))
    assert (expired.exit_code, findings(expired)["waiver-expired"]) == (1, "fail")
    assert judged(tmp_path, failing(), text=waiver(), now=NOW + 40 * day).exit_code == 1


def test_a_waiver_excuses_nothing_else(tmp_path: Path) -> None:
    assert judged(tmp_path, failing(), text=waiver(outcomes='["skipped"]')).exit_code == 1
    assert "waiver-unknown" in codes(judged(tmp_path, results(), text=waiver(check='"alloc-exclusiv"')))
    assert findings(judged(tmp_path, results(), text=waiver()))["waiver-idle"] == "note"
    missing = results()
    drop("alloc-exclusive")(missing)
    assert judged(tmp_path, missing, text=waiver()).exit_code == 2


def test_a_failing_should_and_a_known_defect_of_kubernetes_are_told_and_do_not_block(tmp_path: Path) -> None:
    content = results()
    of(content, "pull-anonymous").update(outcome="failed", reason="It was pulled.")
    of(content, "alloc-exclusive").update(outcome="known-upstream", reason="kubernetes/kubernetes#1 in 1.37")
    decision = judged(tmp_path, content)
    assert decision.exit_code == 0
    assert findings(decision)["check-failed"] == "warning"
    assert findings(decision)["check-known-upstream"] == "note"


def test_evidence_is_as_the_run_wrote_it_or_the_verdict_is_inconclusive(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    content = results()
    keep(content, folder, "pod.log", b"98/98\n")
    write(folder, content)
    rules = policy(tmp_path)
    kept = folder / "evidence" / "flow-completed" / "pod.log"

    def told() -> str:
        decision = decide([folder], rules, now=NOW)
        assert decision.exit_code == (0 if not decision.reasons else 2)
        return " ".join(decision.reasons)

    assert told() == ""
    kept.write_bytes(b"97/98\n")
    assert "was changed after the run" in told()
    kept.write_bytes(b"98/98\n\n")
    assert "is not as long as it was" in told()
    kept.unlink()
    assert "is not there" in told()
    (tmp_path / "elsewhere").write_bytes(b"98/98\n")
    kept.symlink_to(tmp_path / "elsewhere")
    assert "is a link" in told()


def test_what_changed_against_the_accepted_release_is_named_and_blocks_where_the_policy_says_so(tmp_path: Path) -> None:
    before, now = results("bbbb0001"), results()
    before["checks"].append(check("alloc-old"))
    of(now, "pull-anonymous").update(outcome="skipped", reason="No registry.", skipped_for="other")
    now["waits"][0]["seconds"] = 65.0
    now["warnings"] = [{"reason": "FailedMount", "of": "Pod a/b", "message": "No.", "count": 2, "check": ""}]
    for one in now["subject"].values():
        for node in one["nodes"]:
            node["kernel"] = "6.6"
    told = findings(judged(tmp_path, now, baseline=[before]))
    assert told == {
        "new-skip": "warning", "lost-check": "warning", "slow-wait": "warning", "new-warning": "warning",
        "differs-from-baseline": "note", "check-skipped": "warning", "check-not-applicable": "note",
    }  # fmt: skip
    blocks = '\n[baseline]\nblocks = ["new-skip", "lost-check", "slow-wait", "new-warning"]\n'
    decision = judged(tmp_path, now, baseline=[before], text=POLICY + blocks)
    assert decision.exit_code == 2
    assert codes(decision) == {"new-skip", "lost-check", "slow-wait", "new-warning"}


def test_each_npu_has_run_something_where_the_policy_asks_for_it(tmp_path: Path) -> None:
    text = POLICY.replace("[required]", 'coverage = "devices"\n[required]')
    one, other = results("aaaa0001"), results("aaaa0002")
    assert "device-not-exercised" in codes(judged(tmp_path, one, text=text))
    every = [f"npu-{number}" for number in range(4)]
    one["devices"] = {"worker-1": {"of": 4, "exercised": every[:3]}, "worker-2": {"of": 4, "exercised": every}}
    almost = judged(tmp_path, one, text=text)
    assert almost.reasons == ("1 of 4 NPUs of node worker-1 ran nothing.",)
    assert judged(tmp_path, one).exit_code == 0
    other["devices"] = {"worker-1": {"of": 4, "exercised": every[3:]}}
    assert judged(tmp_path, one, other, text=text).exit_code == 0
    one["devices"] = {"worker-1": {"of": 2, "exercised": every[:2]}}
    assert judged(tmp_path, one, text=text).reasons == (
        "2 of 4 NPUs of node worker-1 ran nothing.",
        "4 of 4 NPUs of node worker-2 ran nothing.",
    ), "what a run did not see ran nothing, and a node has as many as were allocatable"


def test_a_baseline_that_is_missing_unreadable_or_the_candidate_itself_is_no_baseline(tmp_path: Path) -> None:
    asked = POLICY + "\n[baseline]\nrequired = true\n"
    assert codes(judged(tmp_path, results(), text=asked)) == {"baseline-missing"}
    assert "baseline-is-candidate" in codes(judged(tmp_path, results(), baseline=[results()]))
    ours, theirs = write(tmp_path / "a", results()), write(tmp_path / "b", results("bbbb0001"))
    (theirs / "results.json").write_text("{")
    assert decide([ours], policy(tmp_path), now=NOW, baseline=[theirs]).exit_code == 2


def test_the_gravest_finding_gives_the_exit_code(tmp_path: Path) -> None:
    content = failing()
    content["inventory"]["left_behind"] = LEFT
    content["run"]["troubles"] = ["The disk is full."]
    assert judged(tmp_path, content).exit_code == 1
    of(content, "alloc-exclusive")["outcome"] = "passed"
    assert judged(tmp_path, content).exit_code == 4
    content["inventory"]["left_behind"] = []
    assert judged(tmp_path, content).exit_code == 2
    content["run"]["troubles"] = []
    assert judged(tmp_path, content).exit_code == 0


def test_the_command_prints_one_screen_and_exits_with_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy(tmp_path)
    folder = str(write(tmp_path / "run", results()))
    words = ["gate", "--results", folder, "--policy", str(tmp_path / "policy.toml")]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("PASS: it may be released.\n")
    assert printed.err == ""
    of(content := failing(), "flow-completed")["outcome"] = "error"
    write(tmp_path / "run", content)
    assert main(words) == 1
    assert capsys.readouterr().out.startswith("FAIL: it must not be released.\n")


@pytest.mark.parametrize(
    "words",
    [["--results", "nowhere"], ["--policy", "nowhere.toml"], ["--baseline", "nowhere"], ["--catalogue", "nowhere"]],
)
def test_a_mistake_of_usage_is_told_in_two_sentences(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(write(tmp_path / "run", results()))
    assert main(["gate", "--results", folder, *words]) == 5
    said = capsys.readouterr()
    assert said.out == ""
    assert "nowhere" in said.err
    assert len(said.err.splitlines()) == 2


def test_a_command_line_without_results_is_a_mistake_of_usage() -> None:
    with pytest.raises(SystemExit) as stop:
        main(["gate"])
    assert stop.value.code == 5


def test_the_screen_is_one_screen_whatever_there_is_to_say(tmp_path: Path) -> None:
    content = results()
    for one in content["checks"]:
        one.update(outcome="failed", reason="\x1b[2J<b>long</b> " * 400, remedy="Look.\n" * 50)
    content["inventory"]["left_behind"] = LEFT * 500
    decision = judged(tmp_path, content, baseline=[results("bbbb0001")])
    for width in (None, 20, 80, 300):
        lines = screen_lines(decision, width)
        assert len(lines) <= ROWS
        assert all(line.isprintable() and len(line) <= max(width or WIDTH, 40) for line in lines)
        assert lines[0].startswith("FAIL")
        assert any(line.startswith("and ") for line in lines)


def test_what_stands_against_a_release_is_on_the_screen_however_many_numbers_there_are(tmp_path: Path) -> None:
    text = POLICY + "\n[throughput]\nat_least = 1.0\nlowest_ratio = 0.5\n[timing]\nhighest_ratio = 2.0\n"
    runs = [results(f"aaaa{number:04d}") for number in range(6)]
    of(runs[0], "alloc-exclusive").update(outcome="failed", reason="Both got npu-0.")
    decision = judged(tmp_path, *runs, baseline=[results(f"bbbb{number:04d}") for number in range(6)], text=text)
    assert len(decision.statistics) == 8
    lines = screen_lines(decision)
    assert "✗ alloc-exclusive passed, but not each time that it was tried: Both got npu-0." in lines
    assert sum(line.startswith(("top_1", "top_5", "rate", "pod ")) for line in lines) == 5
    assert any(line.startswith("assumed") for line in lines)


def test_the_schema_is_one_and_allows_what_every_run_of_the_tests_writes() -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema_rs.meta.validate(schema)
    assert jsonschema_rs.validator_for(schema).is_valid({**results(), "catalogue": None})


def test_results_of_format_1_are_read_and_never_pass_a_gate(tmp_path: Path) -> None:
    old = results()
    for key in ("catalogue", "subject", "inventory", "capabilities", "pods", "series", "warnings"):
        del old[key]
    old["format"] = 1
    del old["run"]["troubles"], old["run"]["shard"]
    for one in old["checks"]:
        del one["tries"]
        one.pop("skipped_for", None)
        one["measured"] = {f"{each['name']} [{each['unit']}]": each["value"] for each in one["measured"]}
        one["evidence"] = []
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(old))
    (tmp_path / "catalogue.json").write_text(json.dumps(catalogue_of(catalogue())))
    decision = decide([folder], policy(tmp_path), now=NOW, catalogue=tmp_path / "catalogue.json")
    assert decision.results[0].format == 1
    assert {one.metric: one.result for one in decision.statistics} == {"top_1": "pass", "top_5": "pass"}
    assert decision.exit_code == 2
    assert {"subject-unknown", "inventory-unknown", "catalogue-differs"} <= codes(decision)
    of_today = write(tmp_path / "new", results("cccc0001"))
    assert decide([of_today], policy(tmp_path), now=NOW, baseline=[folder]).exit_code == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "not a list of checks in format 1"),
        ({"format": 2, "checks": catalogue()}, "not a list of checks in format 1"),
        (catalogue_of([]), "not a list of checks in format 1"),
        (catalogue_of([*catalogue(), catalogue()[0]]), "names the check flow-completed twice"),
        (catalogue_of([{**catalogue()[0], "profile": "nightly"}]), "holds at 0 what is no check"),
        (catalogue_of([{**catalogue()[0], "level": "may"}]), "holds at 0 what is no check"),
        (catalogue_of([{**catalogue()[0], "id": "../x"}]), "holds at 0 what is no check"),
        (catalogue_of([{**catalogue()[0], "needs": "cloud"}]), "holds at 0 what is no check"),
        (catalogue_of([{"id": "a"}]), "holds at 0 what is no check"),
    ],
)
def test_a_catalogue_that_nobody_can_judge_by_is_refused(tmp_path: Path, content: Any, words: str) -> None:
    file = tmp_path / "catalogue.json"
    file.write_text(json.dumps(content))
    with pytest.raises(UnreadableError, match=words):
        read_catalogue(file)
    decision = decide([write(tmp_path / "run", results())], policy(tmp_path), now=NOW, catalogue=file)
    assert codes(decision) == {"catalogue-missing"}
