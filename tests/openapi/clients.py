"""The real SDK, bound to a fake."""

from __future__ import annotations

from pathlib import Path

from fixtures.ack.access import credential
from fixtures.ack.openapi import OpenApi
from fixtures.ack.sdk import Sender
from fixtures.record import Record
from openapi.account import REGION
from openapi.server import KEY, SECRET, FakeOpenApi


def api_of(fake: FakeOpenApi, record: Record | None = None, *, key: str = KEY, secret: str = SECRET) -> OpenApi:
    """The OpenAPI by the real SDK, with this key."""
    keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": key, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": secret}
    found = credential(keys, Path("/nonexistent"))
    sender = Sender(REGION, found.client, {"": fake.address}, "http")
    return OpenApi(REGION, sender, record or Record(), first_pause=0.01)
