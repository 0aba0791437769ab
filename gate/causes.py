"""Why a pod or a check failed: one sentence and the next command, from the objects that were recorded of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gate.decision import Cause
from gate.results import Evidence


def cause_of_check(_evidence: Sequence[tuple[Path, Evidence]]) -> Cause | None:
    """The cause that the objects among the evidence tell; None when there are none."""
    return None
