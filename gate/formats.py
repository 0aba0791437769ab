"""Older formats of results, read as the present one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gate.jsonfile import AGAIN, UnreadableError, shown

FORMATS = (1, 2)
"""Formats that can be read; the last is the one that is written."""


def as_format_2(content: Any, file: Path) -> tuple[dict[str, Any], int]:
    """`content` in format 2, and the format that it was written in.

    Raises:
        UnreadableError: it is no results file, or of a format that is not known here.
    """
    if not isinstance(content, dict) or "format" not in content:
        raise UnreadableError(f"{shown(file)} is not a results file: it names no format.", AGAIN)
    written = content["format"]
    if type(written) is not int or written not in FORMATS:
        raise UnreadableError(
            f"{shown(file)} has the format {shown(repr(written))}; this version reads 1 and 2.",
            "Judge it with the version of npu-conformance that wrote it.",
        )
    if written == 2:
        return content, 2
    try:
        return _upgraded(content), 1
    except (TypeError, AttributeError, KeyError, ValueError):
        raise UnreadableError(f"{shown(file)} says that it has format 1, and has not.", AGAIN) from None


def _upgraded(old: dict[str, Any]) -> dict[str, Any]:
    new = {**old, "format": 2, "catalogue": None, "subject": {"before": None, "after": None}, "inventory": None}
    new["checks"] = [
        {
            **check,
            "evidence": [{"file": file, "sha256": "", "bytes": 0} for file in check["evidence"]],
            "measured": [
                {"name": name.partition(" [")[0], "value": value, "unit": name.partition(" [")[2].removesuffix("]")}
                for name, value in check["measured"].items()
            ],
        }
        for check in old["checks"]
    ]
    return new
