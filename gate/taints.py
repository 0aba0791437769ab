"""Taints of nodes and tolerations of pods, as the scheduler compares them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

KEEPS_AWAY = ("NoSchedule", "NoExecute")
"""Effects for which no pod is bound to a node; PreferNoSchedule only makes it less likely."""


@dataclass(frozen=True)
class Taint:
    """Of a node."""

    key: str
    value: str = ""
    effect: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.value}" if self.value else self.key


@dataclass(frozen=True)
class Toleration:
    """Of a pod; what is empty stands for every key, for every effect, and for the operator Equal."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""

    def tolerates(self, taint: Taint) -> bool:
        """Whether the pod may be where the taint is: Toleration.ToleratesTaint of k8s.io/api/core/v1."""
        if self.effect not in ("", taint.effect) or self.key not in ("", taint.key):
            return False
        if self.operator in ("Lt", "Gt"):
            return self._compares(taint)
        return self.operator == "Exists" or (self.operator in ("", "Equal") and self.value == taint.value)

    def _compares(self, taint: Taint) -> bool:
        try:
            mine, theirs = int(self.value), int(taint.value)
        except ValueError:
            return False
        return theirs < mine if self.operator == "Lt" else theirs > mine


def untolerated(taints: Iterable[Taint], tolerations: Iterable[Toleration]) -> tuple[Taint, ...]:
    """The taints that keep a pod with these tolerations away."""
    has = tuple(tolerations)
    return tuple(
        taint for taint in taints if taint.effect in KEEPS_AWAY and not any(one.tolerates(taint) for one in has)
    )
