"""The structured log: one JSON object a line on stdout, each with a stable event name."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_LOGGER = logging.getLogger("fake_npu")


class _JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        line = {"time": when, "level": record.levelname.lower(), "event": record.getMessage(), **fields}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def to_stdout() -> None:
    """Write the events of this process, and what libraries log at warning or above, to stdout."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _LOGGER.setLevel(logging.INFO)


def info(event: str, **fields: object) -> None:
    """Log what happened as planned."""
    _LOGGER.info(event, extra={"fields": fields})


def warning(event: str, **fields: object) -> None:
    """Log what a person may have to look at."""
    _LOGGER.warning(event, extra={"fields": fields})


def error(event: str, **fields: object) -> None:
    """Log why this process cannot go on."""
    _LOGGER.error(event, extra={"fields": fields})
