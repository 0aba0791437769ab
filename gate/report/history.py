"""The comparison of releases as a page of its own, in the style of the report."""

from __future__ import annotations

from concurrent.futures import Executor

from gate.beside import beside
from gate.releases import TIME, History, Track
from gate.report.drawing import Chart, begun
from gate.report.page import environment, style

MOST_CHARTS = 24
MOST_ROWS = 400


def html(history: History) -> str:
    """The whole document: what changed, then a chart of each number over the releases."""
    page = environment().get_template("history.html")
    with beside(len(history.releases)) as pool:
        return page.render(history=history, style=style(), charts=_charts(history, pool), rows=MOST_ROWS)


def _charts(history: History, pool: Executor) -> list[Chart]:
    names = [release.name for release in history.releases]
    measured = [track for track in history.tracks if track.name != TIME]
    times = sorted((track for track in history.tracks if track.name == TIME), key=_growth, reverse=True)
    made = []
    for number, track in enumerate([*measured, *times][:MOST_CHARTS]):
        what = "seconds" if track.name == TIME else track.name
        title = f"{track.check}: {what}"
        values = (f"track-{number}", what, track.unit, names, track.values)
        made.append(begun(pool, title, "over_releases", *values))
    return made


def _growth(track: Track) -> float:
    first, last = track.medians[0], track.medians[-1]
    return last - first if first is not None and last is not None else 0.0
