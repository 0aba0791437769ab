"""Recordings of failures on a real cluster, to be altered in one place, and the cause that is then told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gate.causes import explain
from gate.decision import Cause
from gate.recorded import recorded_from

NPU = "aliyun.com/npu"
WORKER, WORKER2 = "npu-e2e-worker", "npu-e2e-worker2"


def recording(code: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(__file__).parent / "causes" / f"{code}.json").read_text())
    return content


def objects(code: str) -> dict[str, Any]:
    found: dict[str, Any] = recording(code)["objects"]
    return found


def provoked(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(pod for pod in content["pods"] if pod["metadata"]["name"] == "provoked")
    return found


def told(content: dict[str, Any], said: str = "", differences: tuple[str, ...] = ()) -> Cause:
    return explain(recorded_from(content, said), differences)


def node(content: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in content["nodes"] if one["metadata"]["name"] == name)
    return found
