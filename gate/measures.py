"""What checks measured, over runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gate.jsonfile import shown
from gate.results import Results


@dataclass(frozen=True)
class Reading:
    """One value that a check measured in a run."""

    run: str
    value: float | str | bool
    unit: str

    @property
    def shown(self) -> str:
        """The value as a person may read it."""
        return shown(repr(self.value), 60)


def readings(runs: Iterable[Results], check: str, name: str) -> Iterator[Reading]:
    """Every value called `name` of the check, in the order of the runs; whole numbers as floats."""
    for results in runs:
        for one in results.checks:
            for measured in one.measured if one.id == check else ():
                if measured.name == name:
                    value = measured.value
                    number = float(value) if isinstance(value, int) and not isinstance(value, bool) else value
                    yield Reading(results.run.id, number, measured.unit)
