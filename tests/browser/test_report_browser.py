"""The report in a real browser: no error, no request, nothing that axe finds, at each width, light, dark and on paper.

It needs playwright, Chromium (`apt-get install chromium`) and npm, which brings axe-core; skipped, with the reason,
where one of them is missing. `tox -e browser` runs it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gateworld import keep, of, page_of, results, write

from gate.judge import decide
from gate.policy import read_policy
from gate.releases import history_of, read_release
from gate.report import history

if TYPE_CHECKING:
    from playwright.sync_api import Browser

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `tox -e browser` has it")
AXE = "axe-core@4.14.1"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "</style><script>alert(1)</script><img src=https://example.invalid/x>\x1b[2J"
WIDTHS = {"desk": 1280, "phone": 390}


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not there to bring axe-core")
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run([npm, "pack", "--silent", AXE], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm does not bring {AXE}: {done.stderr.strip()[:200]}")
    with tarfile.open(folder / done.stdout.split()[-1]) as tar:
        member = tar.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: `apt-get install chromium`")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module", params=["passing", "failing", "history"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report as a file."""
    folder = tmp_path_factory.mktemp(request.param)
    content = results()
    began = content["run"]["began"]
    points = [[began + second, 3.5 + second % 7 / 20] for second in range(60)]
    content["series"] = [{"name": "throughput", "unit": "it/s", "check": "", "points": points}]
    if request.param != "passing":
        of(content, "alloc-exclusive").update(outcome="failed", reason=HOSTILE, remedy=HOSTILE)
        keep(content, folder / "run", "pod.log", f"{HOSTILE}\n".encode() * 90, "alloc-exclusive")
    run, base = write(folder / "run", content), write(folder / "base", results("bbbb0001"))
    file = folder / "report.html"
    if request.param == "history":
        file.write_text(history.html(history_of([read_release(base), read_release(run)])))
        return file
    policy = folder / "policy.toml"
    policy.write_text('format = 1\nprofile = "conformance"\nskips = ["cloud"]\n[accuracy]\nimages = 49664\n'
                      '[accuracy.top_1]\nat_least = 0.748\nvisible_drop = 0.0125\n')  # fmt: skip
    file.write_text(page_of(decide([run], read_policy(policy), now=began + 4000, baseline=[base])))
    return file


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_is_quiet_self_contained_and_accessible(
    browser: Browser, report: Path, axe: str, scheme: Any, width: str
) -> None:
    context = browser.new_context(viewport={"width": WIDTHS[width], "height": 844}, color_scheme=scheme)
    opened, said, asked = open_page(context, report)
    assert said == []
    assert asked == [report.as_uri()]
    assert opened.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width]
    background = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 28)"}[scheme]
    assert violations(opened, axe) == []
    context.close()


def test_what_a_report_must_not_do_would_be_seen(browser: Browser, report: Path, axe: str, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt.html"
    bad = '<main><p style="color: #999; background: #fff">faint</p><img src="https://example.invalid/x">'
    spoilt.write_text(report.read_text().replace("<main>", bad))
    context = browser.new_context()
    opened, said, _ = open_page(context, spoilt)
    assert any("Content Security Policy" in words for words in said)
    assert {"color-contrast", "image-alt"} <= {name for name, _ in violations(opened, axe)}
    context.close()


def open_page(context: Any, file: Path) -> tuple[Any, list[str], list[str]]:
    """The page, what it said on the console or in a dialog, and what it asked for."""
    opened = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: said.append(dialog.message))
    opened.on("request", lambda request: None if request.url.startswith("data:") else asked.append(request.url))
    opened.goto(file.as_uri())
    return opened, said, asked


def violations(opened: Any, axe: str) -> list[tuple[str, list[str]]]:
    """What axe finds, by rule."""
    opened.evaluate(axe + "; undefined")  # by the debugger, which no policy of the page holds
    nodes = "one.nodes.map(node => node.html.slice(0, 120) + node.failureSummary)"
    found = opened.evaluate(f"axe.run().then(all => JSON.stringify(all.violations.map(one => [one.id, {nodes}])))")
    return [(name, where) for name, where in json.loads(found)]


def test_the_report_prints(browser: Browser, report: Path, tmp_path: Path) -> None:
    context = browser.new_context(color_scheme="dark")
    opened = context.new_page()
    opened.goto(report.as_uri())
    opened.emulate_media(media="print")
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    for block in opened.query_selector_all("pre"):
        assert block.evaluate("one => one.scrollHeight <= one.clientHeight + 1")
    opened.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    context.close()
