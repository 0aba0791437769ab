"""Policies: what ships is strict and valid, and a mistake is named with its line and the nearest valid word."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path

import pytest

from fixtures.catalogue import collected
from fixtures.checks import CAPABILITIES
from fixtures.options import PROFILES as RUN_PROFILES
from fixtures.targets.kind import CAPABILITIES as KIND_CAPABILITIES
from gate.policy import PROFILES, SHIPPED, policy_file, read_policy
from gate.policyrules import CAPABILITIES as KNOWN
from gate.policyrules import PolicyError
from gate.tomllines import line_of, lines_of

STRICT = policy_file("release").read_text()


def refused(tmp_path: Path, old: str, new: str) -> str:
    assert old in STRICT
    file = tmp_path / "p.toml"
    file.write_text(STRICT.replace(old, new))
    with pytest.raises(PolicyError) as refusal:
        read_policy(file)
    assert refusal.value.remedy
    return refusal.value.cause.removeprefix(str(file))


def line(text: str) -> int:
    return next(number for number, each in enumerate(STRICT.splitlines(), 1) if each.startswith(text))


def test_the_strict_policy_that_ships_asks_for_everything() -> None:
    policy = read_policy(policy_file("release"))
    assert policy.profile == "release"
    assert (policy.flaky, policy.skips, policy.waivers, policy.coverage) == (0, frozenset(), (), "nodes")
    assert policy.accuracy is not None
    assert policy.accuracy.false_alarm == 0.001
    assert set(policy.accuracy.metrics) == {"top_1", "top_5"}
    assert policy.throughput is not None
    assert policy.timing is not None
    assert policy.baseline.blocks == {"new-skip", "lost-check", "weakened-check"}


def test_the_policy_for_ack_lets_it_lack_all_but_the_cloud_that_it_is() -> None:
    assert set(read_policy(policy_file("ack")).skips) == set(CAPABILITIES) - {"cloud"}


def test_the_policy_for_kind_lets_it_lack_all_that_it_has_not() -> None:
    policy = read_policy(policy_file("kind"))
    checks = [entry.check for entry in collected() if entry.check.profile in PROFILES[policy.profile]]
    wanted = {need for one in checks for need in one.needs}
    assert wanted - KIND_CAPABILITIES <= policy.skips


@pytest.mark.parametrize("name", [file.stem for file in SHIPPED.glob("*.toml")])
def test_every_policy_that_ships_is_valid_and_is_found_by_its_name(name: str) -> None:
    assert read_policy(policy_file(name)).path == str(SHIPPED / f"{name}.toml")


def test_words_of_a_policy_are_those_of_a_run() -> None:
    assert dict(PROFILES) == dict(RUN_PROFILES)
    assert set(KNOWN) == set(CAPABILITIES)


def test_a_mistake_is_named_with_its_line_and_the_nearest_word(tmp_path: Path) -> None:
    said = refused(tmp_path, "repeats = 1", "repeets = 1")
    assert said == f", line {line('repeats')}: 'repeets' is no key of the policy; the nearest is repeats."
    said = refused(tmp_path, 'profile = "release"', 'profile = "relase"')
    assert said.startswith(f", line {line('profile')}: profile is 'relase' and must be one of documented, conformance,")
    assert said.endswith("; the nearest is release.")
    said = refused(tmp_path, "[timing]", "[timings]")
    assert said == f", line {line('[timing]')}: 'timings' is no key of the policy; the nearest is timing."
    said = refused(tmp_path, '"new-skip"', '"new-skipp"')
    assert said.startswith(f", line {line('blocks')}: blocks is ")
    assert "the nearest is new-skip" in said
    said = refused(tmp_path, "at_least = 0.924", "at_leest = 0.924")
    assert (
        said == f", line {line('at_least = 0.924')}: 'at_leest' is no key of [accuracy.top_5]; the nearest is at_least."
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("format = 1", "", "lacks format"),
        ("format = 1", "format = 2", "format is 2 and must be a whole number from 1 to 1"),
        ("flaky = 0", "flaky = true", "flaky is True and must be a whole number"),
        ("images = 49664", "images = 49664.0", "must be a whole number"),
        ("false_alarm = 0.001", "false_alarm = nan", "false_alarm is nan"),
        ("at_least = 0.748", "at_least = 74.8", "must be a number above 0 to 1"),
        ("visible_drop = 0.008", "", "[accuracy.top_5] lacks visible_drop"),
        ("highest_ratio = 2.0", 'highest_ratio = "2"', "highest_ratio is '2'"),
        ("[throughput]", "[[throughput]]", "[throughput] must be a table"),
        ("required = false", "required = 0", "required is 0 and must be true or false"),
        ("repeats = 1", "repeats = 1\nrepeats = 1", "is not TOML"),
        ("repeats = 1", "repeats = \n", "is not TOML"),
        ('"flow-completed"', '"flow-one-npu"', "without repetitions"),
    ],
)
def test_a_value_that_it_cannot_have_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert words in refused(tmp_path, old, new)


def test_waivers_have_a_reason_an_owner_and_a_day(tmp_path: Path) -> None:
    whole = '[[waiver]]\ncheck = "a"\nreason = "r"\nowner = "o"\nexpires = 2027-01-31\n'
    file = tmp_path / "p.toml"
    file.write_text(f"{STRICT}\n{whole}")
    (waiver,) = read_policy(file).waivers
    assert (waiver.expires, waiver.outcomes) == (date(2027, 1, 31), frozenset({"failed"}))
    last = len(f"{STRICT}\n".splitlines())
    for gone, words in (("reason", "lacks reason"), ("owner", "lacks owner"), ("expires", "lacks expires")):
        file.write_text(
            f"{STRICT}\n{whole}" + "".join(f"{one}\n" for one in whole.splitlines() if not one.startswith(gone))
        )
        with pytest.raises(PolicyError, match=rf"line {last + 6}: \[waiver\] {words}"):
            read_policy(file)
    file.write_text(f"{STRICT}\n{whole.replace('2027-01-31', '2027-01-31T00:00:00')}")
    with pytest.raises(PolicyError, match="must be a day such as 2027-01-31"):
        read_policy(file)
    file.write_text(f"{STRICT}\n{whole}outcomes = ['missing']\n")
    with pytest.raises(PolicyError, match="'missing' is none"):
        read_policy(file)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for file in (tmp_path / "none.toml", tmp_path, Path("\x00")):
        with pytest.raises(PolicyError, match=r"cannot be read|larger than"):
            read_policy(file)
    (tmp_path / "empty.toml").touch()
    with pytest.raises(PolicyError, match="is empty"):
        read_policy(tmp_path / "empty.toml")


def test_every_key_that_begins_a_line_has_its_line() -> None:
    text = 'a = 1\n[b.c]\n"d e" = 2 # x\n[[f]]\ng.h = 1\n[[f]]\ni = [\n 1,\n]\n'
    lines = lines_of(text)
    assert lines["a",] == 1
    assert lines["b", "c", "d e"] == 3
    assert (lines["f", 0], lines["f", 0, "g", "h"], lines["f", 1, "i"]) == (4, 5, 7)
    assert line_of(("f", 1, "none", "at", "all"), lines) == 6
    assert line_of(("none",), lines) == 1
    assert tomllib.loads(text)["f"][1] == {"i": [1]}
