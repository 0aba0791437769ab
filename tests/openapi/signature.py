"""ACS3-HMAC-SHA256 as the server side checks it, written from its definition and not from the SDK."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from calendar import timegm
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote

SKEW_SECONDS = 15 * 60
"""How far a request's date may be from the server's clock."""
AUTHORIZATION = re.compile(
    r"ACS3-HMAC-SHA256 Credential=(?P<key>[^,]+),SignedHeaders=(?P<headers>[^,]+),Signature=(?P<signature>[0-9a-f]{64})"
)
MUST_BE_SIGNED = {
    "host",
    "x-acs-action",
    "x-acs-version",
    "x-acs-date",
    "x-acs-signature-nonce",
    "x-acs-content-sha256",
}


class Refusal(Exception):  # noqa: N818 - it is no error of the fake
    """Why a request is not let in."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass
class Signatures:
    """Lets in whoever holds a key.

    Attributes:
        secrets: the secret of each key's id.
        tokens: the security token that must come with a key, where there is one.
        seen: nonces that were used.
    """

    secrets: dict[str, str]
    tokens: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def check(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> str:
        """The id of the key that signed; raises Refusal."""
        parts = AUTHORIZATION.fullmatch(headers.get("authorization", ""))
        if not parts:
            raise Refusal(400, "MissingAuthorization", "There is no signature of ACS3-HMAC-SHA256.")
        signed = parts["headers"].split(";")
        if missing := MUST_BE_SIGNED - set(signed):
            raise Refusal(400, "IncompleteSignature", f"Not signed: {sorted(missing)}.")
        if parts["key"] not in self.secrets:
            raise Refusal(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        if hashlib.sha256(body).hexdigest() != headers["x-acs-content-sha256"]:
            raise Refusal(400, "InvalidContent", "The body is not the one that was signed.")
        canonical = "\n".join(
            (
                *(method, path, _canonical(query)),
                "".join(f"{name}:{headers.get(name, '')}\n" for name in signed),
                *(parts["headers"], headers["x-acs-content-sha256"]),
            )
        )
        text = "ACS3-HMAC-SHA256\n" + hashlib.sha256(canonical.encode()).hexdigest()
        expected = hmac.new(self.secrets[parts["key"]].encode(), text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, parts["signature"]):
            raise Refusal(400, "SignatureDoesNotMatch", "Specified signature is not matched with our calculation.")
        sent = timegm(time.strptime(headers["x-acs-date"], "%Y-%m-%dT%H:%M:%SZ"))
        if abs(time.time() - sent) > SKEW_SECONDS:
            raise Refusal(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
        nonce = headers["x-acs-signature-nonce"]
        if nonce in self.seen:
            raise Refusal(400, "SignatureNonceUsed", "Specified signature nonce was used already.")
        self.seen.add(nonce)
        if self.tokens.get(parts["key"], "") != headers.get("x-acs-security-token", ""):
            raise Refusal(400, "InvalidSecurityToken.Malformed", "The security token is not this key's.")
        return parts["key"]


def _canonical(query: str) -> str:
    """The query as both sides sign it: decoded, sorted and encoded anew, whatever the way did to it."""
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return "&".join(f"{quote(key, safe='-_.~')}={quote(value, safe='-_.~')}" for key, value in pairs)
