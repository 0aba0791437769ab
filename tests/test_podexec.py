"""How a command in a container ended, as the API server says it last."""

from __future__ import annotations

import json

import pytest

from fixtures.podexec import exit_status

NON_ZERO = {
    "status": "Failure",
    "reason": "NonZeroExitCode",
    "message": "command terminated with non-zero exit code: exit status 137",
    "details": {"causes": [{"reason": "ExitCode", "message": "137"}]},
}
NOT_THERE = {"status": "Failure", "reason": "InternalError", "message": 'exec: "nothing": not found in $PATH'}


@pytest.mark.parametrize(
    ("last", "status", "words"),
    [
        (json.dumps({"metadata": {}, "status": "Success"}), 0, ""),
        (json.dumps(NON_ZERO), 137, "failed with status 137"),
        (json.dumps(NOT_THERE), None, "not found in $PATH"),
        (json.dumps(NON_ZERO | {"details": {"causes": [{"reason": "ExitCode", "message": "many"}]}}), None, "exit"),
        (json.dumps(NON_ZERO | {"details": None}), None, "exit"),
        ("", None, "was cut off"),
        ("[]", None, "was cut off"),
        ('{"status": "Succ', None, "was cut off"),
    ],
)
def test_only_a_whole_success_is_a_success(last: str, status: int | None, words: str) -> None:
    ended, reason = exit_status(last)
    assert ended == status
    assert words in reason
