"""The page: everything in it is escaped, its styles and charts are inside, and it loads nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from fixtures.resultsfolder import write_whole
from gate.decision import Decision
from gate.report import views
from gate.report.text import clean, day, number

HERE = Path(__file__).parent


@cache  # which keeps the templates that it has compiled
def environment() -> jinja2.Environment:
    """The templates of this folder; whatever they print is escaped, and rid of what a terminal or an eye obeys."""
    made = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(HERE),
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    made.filters.update(day=day, number=number)
    return made


def style() -> Markup:
    """The styles of every page."""
    return Markup((HERE / "page.css").read_text(encoding="utf-8"))  # noqa: S704 - ours


def html(decision: Decision, charts: views.Charts) -> str:
    """The whole document."""
    page = environment().get_template("page.html")
    return page.render(decision=decision, views=views, charts=charts, style=style())


def write_report(file: Path, decision: Decision, charts: views.Charts) -> None:
    """Write the page, whole or not at all.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    write_whole(file, html(decision, charts))
