"""Charts as SVG, drawn by matplotlib without a display; their colours are the page's, so that they follow its theme."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gate.decision import Statistic
from gate.report.drawing import MOST_PODS
from gate.report.text import label
from gate.results import PodTimes

INK, MUTED, GRID, GOOD, WAITING, PULLING, STARTING, RUNNING = (
    f"#0{digit}0{digit}0{digit}" for digit in "12345678"
)  # none is seen: each becomes the page's variable of that place
VARIABLES = dict(
    zip(
        (INK, MUTED, GRID, GOOD, WAITING, PULLING, STARTING, RUNNING),
        ("ink", "muted", "grid", "good", "waiting", "pulling", "starting", "running"),
        strict=True,
    )
)
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
}
HATCHES = {WAITING: "//", PULLING: "..", STARTING: "xx", RUNNING: ""}
"""So that phases differ on paper too."""
WIDTH = 9.0
"""Inches, of every chart."""
LETTER = 0.078
"""Inches that a letter of an axis takes, at most."""
MOST_POINTS = 2000
"""Of one line: more than a screen has columns."""
LARGEST = 1e100
_drawing = threading.Lock()  # matplotlib's settings are those of the process
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def _svg(
    name: str, title: str, height: float, draw: Callable[[Figure], None], *, left: float = 0.8, right: float = 0.2
) -> Markup:
    """What `draw` draws, as an element of a page with `title` as its text for those who do not see it.

    The margins `left` and `right` are in inches: to have them found takes ten times as long as to draw.
    """
    with _drawing, mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH, height))
        draw(figure)
        figure.subplots_adjust(left / WIDTH, 0.5 / height, 1 - right / WIDTH, 1 - 0.3 / height)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata=NO_METADATA)
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub("|".join(VARIABLES), lambda found: f"var(--{VARIABLES[found[0]]})", svg)
    head = f'<svg role="img" aria-label="{Markup.escape(title)}" '
    return Markup(head + re.sub(r' (?:width|height)="[^"]*"', "", svg[len("<svg ") :], count=2))  # noqa: S704 - drawn here


def pod_timeline(pods: Sequence[PodTimes], began: float, ended: float, capacity: int, name: str) -> Markup:
    """What each pod did from its creation to its end, by node, and below it how many NPUs were in use.

    Args:
        pods: of one run; the first MOST_PODS are drawn.
        began: of the run, seconds since the epoch; the axis counts from here.
        ended: of the run.
        capacity: NPUs of all nodes; 0 when it is not known.
        name: of the chart, once in a page.
    """
    drawn = sorted(pods, key=lambda pod: (pod.node, pod.created or began))[:MOST_PODS]

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": [max(len(drawn), 4) * 0.2 + 0.4, 1.3]}
        )
        _draw_pods(above, drawn, began, ended)
        _draw_npus(below, pods, began, ended, capacity)

    title = f"Timeline of {len(drawn)} pods by node, and NPUs in use"
    left = 0.3 + LETTER * max((len(_pod_label(pod)) for pod in drawn), default=0)
    return _svg(name, title, 2.6 + 0.2 * max(len(drawn), 4), draw, left=left)


def _draw_pods(axes: Axes, pods: Sequence[PodTimes], began: float, ended: float) -> None:
    boxes: dict[tuple[str, str], list[list[tuple[float, float]]]] = {}
    for row, pod in enumerate(pods):
        if row and pod.node != pods[row - 1].node:
            axes.axhline(row - 0.5, color=MUTED, linewidth=0.6)
        for start, stop, colour, hatch in phases(pod, ended):
            left, right = start - began, max(stop, start) - began
            corners = [(left, row - 0.35), (right, row - 0.35), (right, row + 0.35), (left, row + 0.35)]
            boxes.setdefault((colour, hatch), []).append(corners)
    for (colour, hatch), corners_of_all in boxes.items():
        axes.add_collection(
            PolyCollection(corners_of_all, facecolor=colour, edgecolor=GRID, hatch=hatch, linewidth=0.5)
        )
    axes.set_yticks([])  # a tick with its label takes three times as long to draw as a text
    beside = axes.get_yaxis_transform()
    for row, pod in enumerate(pods):
        axes.text(-0.005, row, _pod_label(pod), transform=beside, ha="right", va="center")
    axes.set_ylim(len(pods) - 0.5, -0.5)
    axes.set_xlim(0, max(ended - began, 1.0))
    words = {WAITING: "to schedule", PULLING: "to pull", STARTING: "to start", RUNNING: "runs"}
    handles = [
        Patch(facecolor=colour, hatch=HATCHES[colour], edgecolor=GRID, label=word) for colour, word in words.items()
    ]
    axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=4, fontsize=8)


def _pod_label(pod: PodTimes) -> str:
    return label(f"{pod.node or 'no node'}: {pod.name}", 48)


def phases(pod: PodTimes, ended: float) -> list[tuple[float, float, str, str]]:
    """Start, end, colour and hatch of each phase of `pod`; one that has not ended lasts until `ended`."""
    steps = ((pod.created, WAITING), (pod.scheduled, PULLING), (pod.pulled, STARTING), (pod.started, RUNNING))
    known = [(at, colour) for at, colour in steps if at is not None]
    if pod.pulled is None and pod.started is not None:  # the image was there: no pull to be seen
        known = [(at, STARTING if colour == PULLING else colour) for at, colour in known]
    ends = [at for at, _ in known[1:]] + [pod.finished if pod.finished is not None else ended]
    return [(at, stop, colour, HATCHES[colour]) for (at, colour), stop in zip(known, ends, strict=True)]


def npus_over_time(pods: Sequence[PodTimes], ended: float) -> list[tuple[float, int]]:
    """Times, seconds since the epoch, at which the number of NPUs in use changes, and that number from then on."""
    changes: dict[float, int] = {}
    for pod in pods:
        if pod.npus and pod.started is not None:
            stop = pod.finished if pod.finished is not None else ended
            changes[pod.started] = changes.get(pod.started, 0) + pod.npus
            changes[stop] = changes.get(stop, 0) - pod.npus
    used, steps = 0, []
    for at in sorted(changes):
        used += changes[at]
        steps.append((at, used))
    return steps


def _draw_npus(axes: Axes, pods: Sequence[PodTimes], began: float, ended: float, capacity: int) -> None:
    steps = [(began, 0), *npus_over_time(pods, ended), (ended, 0)]
    axes.step([at - began for at, _ in steps], [used for _, used in steps], where="post", color=RUNNING)
    if capacity:
        axes.axhline(capacity, color=MUTED, linestyle="--", linewidth=1)
        axes.annotate(
            "all NPUs", (1, capacity), (0, 3), ("axes fraction", "data"), "offset points", ha="right", fontsize=8
        )
    axes.set_ylim(0, max(capacity, *(used for _, used in steps), 1) * 1.25)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("NPUs in use")
    axes.set_xlabel("seconds since the run began")
    axes.grid(axis="y")


def intervals(statistics: Sequence[Statistic]) -> Markup:
    """Each value with its confidence interval against its threshold, or its change against what is allowed."""
    baselines = {one.metric: one.baseline for one in statistics if one.baseline is not None}

    def draw(figure: Figure) -> None:
        rows = figure.subplots(len(statistics), 1, squeeze=False, gridspec_kw={"hspace": 1.6})
        for axes, one in zip(rows.flat, statistics, strict=True):
            _draw_interval(axes, one, baselines.get(one.metric))

    told = label("; ".join(f"{one.metric} against {one.against}: {one.result}" for one in statistics), 400)
    height = 0.8 + 0.95 * len(statistics)
    return _svg("intervals", f"Values with their confidence intervals. {told}", height, draw, left=1.4, right=2.4)


def _draw_interval(axes: Axes, one: Statistic, baseline: float | None) -> None:
    scale = 100.0 if one.unit == "fraction" else 1.0
    change = one.against == "baseline"
    if not change:
        middle, limit, words = one.value, one.limit, "threshold"
    elif one.unit == "fraction":
        middle, limit, words = one.value - (one.baseline or 0.0), -one.limit, "largest allowed drop"
    else:
        middle, limit, words = one.value / one.baseline if one.baseline else 1.0, one.limit, "allowed ratio"
    low, high = min(one.low, middle), max(one.high, middle)
    axes.errorbar(
        [middle * scale], [0], xerr=[[(middle - low) * scale], [(high - middle) * scale]],
        fmt="o", color=RUNNING, capsize=5, label=f"candidate, {100 * one.confidence:g} % interval",
    )  # fmt: skip
    axes.axvline(limit * scale, color=PULLING, linestyle="--", label=words)
    if change:
        axes.axvline((0.0 if one.unit == "fraction" else 1.0) * scale, color=GOOD, linestyle=":", label="no change")
    elif baseline is not None:
        axes.axvline(baseline * scale, color=GOOD, linestyle=":", label="baseline")
    axes.set_yticks([0], [label(f"{one.metric}, {'change' if change else 'value'}")])
    axes.set_ylim(-1, 1)
    unit = ("points" if change else "%") if one.unit == "fraction" else ("ratio" if change else one.unit)
    axes.set_xlabel(label(unit))
    axes.margins(x=0.1)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)


def drawable(value: float) -> bool:
    """Whether an axis can have this value: matplotlib squares what it draws."""
    return abs(value) <= LARGEST


def lines_over_time(
    name: str, title: str, unit: str, lines: Sequence[tuple[str, Sequence[tuple[float, float]]]]
) -> Markup:
    """Lines of seconds since the run began and a value.

    Args:
        name: of the chart, once in a page.
        title: what it shows.
        unit: of the values.
        lines: each with the name that its legend has.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, (words, points) in enumerate(lines):
            shown_points = points[:: max(len(points) // MOST_POINTS, 1)]
            kept = [(at, value) for at, value in shown_points if drawable(value)]
            xs, ys = [at for at, _ in kept], [value for _, value in kept]
            style = ("-", "--", ":", "-.")[number % 4]
            axes.plot(xs, ys, style, color=(RUNNING, PULLING, STARTING, WAITING)[number % 4], label=label(words))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("seconds since the run began")
        axes.set_ylabel(label(unit))
        axes.grid(axis="y")
        axes.legend(fontsize=8)

    return _svg(name, label(title, 200), 2.4, draw)


def over_releases(
    name: str, metric: str, unit: str, releases: Sequence[str], values: Sequence[Sequence[float]]
) -> Markup:
    """Every value of a metric by release, and a line through their medians.

    Args:
        name: of the chart, once in a page.
        metric: what was measured.
        unit: of it.
        releases: their names, the oldest first.
        values: of each release, as many as it has runs; none is a gap.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        kept = [sorted(filter(drawable, some)) for some in values]
        medians = [some[len(some) // 2] if some else float("nan") for some in kept]
        axes.plot(range(len(releases)), medians, color=RUNNING)
        for place, some in enumerate(kept):
            axes.plot([place] * len(some), some, "o", color=RUNNING, markersize=4)
        axes.set_xticks(range(len(releases)), [label(release, 24) for release in releases])
        axes.margins(x=0.05, y=0.2)
        axes.set_ylabel(label(f"{metric} [{unit}]" if unit else metric))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
        axes.grid(axis="y")

    return _svg(name, f"{label(metric)} over {len(releases)} releases", 2.2, draw)
