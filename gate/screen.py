"""The verdict on one screen: the word first, then what was tested, then what stands against it."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import isfinite

from gate.decision import EXIT_CODES, Decision, Finding, Statistic
from gate.jsonfile import shown

ROWS = 24
"""Of the screen, at most."""
WIDTH = 120
"""Columns, where there is no terminal to ask."""
NARROWEST = 40
LABEL = 11
ADVICE = {
    0: "it may be released.",
    1: "it must not be released.",
    2: "whether it may be released is not known.",
    3: "this says nothing of the candidate.",
    4: "something was left behind.",
}


def screen_lines(decision: Decision, width: int | None = None) -> list[str]:
    """The lines to print: ROWS at most, none wider than `width`, nothing in them that a terminal obeys."""
    columns = max(width or WIDTH, NARROWEST)
    head = [
        *_rows("", f"{decision.verdict.upper()}: {ADVICE[decision.exit_code]}", columns, 1),
        *_rows("subject", _subject(decision), columns, 3),
        *_rows("runs", _runs(decision), columns, 1),
        *_rows("policy", _policy(decision), columns, 2),
        *_rows("checks", _checks(decision), columns, 2),
    ]
    for metric in dict.fromkeys(one.metric for one in decision.statistics):
        head += _rows(metric, _numbers([one for one in decision.statistics if one.metric == metric]), columns, 1)
    against = [finding for finding in decision.findings if finding.effect in EXIT_CODES]
    others = [finding for finding in decision.findings if finding.effect == "warning"]
    if decision.statistics:
        head += _rows("assumed", _assumed(decision), columns, 2 if against else 5)
    return _with_blocks(head[: ROWS - 1], [*against, *others], decision, columns)


def _with_blocks(head: list[str], findings: Sequence[Finding], decision: Decision, columns: int) -> list[str]:
    causes = {row.id: row.cause for row in decision.checks if row.cause}
    lines = list(head)
    for number, finding in enumerate(findings):
        mark = {"warning": "!"}.get(finding.effect, "✗")
        block = _rows("", f"{mark} {finding.sentence}", columns, 2)
        cause = causes.get(finding.check) if finding.code.startswith("check-") else None
        if cause:
            block += _rows("", f"  {cause.sentence}", columns, 2)
        if remedy := cause.command if cause else finding.remedy:
            block += _rows("", f"  to do: {remedy}", columns, 1)
        left = len(findings) - number
        if len(lines) + len(block) + (left > 1) > ROWS:
            return [*lines, *_rows("", f"and {left} more", columns, 1)]
        lines += block
    return lines


def _subject(decision: Decision) -> str:
    subject = decision.subject
    if subject is None:
        return "not known"
    nodes = [node for node in subject.nodes if node.npus]
    parts = [
        f"node image {_several(node.image for node in nodes)}",
        _several(node.os_image for node in nodes),
        f"kernel {_several(node.kernel for node in nodes)}",
        _several(node.containerd for node in nodes),
        f"Kubernetes {subject.kubernetes}",
        f"{len(nodes)} nodes with {sum(node.npus for node in nodes)} NPUs",
        *(f"{image.role} {image.digest[:19] or image.image}" for image in subject.images),
    ]
    return ", ".join(parts)


def _several(values: Iterable[str]) -> str:
    return " and ".join(sorted({value or "unknown" for value in values})) or "none"


def _runs(decision: Decision) -> str:
    if not decision.results:
        return "none that could be read"
    began = min(results.run.began for results in decision.results)
    ended = max(results.run.ended or results.run.began for results in decision.results)
    ids = ", ".join(results.run.id for results in decision.results[:4])
    more = f" and {len(decision.results) - 4} more" if len(decision.results) > 4 else ""
    beside = f"; baseline of {len(decision.baseline)}" if decision.baseline else "; no baseline"
    first, last = _time(began), _time(ended)
    return f"{len(decision.results)} ({ids}{more}), {first} to {last.removeprefix(first[:11])} UTC{beside}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _policy(decision: Decision) -> str:
    catalogue = f"{decision.catalogue.sha256[:12]}…" if decision.catalogue.path else "none"
    digest = decision.policy.sha256[:12]
    return f"{decision.policy.path} ({digest}…), profile {decision.profile}, catalogue {catalogue}"


def _checks(decision: Decision) -> str:
    required = [row for row in decision.checks if row.required]
    others = [row for row in decision.checks if not row.required and row.status != "outside"]
    counted = Counter(row.status for row in required)
    told = ", ".join(f"{number} {status}" for status, number in counted.most_common())
    beside = ", ".join(f"{number} {status}" for status, number in Counter(row.status for row in others).most_common())
    return f"{len(required)} required" + (f": {told}" if told else "") + (f"; others: {beside}" if beside else "")


def _numbers(several: Sequence[Statistic]) -> str:
    """The value of a metric, and what each comparison of it came to, with the smallest drop that it can see."""
    told = [_value(several[0], several[0].value)]
    for one in several:
        name, limit = ("limit", one.limit) if one.against == "threshold" else ("baseline", one.baseline or 0.0)
        if one.smallest_drop is None:
            sees = f"{_interval(one.low, one.high)}{' times it' if one.against == 'baseline' else ''}"
        else:
            points = "no drop" if one.smallest_drop >= 1 else f"{one.smallest_drop * 100:.2f} points"
            sees = f"sees {points}" if one.smallest_drop else "by counts"
        told.append(f"{name} {_value(one, limit)}: {one.result}, {sees}")
    return "; ".join(told)


def _value(one: Statistic, value: float) -> str:
    return f"{value:.4%}" if one.unit == "fraction" else f"{value:.4g} {one.unit}".strip()


def _interval(low: float, high: float) -> str:
    return f"{low:.3g} to {high:.3g}" if isfinite(low) and isfinite(high) else "too few runs"


def _assumed(decision: Decision) -> str:
    assumptions = dict.fromkeys(text for one in decision.statistics for text in one.assumptions)
    rate = f"false alarms {decision.false_alarm:.2g} in all; " if decision.false_alarm else ""
    return rate + "; ".join(assumptions)


def _rows(label: str, text: str, columns: int, most: int) -> list[str]:
    """`text` on rows of `columns`, `most` of them at most, after its label."""
    line = shown(text, 2000)
    if label:
        line = f"{label:<{LABEL}} {line}"
    indent = " " * (LABEL + 1) if label else "    "
    return textwrap.wrap(
        line, columns, subsequent_indent=indent, max_lines=most, placeholder=" …", break_on_hyphens=False
    )
