"""What each word of a policy may be, and the sentence for what it may not."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from fixtures.errors import HarnessError
from gate.jsonfile import shown
from gate.tomllines import Place, line_of


class PolicyError(HarnessError):
    """A policy that says something that no policy can say; a mistake of usage."""


@dataclass(frozen=True)
class Rule:
    """What a key may hold: `value` returns it as the policy keeps it, or raises ValueError with what it must be.

    A key without a default is required.
    """

    value: Callable[[Any], Any]
    default: Any = ...


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def value(given: Any) -> int:
        if type(given) is not int or not least <= given <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return given

    return value


def _number(above: float, most: float, *, least: bool = False) -> Callable[[Any], float]:
    def value(given: Any) -> float:
        fits = type(given) in (int, float) and (above < given or (least and given == above)) and given <= most
        if not fits:
            raise ValueError(f"a number {'from' if least else 'above'} {above:g} to {most:g}")
        return float(given)

    return value


def _one_of(*words: str) -> Callable[[Any], str]:
    def value(given: Any) -> str:
        if given not in words:
            raise ValueError(f"one of {', '.join(words)}{_nearest(given, words)}")
        return str(given)

    return value


def _some_of(*words: str) -> Callable[[Any], frozenset[str]]:
    def value(given: Any) -> frozenset[str]:
        if not isinstance(given, list):
            raise ValueError(f"a list of {', '.join(words)}")  # noqa: TRY004 - one error for all that a key may not hold
        for word in given:
            if word not in words:
                raise ValueError(
                    f"a list of {', '.join(words)}, and {shown(repr(word))} is none{_nearest(word, words)}"
                )
        return frozenset(given)

    return value


def _text(given: Any) -> str:
    if not isinstance(given, str) or not given.strip() or not given.isprintable():
        raise ValueError("a text on one line, not empty")
    return given


def _texts(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(one, str) and one for one in given):
        raise ValueError("a list of texts")
    if len(set(given)) != len(given):
        raise ValueError("a list without repetitions")
    return tuple(given)


def _switch(given: Any) -> bool:
    if not isinstance(given, bool):
        raise ValueError("true or false")  # noqa: TRY004 - as above
    return given


def _day(given: Any) -> date:
    if not isinstance(given, date) or isinstance(given, datetime):
        raise ValueError("a day such as 2027-01-31, without quotation marks")  # noqa: TRY004 - as above
    return given


def _any(given: Any) -> Any:
    return given


def _list(given: Any) -> Any:
    if not isinstance(given, list):
        raise ValueError("tables, each under [[waiver]]")  # noqa: TRY004 - as above
    return given


EXCUSABLE = ("failed", "error", "skipped", "not-run", "flaky", "unproven")
DIFFERENCES = ("new-skip", "lost-check", "weakened-check", "slow-wait", "new-warning", "new-failure")
CAPABILITIES = (
    *("admin", "cloud", "disruptive", "faults", "idle-nodes", "npu-node-access", "own-cluster", "podresources"),
    *("registry", "scaling", "visible-devices-env"),
)

TOP = {
    "format": Rule(_whole(1, 1)),
    "profile": Rule(_one_of("documented", "conformance", "slow", "release")),
    "repeats": Rule(_whole(1, 1000), 1),
    "coverage": Rule(_one_of("devices", "nodes", "none"), "nodes"),
    "skips": Rule(_some_of(*CAPABILITIES), ()),
    "not_applicable": Rule(_switch, default=False),
    "still_going": Rule(_switch, default=False),
    "flaky": Rule(_whole(0, 1000), 0),
    "required": Rule(_any, {}),
    "candidate": Rule(_any, {}),
    "accuracy": Rule(_any, None),
    "throughput": Rule(_any, None),
    "timing": Rule(_any, None),
    "baseline": Rule(_any, {}),
    "waiver": Rule(_list, []),
}
REQUIRED = {"checks": Rule(_texts, ())}
CANDIDATE = {
    name: Rule(_text, "")
    for name in ("node_image", "os_image", "kernel", "containerd", "kubernetes", "plugin", "workload", "catalogue")
}
ACCURACY = {
    "check": Rule(_text, "flow-accuracy"),
    "images": Rule(_whole(1, 10**9)),
    "images_are": Rule(_one_of("fixed", "sample"), "sample"),
    "false_alarm": Rule(_number(0, 0.5), 0.001),
    "power": Rule(_number(0.5, 0.9999), 0.8),
    "confidence": Rule(_number(0.5, 0.9999), 0.95),
    "top_1": Rule(_any, None),
    "top_5": Rule(_any, None),
}
METRIC = {
    "at_least": Rule(_number(0, 1), None),
    "allowed_drop": Rule(_number(0, 1, least=True), 0.0),
    "visible_drop": Rule(_number(0, 1)),
}
RATE = {
    "check": Rule(_text, "flow-throughput"),
    "measure": Rule(_text, "rate"),
    "unit": Rule(_text, "it/s"),
    "at_least": Rule(_number(0, 1e12), None),
    "lowest_ratio": Rule(_number(0, 1), None),
    "false_alarm": Rule(_number(0, 0.5), 0.05),
}
TIMING = {"highest_ratio": Rule(_number(1, 1000, least=True)), "false_alarm": Rule(_number(0, 0.5), 0.05)}
BASELINE = {
    "required": Rule(_switch, False),  # noqa: FBT003 - the default of a key, not an argument
    "blocks": Rule(_some_of(*DIFFERENCES), ()),
    "slow_wait": Rule(_number(1, 1000), 2.0),
}
WAIVER = {
    "check": Rule(_text),
    "outcomes": Rule(_some_of(*EXCUSABLE), frozenset({"failed"})),
    "reason": Rule(_text),
    "owner": Rule(_text),
    "expires": Rule(_day),
}


def table(
    given: Any, rules: Mapping[str, Rule], place: Place, lines: Mapping[Place, int], file: Path
) -> dict[str, Any]:
    """The values of a table, each as its rule has it, with defaults for those that are not there.

    Raises:
        PolicyError: a key that is unknown, missing, or holds what it may not; with its line and the nearest valid word.
    """
    known = dict(lines)
    name = ".".join(str(step) for step in place if isinstance(step, str))
    where = f"[{name}]" if name else "the policy"
    if not isinstance(given, dict):
        _refuse(file, line_of(place, known), f"{where} must be a table", "Write it as a table.")
    for key in given:
        if key not in rules:
            nearest = _nearest(key, rules) or f"; there are {', '.join(rules)}"
            _refuse(
                file,
                line_of((*place, key), known),
                f"{shown(repr(key))} is no key of {where}{nearest}",
                "Correct it there.",
            )
    values = {}
    for key, rule in rules.items():
        if key not in given:
            if rule.default is ...:
                _refuse(file, line_of(place, known), f"{where} lacks {key}", f"Add `{key} = ` there.")
            values[key] = rule.default
            continue
        try:
            values[key] = rule.value(given[key])
        except ValueError as error:
            said = shown(repr(given[key]), 60)
            _refuse(file, line_of((*place, key), known), f"{key} is {said} and must be {error}", "Correct it there.")
    return values


def _refuse(file: Path, line: int, problem: str, remedy: str) -> None:
    raise PolicyError(f"{shown(file)}, line {line}: {problem}.", remedy)


def _nearest(given: object, words: Collection[str]) -> str:
    near = difflib.get_close_matches(str(given), words, 1, 0.5)
    return f"; the nearest is {near[0]}" if near else ""
