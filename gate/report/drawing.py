"""Charts that are drawn beside the rest: matplotlib is loaded where they are, and nowhere else."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

MOST_PODS = 200
"""In one chart: more would be lines without a name."""


@dataclass(frozen=True)
class Chart:
    """A drawing that is under way, what it shows in a sentence, and what is not in it."""

    title: str
    drawn: Future[Markup]
    note: str = ""

    @property
    def svg(self) -> Markup:
        """The drawing, as soon as it is there."""
        return self.drawn.result()


def begun(pool: Executor, title: str, name: str, *what: Any, note: str = "") -> Chart:
    """The chart that the function `name` of `gate.report.charts` makes of `what`, which `pool` is to draw."""
    return Chart(title, pool.submit(_drawn, name, what), note)


def load() -> None:
    """Whoever does this can draw at once from then on."""
    from gate.report import charts  # noqa: F401, PLC0415 - a third of a second, that who draws nothing need not wait for


def _drawn(name: str, what: tuple[Any, ...]) -> Markup:
    from gate.report import charts  # noqa: PLC0415 - as above

    drawn: Markup = getattr(charts, name)(*what)
    return drawn
