"""The decision as Markdown, for a pull request, a chat or a job's summary: the verdict first, a screen or two long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from gate.decision import Decision, Finding, Statistic
from gate.report.text import day, markdown_text, number
from gate.report.views import WORDS, against, beside, differences

MOST = 20
"""Of each list."""
MARKS = {"pass": "✅", "fail": "❌", "inconclusive": "⚠️"}


def markdown(decision: Decision) -> str:
    """The summary; whatever comes from results stands in it as plain words."""
    lines = [f"## {MARKS[decision.verdict]} {decision.verdict.upper()}: {WORDS[decision.exit_code]}", ""]
    lines += [*_tested(decision), ""]
    lines += _list("What stands against it", against(decision))
    if decision.statistics:
        lines += ["| metric | value | against | result |", "| --- | --- | --- | --- |"]
        lines += [_statistic(one) for one in decision.statistics[:MOST]]
        lines.append("")
    lines += _list("Differences to the baseline", differences(decision))
    lines += _list("Warnings", [one for one in beside(decision) if one.effect == "warning"])
    return "\n".join(lines).rstrip() + "\n"


def _tested(decision: Decision) -> Iterable[str]:
    if subject := decision.subject:
        with_npus = [node for node in subject.nodes if node.npus]
        images = ", ".join(sorted({node.image for node in with_npus}))
        yield f"- node image: {markdown_text(images)}; Kubernetes {markdown_text(subject.kubernetes)}"
        yield f"- {len(with_npus)} nodes with {sum(node.npus for node in with_npus)} NPUs"
    else:
        yield "- what was tested is not known"
    counted = Counter(row.status for row in decision.checks if row.required)
    yield "- required checks: " + ", ".join(f"{times} {status}" for status, times in counted.most_common())
    policy = f"{markdown_text(decision.policy.path)} (sha256 {decision.policy.sha256[:12]})"
    yield f"- {len(decision.results)} runs, policy {policy}, judged {day(decision.made)} UTC"


def _list(title: str, findings: list[Finding]) -> list[str]:
    if not findings:
        return []
    lines = [f"**{title}**", ""]
    for finding in findings[:MOST]:
        remedy = f" To do: {markdown_text(finding.remedy)}" if finding.remedy else ""
        lines.append(f"- {markdown_text(finding.sentence)}{remedy}")
    more = [f"- and {len(findings) - MOST} more"] if len(findings) > MOST else []
    return [*lines, *more, ""]


def _statistic(one: Statistic) -> str:
    against = one.limit if one.against == "threshold" else one.baseline
    value = markdown_text(number(one.value, one.unit))
    return (
        f"| {markdown_text(one.metric)} | {value} | {one.against} {markdown_text(number(against, one.unit))} |"
        f" {one.result} |"
    )
