"""The JUnit XML of a decision: a testcase for each check over all runs, and one for whatever else stands against it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from fixtures.junitxml import add_case, add_properties, attachment, count, describe, end_with, write
from gate.decision import EXIT_CODES, CheckRow, Decision, Finding
from gate.jsonfile import shown

JUNIT = "junit.xml"
SUITE = "npu-conformance"
GATE_CLASS = f"{SUITE}.gate"
"""Of testcases that stand for what is no check's: their names are the codes of findings."""


def write_junit(file: Path, decision: Decision) -> None:
    """Write the testcases of `decision`: green only if its verdict is pass.

    A check's classname is its capability, the first word of its id, and its name is the id: both last as long as it
    does, wherever its function moves.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    root = ET.Element("testsuites", name=SUITE)
    suite = ET.SubElement(root, "testsuite", name=SUITE)
    began = min((results.run.began for results in decision.results), default=decision.made)
    suite.set("timestamp", datetime.fromtimestamp(began, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    add_properties(suite, _tested(decision))
    for row in decision.checks:
        _add_check(suite, row, decision)
    of_rows = {row.id for row in decision.checks if row.blocks}
    for code, findings in _by_code(finding for finding in decision.findings if finding.check not in of_rows):
        case = add_case(suite, GATE_CLASS, code)
        kind: Literal["failure", "error"] = "failure" if findings[0].effect == "fail" else "error"
        lines = [line for finding in findings for line in (finding.sentence, finding.remedy)]
        end_with(case, kind, findings[0].effect, findings[0].sentence, lines)
    if decision.exit_code and not suite.findall("testcase/failure") and not suite.findall("testcase/error"):
        end_with(add_case(suite, GATE_CLASS, "verdict"), "error", decision.verdict, " ".join(decision.reasons))
    count(suite)
    for counted in ("tests", "failures", "errors"):
        root.set(counted, suite.get(counted, "0"))
    write(file, root)


def _tested(decision: Decision) -> dict[str, str]:
    facts = {"verdict": decision.verdict, "policy": f"sha256:{decision.policy.sha256}", "profile": decision.profile}
    if decision.catalogue.sha256:
        facts["catalogue"] = f"sha256:{decision.catalogue.sha256}"
    if subject := decision.subject:
        facts["kubernetes"] = subject.kubernetes
        facts["node image"] = ", ".join(sorted({node.image for node in subject.nodes if node.npus}))
    facts["runs"] = ", ".join(results.run.id for results in decision.results[:100])
    return {name: shown(value, 10_000) for name, value in facts.items()}


def _by_code(findings: Iterable[Finding]) -> list[tuple[str, list[Finding]]]:
    against: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.effect in EXIT_CODES:
            against.setdefault(finding.code, []).append(finding)
    return list(against.items())


def _add_check(suite: ET.Element, row: CheckRow, decision: Decision) -> None:
    seconds = sum(seen.seconds for seen in row.observations)
    case = add_case(suite, f"{SUITE}.{row.id.partition('-')[0]}", row.id, seconds)
    reason = shown(row.reason or row.status)
    if row.blocks:
        cause = row.cause.sentence if row.cause else reason
        lines = [row.reason, row.remedy, *((row.cause.command, *row.cause.looked_at) if row.cause else ())]
        end_with(case, "failure" if row.status in ("failed", "flaky") else "error", row.status, shown(cause), lines)
    elif row.status != "passed":
        end_with(case, "skipped", row.status, shown(row.waiver) if row.waiver else reason)
    runs = {results.folder: results.run.id for results in decision.results}
    kept = [f"runs/{runs.get(folder, '?')}/{evidence.file}" for folder, evidence in row.evidence]
    facts = {"level": row.level, "profile": row.profile, "required": row.required, "status": row.status}
    facts |= {f"evidence {number}": path for number, path in enumerate(kept, 1)}
    files = filter(None, (attachment(folder / evidence.file) for folder, evidence in row.evidence))
    describe(case, claim=row.claim, facts=facts, attachments=files)
