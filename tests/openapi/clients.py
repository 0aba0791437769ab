"""The real SDK, bound to a fake."""

from __future__ import annotations

import json
from pathlib import Path

from fixtures.ack.access import credential
from fixtures.ack.calls import VERSIONS, Call
from fixtures.ack.openapi import OpenApi
from fixtures.ack.sdk import Sender
from fixtures.record import Record
from openapi.account import REGION, Object
from openapi.actions import Question
from openapi.server import KEY, SECRET, Asked, FakeOpenApi, answered
from openapi.signature import Refusal


def api_of(fake: FakeOpenApi, record: Record | None = None, *, key: str = KEY, secret: str = SECRET) -> OpenApi:
    """The OpenAPI by the real SDK, with this key."""
    keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": key, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": secret}
    found = credential(keys, Path("/nonexistent"))
    sender = Sender(REGION, found.client, {"": fake.address}, "http")
    return OpenApi(REGION, sender, record or Record(), first_pause=0.01)


def direct_api_of(fake: FakeOpenApi) -> OpenApi:
    """The same without HTTP and without the SDK's part in it: for what is asked of hundreds of accounts."""
    from alibabacloud_tea_openapi.exceptions import ClientException  # noqa: PLC0415 - the SDK is optional

    def send(call: Call, path: str, query: dict[str, str], body: Object | None) -> bytes:
        fault = fake.next_fault(call.action)
        fake.asked.append(Asked(call.action, call.permission, query, 0, ""))
        try:
            question = Question(call.action, path, query, body or {})
            answer = answered(fake, question, VERSIONS[call.product], call.permission, fault)
        except Refusal as refusal:
            raise ClientException(status_code=refusal.status, code=refusal.code, message=refusal.message) from None
        text = json.dumps(answer).encode()
        return text[: len(text) // 2] if fault == "half" else text

    return OpenApi(REGION, send, Record())
