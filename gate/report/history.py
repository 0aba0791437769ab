"""The comparison of releases as a page of its own, in the style of the report."""

from __future__ import annotations

from gate.releases import TIME, History, Track
from gate.report import charts
from gate.report.page import environment, style
from gate.report.views import Chart

MOST_CHARTS = 24
MOST_ROWS = 400


def html(history: History) -> str:
    """The whole document: what changed, then a chart of each number over the releases."""
    page = environment().get_template("history.html")
    return page.render(history=history, style=style(), charts=_charts(history), rows=MOST_ROWS)


def _charts(history: History) -> list[Chart]:
    names = [release.name for release in history.releases]
    measured = [track for track in history.tracks if track.name != TIME]
    times = sorted((track for track in history.tracks if track.name == TIME), key=_growth, reverse=True)
    made = []
    for number, track in enumerate([*measured, *times][:MOST_CHARTS]):
        what = "seconds" if track.name == TIME else track.name
        title = f"{track.check}: {what}"
        made.append(Chart(title, charts.over_releases(f"track-{number}", what, track.unit, names, track.values)))
    return made


def _growth(track: Track) -> float:
    first, last = track.medians[0], track.medians[-1]
    return last - first if first is not None and last is not None else 0.0
