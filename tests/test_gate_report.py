"""What the gate writes for people and machines: page, summary, JUnit, `go test`; hostile text is harmless in each."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import junitparser
import pytest
import xmlschema
from gateworld import IMAGES, TOP_1, judged, keep, of, page_of, policy, results, write
from gateworld import NOW as LATER
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup
from test_gate_damage import HOSTILE as VALUES
from test_gate_damage import at, places

from fixtures.junitxml import add_case, describe, end_with
from gate.beside import beside
from gate.decision import Cause, Decision
from gate.gotest import event_lines, log_lines
from gate.judge import decide
from gate.junit import write_junit
from gate.outputs import JOB_SUMMARY, write_outputs
from gate.policy import Policy
from gate.releases import history_of, read_release
from gate.report import charts, history, views
from gate.report.text import clean, excerpt, markdown_text
from gate.results import PodTimes
from gate.summary import markdown

TAGS = '</title><script>alert(1)</script><img src=x onerror="alert(2)">'
HOSTILE = TAGS + "{{ 7*7 }} $\\frac$ ]]> \x1b[2J\x1b]0;x\x07\u202egpj\x00"
SCHEMA = Path(__file__).parent / "junit.xsd"


def failing(folder: Path, text: str = "Two pods share /dev/npu0.") -> Decision:
    content = results()
    of(content, "alloc-exclusive").update(outcome="failed", reason=text, remedy=text, claim=text, notes=[text])
    keep(content, folder / "run-0", "pod.log", f"first\n{text}\npassword=hunter2\n".encode(), "alloc-exclusive")
    for pod in content["pods"]:
        pod.update(name=text[:200], node=text[:200])
    content["series"] = [
        {"name": text[:99], "unit": text[:99], "check": "", "points": [[content["run"]["began"], 1.0]]}
    ]
    content["warnings"] = [{"reason": text[:99], "of": text[:99], "message": text, "count": 1, "check": ""}]
    for when in ("before", "after"):
        content["subject"][when]["nodes"][1]["os_image"] = text
    return judged(folder, content, baseline=[results("bbbb0001")])


class Page(HTMLParser):
    """Every tag and attribute of a page, and that each is closed."""

    VOID = ("meta", "link", "br", "img", "path", "use", "rect")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_says_the_verdict_first_and_all_that_was_asked_for(tmp_path: Path) -> None:
    page = Page(page_of(failing(tmp_path)))
    assert page.open == []
    order = (
        "FAIL", "It must not be released.", "What stands against it", "What was tested", "v1.37.2", "sha256:1111",
        "5.10.134-17.al8", "aaaa0001", "Checks that stand against it", "Two pods share /dev/npu0.", "pod.log",
        "Numbers against threshold and baseline", "exact binomial", "Assumed:", "Over the run", "Pods by node",
        "NPUs in use", "Differences to the baseline", "Every check of the catalogue", "cloud-route-per-node",
    )  # fmt: skip
    places = [page.words.find(words, 200) if n else page.words.find(words) for n, words in enumerate(order)]
    assert -1 not in places, order[places.index(-1)]
    assert "hunter2" not in page.words


def test_the_page_loads_nothing_and_runs_nothing(tmp_path: Path) -> None:
    text = page_of(failing(tmp_path, HOSTILE))
    page = Page(text)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "iframe", "object", "embed", "base", "form", "a", "foreignobject", "image"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            value = str(attributes.get(name) or "#")
            assert value.startswith("#") or (tag == "link" and value == "data:,")
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []
    policy = next(a for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert str(policy["content"]).startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert "{{ 7*7 }}" in page.words
    assert not [letter for letter in text if letter in "\x1b\x00\x07\u202e"]
    ids = [str(attributes["id"]) for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_page_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    decision = failing(tmp_path)
    assert page_of(decision) == page_of(decision)


def test_a_pass_without_anything_to_draw_is_a_page_too(tmp_path: Path) -> None:
    content = results()
    content["pods"], content["subject"] = [], {"before": None, "after": None}
    page = Page(page_of(judged(tmp_path, content)))
    assert page.words.strip().startswith("INCONCLUSIVE")
    assert "not known: the runs do not say" in page.words
    (tmp_path / "none").mkdir()
    assert "This says nothing of the candidate." in Page(page_of(judged(tmp_path / "none"))).words


def test_the_page_stays_small_however_many_runs_there_are(tmp_path: Path) -> None:
    contents = []
    for number in range(42):
        content = results(f"aaaa{number:04}")
        content["pods"] *= 101
        content["series"] = [
            {"name": "rate", "unit": "it/s", "check": "", "points": [[NOW + i, 1.0] for i in range(3000)]}
        ]
        contents.append(content)
    text = page_of(judged(tmp_path, *contents))
    assert len(text) < 4_000_000
    assert "2 more pods are not drawn" in text
    assert "and 2 more runs, which finished" in text
    for content in contents:
        content["pods"], content["series"] = [], []
        content["run"].update(state="interrupted", exit_code=2)
    text = page_of(judged(tmp_path / "interrupted", *contents))
    assert "and 2 more runs</p>" in text


NOW = 1_764_000_000.0


def pod(name: str, node: str, *times: float | None, npus: int = 1) -> PodTimes:
    return PodTimes("n", name, name, node, "Succeeded", npus, "", *times)


def test_phases_and_npus_are_those_of_the_pods() -> None:
    whole = pod("a", "n1", 0.0, 1.0, 3.0, 4.0, 9.0)
    assert [(start, stop) for start, stop, _, _ in charts.phases(whole, 20.0)] == [(0, 1), (1, 3), (3, 4), (4, 9)]
    no_pull = pod("b", "n1", 0.0, 1.0, None, 4.0, 9.0)
    assert [colour for _, _, colour, _ in charts.phases(no_pull, 20.0)] == [
        charts.WAITING,
        charts.STARTING,
        charts.RUNNING,
    ]
    pending = pod("c", "", 2.0, None, None, None, None)
    assert [(start, stop) for start, stop, _, _ in charts.phases(pending, 20.0)] == [(2, 20)]
    two = pod("d", "n2", 0.0, 0.0, 0.0, 9.0, None, npus=2)
    assert charts.npus_over_time([whole, two, pending], 20.0) == [(4.0, 1), (9.0, 2), (20.0, 0)]


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_text_breaks_out_of_markdown_or_carries_escapes(text: str) -> None:
    plain = clean(text)
    assert all(letter.isprintable() or letter == "\n" for letter in plain)
    safe = markdown_text(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*[<>`*_\[\]|@]", safe)
    assert "\n" not in safe


@pytest.mark.parametrize("text", ["@octocat", "#12", "octo/cat#12", "GH-12", "gh-1", "a@b.example"])
def test_nobody_is_mentioned_on_github_which_a_backslash_does_not_keep_it_from(text: str) -> None:
    assert re.search(r"(?:[@#]|(?i:gh-))\u200b", markdown_text(text))
    assert markdown_text("GHz-1 high-1") == "GHz-1 high-1"


def test_excerpts_are_the_last_lines_of_files_inside(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert excerpt(file).splitlines()[-1] == "line 9999"
    assert len(excerpt(file).splitlines()) == 40
    (tmp_path / "b").write_bytes(b"\0\1")
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert [excerpt(tmp_path / name) for name in ("b", "link", "none", "")] == [""] * 4
    file.write_text("x" * 9000)
    assert len(excerpt(file)) == 500


def test_the_summary_is_short_and_says_verdict_subject_reasons_and_numbers(tmp_path: Path) -> None:
    text = markdown(failing(tmp_path, HOSTILE))
    assert text.startswith("## ❌ FAIL: It must not be released.")
    assert "alloc-exclusive" in text
    assert "| top\\_1 | 74.803 % | threshold 74.800 % | pass |" in text
    assert "<script" not in text.replace("\\<", "")
    assert "\x1b" not in text
    passing = markdown(judged(tmp_path / "good", results()))
    assert passing.startswith("## ✅ PASS: It may be released.")


def test_the_job_summary_of_github_is_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "summary"
    file.write_text("before\n")
    monkeypatch.setenv(JOB_SUMMARY, str(file))
    write_outputs(judged(tmp_path / "good", results()), tmp_path / "out")
    assert file.read_text().startswith("before\n## ✅ PASS")


@cache
def xmlschema_of_ours() -> xmlschema.XMLSchema10:
    return xmlschema.XMLSchema10(SCHEMA)


DECISIONS = ["pass", "fail", "hostile", "inconclusive", "nothing"]


def decision_of(which: str, folder: Path) -> Decision:
    if which == "fail":
        return failing(folder)
    if which == "hostile":
        return failing(folder, HOSTILE)
    if which == "nothing":
        return judged(folder)
    content = results()
    if which == "inconclusive":
        content["run"].update(state="running", ended=None, exit_code=None)
    return judged(folder, content)


@pytest.mark.parametrize("which", DECISIONS)
def test_junit_is_valid_green_only_for_a_pass_and_read_back(tmp_path: Path, which: str) -> None:
    decision = decision_of(which, tmp_path)
    file = tmp_path / "junit.xml"
    write_junit(file, decision)
    xmlschema_of_ours().validate(file)
    read = junitparser.JUnitXml.fromfile(str(file))
    (suite,) = list(read)
    assert (suite.failures + suite.errors == 0) == (decision.exit_code == 0) == (which == "pass")
    names = [(case.classname, case.name) for case in suite]
    assert len(names) == len(set(names)) == suite.tests
    if which != "nothing":
        assert ("npu-conformance.alloc", "alloc-exclusive") in names
        (skipped,) = next(case for case in suite if case.name == "cloud-route-per-node").result
        assert isinstance(skipped, junitparser.Skipped)


def test_a_failure_bears_its_claim_cause_and_attachments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cause = Cause("unhealthy-device", "Device npu-3 is unhealthy.", "kubectl describe node worker-1", ("the node",))
    decision = failing(tmp_path)
    rows = tuple(replace(row, cause=cause) if row.blocks else row for row in decision.checks)
    write_junit(tmp_path / "junit.xml", replace(decision, checks=rows))
    (suite,) = list(junitparser.JUnitXml.fromfile("junit.xml"))
    case = next(case for case in suite if case.name == "alloc-exclusive")
    (failure,) = case.result
    assert isinstance(failure, junitparser.Failure)
    assert failure.message == cause.sentence
    assert {"Two pods share /dev/npu0.", cause.command} <= set(str(failure.text).splitlines())
    lines = str(case.system_out).splitlines()
    assert lines[0] == "alloc-exclusive holds."
    assert "[[ATTACHMENT|run-0/evidence/alloc-exclusive/pod.log]]" in lines
    assert "[[PROPERTY|evidence 1=runs/aaaa0001/evidence/alloc-exclusive/pod.log]]" in lines
    assert (tmp_path / "run-0/evidence/alloc-exclusive/pod.log").is_file()


@settings(deadline=None)
@given(st.text(), st.text())
def test_any_text_makes_a_testcase_that_can_be_read(one: str, two: str) -> None:
    suite = ET.Element("testsuite")
    case = add_case(suite, one, two, 1.0)
    end_with(case, "failure", one, two, [one, two])
    describe(case, claim=one, facts={one: two}, attachments=[two])
    (read,) = ET.fromstring(ET.tostring(suite))  # noqa: S314
    assert read[0].tag == "failure"
    assert "\n" not in str(read[0].get("message"))


def test_go_test_output_has_every_check_once_and_fails_with_the_run(tmp_path: Path) -> None:
    decision = decision_of("hostile", tmp_path)
    lines = list(log_lines(decision.results))
    assert lines.count("--- FAIL: alloc-exclusive (2.20s)") == 1
    assert "--- PASS: flow-completed (2.20s)" in lines
    assert "--- SKIP: cloud-route-per-node (0.10s)" in lines
    assert lines[-2:] == ["FAIL", "FAIL\tnpu-conformance/aaaa0001\t600.000s"]
    assert not [line for line in lines if not line.replace("\t", "").isprintable()]
    read = [json.loads(line) for line in b"".join(event_lines(decision.results)).splitlines()]
    ends = {one["Test"]: one["Action"] for one in read if "Test" in one and one["Action"] not in ("run", "output")}
    assert ends["alloc-exclusive"] == "fail"
    assert ends["cloud-route-per-node"] == "skip"
    assert len(ends) == len(decision.results[0].checks)
    assert read[-1] == {"Action": "fail", "Package": "npu-conformance/aaaa0001", "Elapsed": 600.0}
    good = judged(tmp_path / "good", results())
    assert list(log_lines(good.results))[-2] == "PASS"


def test_what_only_should_be_is_a_skip_of_go_test_as_no_package_passes_with_a_failed_test(tmp_path: Path) -> None:
    content = results()
    of(content, "pull-anonymous").update(outcome="failed", reason="It was pulled.")
    decision = judged(tmp_path, content)
    assert decision.exit_code == 0
    lines = list(log_lines(decision.results))
    assert "--- SKIP: pull-anonymous (2.20s)" in lines
    assert "    failed: It was pulled." in lines
    assert lines[-2] == "PASS"
    actions = {json.loads(line)["Action"] for line in b"".join(event_lines(decision.results)).splitlines()}
    assert "fail" not in actions


def test_no_words_of_a_check_look_like_the_end_of_a_test(tmp_path: Path) -> None:
    content = results()
    words = "--- FAIL: fake (0.00s)"
    of(content, "flow-completed").update(claim=words, notes=[words], reason=words, outcome="failed")
    of(content, "flow-completed")["measured"] = [{"name": words, "value": 1.0, "unit": words}]
    lines = list(log_lines(judged(tmp_path, content).results))
    assert len([line for line in lines if "fake" in line]) == 4
    assert not [line for line in lines if line.lstrip().startswith(("---", "===")) and "fake" in line]


def test_a_claim_attaches_no_file_and_turns_no_text() -> None:
    case = add_case(ET.Element("testsuite"), "a", "b")
    describe(case, claim="It holds.\n[[ATTACHMENT|/etc/passwd]]]\n\u202egpj", facts={"a": "x]]]"})
    lines = str(case.findtext("system-out")).splitlines()
    assert lines == ["It holds. [[ATTACHMENT|/etc/passwd] ] ] \ufffdgpj", "[[PROPERTY|a=x] ] ]]]"]


def test_a_killed_run_is_no_pass_of_go_test(tmp_path: Path) -> None:
    decision = decision_of("inconclusive", tmp_path)
    assert list(log_lines(decision.results))[-2] == "FAIL"
    assert json.loads(b"".join(event_lines(decision.results)).splitlines()[-1])["Action"] == "fail"


def fullest() -> dict[str, Any]:
    """Results with something of everything that is shown."""
    content = results()
    began = content["run"]["began"]
    of(content, "alloc-exclusive").update(outcome="failed", reason="No.", remedy="Do.", notes=["A note."])
    content["series"] = [{"name": "rate", "unit": "it/s", "check": "", "points": [[began, 1.0], [began + 9, 2.0]]}]
    content["warnings"] = [{"reason": "BackOff", "of": "Pod n/p", "message": "m", "count": 1, "check": ""}]
    return content


PLACES = list(places(fullest()))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Policy]:
    folder = tmp_path_factory.mktemp("world")
    write(folder / "base", results("bbbb0001"))
    return folder, policy(folder)


def damaged(world: tuple[Path, Policy], path: tuple[Any, ...], value: Any) -> Decision:
    folder, rules = world
    content = fullest()
    write(folder / "run", content)
    at(content, path[:-1])[path[-1]] = value
    (folder / "run" / "results.json").write_text(json.dumps(content))
    return decide([folder / "run"], rules, now=LATER, baseline=[folder / "base"])


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(PLACES), value=st.sampled_from(VALUES))
def test_whatever_is_in_the_results_the_texts_are_whole(
    world: tuple[Path, Policy], path: tuple[Any, ...], value: Any
) -> None:
    decision = damaged(world, path, value)
    file = world[0] / "junit.xml"
    write_junit(file, decision)
    xmlschema_of_ours().validate(file)
    (suite,) = list(junitparser.JUnitXml.fromfile(str(file)))
    assert (suite.failures + suite.errors == 0) == (decision.exit_code == 0)
    assert markdown(decision).splitlines()[0].endswith(views.WORDS[decision.exit_code])
    assert all(line.replace("\t", "").isprintable() for line in log_lines(decision.results))
    assert all(json.loads(line)["Action"] for line in b"".join(event_lines(decision.results)).splitlines())


CHARTS: dict[str, Markup] = {}


def drawn_once(draw: Callable[..., Markup]) -> Callable[..., Markup]:
    """`draw`, asked once for the same numbers: most damage does not reach them, and drawing is most of a page."""

    def drawn(*args: Any) -> Markup:
        key = f"{draw.__name__}{args}"
        CHARTS[key] = found = CHARTS.get(key) or draw(*args)
        return found

    return drawn


DRAWN = [path for path in PLACES if path[0] in ("run", "pods", "series", "subject", "checks")]


@settings(max_examples=40, deadline=None)
@given(path=st.sampled_from(DRAWN), value=st.sampled_from(VALUES))
def test_whatever_is_in_the_results_the_page_is_whole(
    world: tuple[Path, Policy], path: tuple[Any, ...], value: Any
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("pod_timeline", "intervals", "lines_over_time"):
            patch.setattr(charts, name, drawn_once(getattr(charts, name)))
        page = Page(page_of(damaged(world, path, value)))
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "img"}


@pytest.mark.parametrize("value", [1e308, -1e308, 1e-308, 0, -1, 10**18])
def test_numbers_that_no_axis_can_have_are_not_drawn(tmp_path: Path, value: float) -> None:
    content = fullest()
    content["series"][0]["points"] = [[content["run"]["began"], value], [0, value], [32_503_680_000, value]]
    of(content, "flow-throughput")["measured"][0]["value"] = value
    for pod_of_it in content["pods"]:
        pod_of_it.update(created=32_503_680_000, scheduled=0, started=5, finished=0, npus=100_000)
    assert Page(page_of(judged(tmp_path, content))).open == []
    run = read_release(tmp_path / "run-0")
    assert Page(history.html(history_of([run, run]))).open == []


def test_a_drop_that_fails_is_drawn_beside_its_threshold_and_baseline(tmp_path: Path) -> None:
    low = judged(tmp_path, results(top_1=TOP_1 - IMAGES // 50), baseline=[results("bbbb0001")])
    with beside(1) as pool:
        (chart,) = views.charts_of(low, pool).accuracy
    assert {"threshold", "baseline", "largest allowed drop", "no change"} <= set(
        re.findall(r">([a-z ]+)</text>", chart.svg)
    )
