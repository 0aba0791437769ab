"""DSSE envelopes: a statement and who signed it, with Ed25519 or ECDSA on P-256."""

from __future__ import annotations

import base64
import binascii
import json
import os
import stat
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import CryptoSigner, Key, Signature, SSlibKey

from fixtures.errors import HarnessError
from gate.jsonfile import UnreadableError, parse, read_bounded, shown

PAYLOAD_TYPE = "application/vnd.in-toto+json"
KEY_ID = ""
"""None: each implementation makes such a hint in its own way, and some pass over a signature that bears another's."""
PASSPHRASE = "NPU_E2E_SIGNING_PASSPHRASE"  # noqa: S105 - the name of a variable
MOST_KEY_BYTES = 64 * 2**10
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group of points of P-256 (SEC 2, section 2.4.2)."""
MAKE_KEY = "Make one: `(umask 077; openssl genpkey -algorithm ed25519 -out release.key)`."
ORIGINAL = "Ask whoever gave it for the original."
MAKE_PUBLIC = "Make it: `openssl pkey -in release.key -pubout -out release.pub`."


class RefusedError(HarnessError):
    """A statement, or what it is to be about, that is not to be believed; its cause is the reason."""


def signer_of(file: Path) -> CryptoSigner:
    """The private key in `file`, PKCS #8 in PEM; its passphrase, if it has one, is in $NPU_E2E_SIGNING_PASSPHRASE.

    Raises:
        HarnessError: it cannot be read, others may read it, or it is no key of a kind that is known here.
    """
    raw = read_bounded(file, MOST_KEY_BYTES, MAKE_KEY)
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise HarnessError(f"The key {shown(file)} can be read by others.", f"Keep it to yourself: `chmod 600 {file}`.")
    passphrase = os.environ.get(PASSPHRASE, "").encode() or None
    try:
        private = load_pem_private_key(raw, passphrase)
    except TypeError as error:
        needs = "needs a passphrase" if passphrase is None else "has no passphrase, and one is set"
        raise HarnessError(f"The key {shown(file)} {needs}.", f"Set or unset {PASSPHRASE}.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if passphrase is not None:
            raise HarnessError(
                f"The passphrase in {PASSPHRASE} does not open the key {shown(file)}, or it holds no private key.",
                f"Set {PASSPHRASE} to the passphrase of that key, or unset it for a key without one.",
            ) from error
        raise HarnessError(f"{shown(file)} holds no private key that can be read.", MAKE_KEY) from error
    if not _is_known(private.public_key()):
        raise HarnessError(f"The key {shown(file)} is neither Ed25519 nor ECDSA on P-256.", MAKE_KEY)
    return CryptoSigner(private, SSlibKey.from_crypto(private.public_key()))


def public_key(file: Path) -> Key:
    """The public key in `file`, PEM.

    Raises:
        HarnessError: it cannot be read, or is no key of a kind that is known here.
    """
    raw = read_bounded(file, MOST_KEY_BYTES, MAKE_PUBLIC)
    try:
        public = load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise HarnessError(f"{shown(file)} holds no public key that can be read.", MAKE_PUBLIC) from error
    if not _is_known(public):
        raise HarnessError(f"The key {shown(file)} is neither Ed25519 nor ECDSA on P-256.", MAKE_KEY)
    return SSlibKey.from_crypto(public)


def _is_known(public: object) -> bool:
    if isinstance(public, ec.EllipticCurvePublicKey):
        return isinstance(public.curve, ec.SECP256R1)
    return isinstance(public, ed25519.Ed25519PublicKey)


def sealed(statement: dict[str, Any], signer: CryptoSigner) -> bytes:
    """The envelope, as a file holds it, of `statement` signed by `signer`."""
    payload = json.dumps(statement, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    signature = bytes.fromhex(signer.sign(envelope.pae()).signature)
    envelope.signatures[KEY_ID] = Signature(KEY_ID, _the_one(signature, signer.public_key).hex())
    return _written(envelope)


def _the_one(signature: bytes, key: Key) -> bytes:
    """Of the signatures that say the same, the one that is written here.

    With (r, s) of ECDSA (r, n - s) holds too, so that anybody could make other bytes that verify: the lower s counts.
    """
    if key.keytype != "ecdsa":
        return signature
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, P256_ORDER - s))


def _written(envelope: Envelope) -> bytes:
    return (json.dumps(envelope.to_dict(), indent=1, sort_keys=True) + "\n").encode()


def opened(raw: bytes, key: Key, name: Path) -> Any:
    """What the envelope `raw` holds, which `key` has signed; read only after the signature was checked.

    The file must be the very bytes that `sealed` writes: one that says the same in other bytes is refused, as whoever
    changed it had a reason.

    Args:
        raw: the file.
        key: whose signature it must bear.
        name: what to call it.

    Raises:
        RefusedError: it is not signed by `key`, was changed, or is no envelope of a statement.
    """
    envelope = _envelope(raw, name)
    if envelope.payload_type != PAYLOAD_TYPE:
        kind = shown(repr(envelope.payload_type), 80)
        raise RefusedError(f"{shown(name)} holds {kind}, and no in-toto statement.", "Name the gate's statement.")
    try:
        pae = envelope.pae()
        for signature in envelope.signatures.values():
            key.verify_signature(Signature(key.keyid, signature.signature), pae)
    except (UnverifiedSignatureError, VerificationError) as error:
        raise RefusedError(
            f"{shown(name)} was changed after it was signed, or was not signed by the key {key.keyid[:12]}….",
            "Ask whoever gave it for the original, and for the public key by another way.",
        ) from error
    (signed_by, signature), *_ = envelope.signatures.items()
    same = bytes.fromhex(signature.signature)
    if signed_by != KEY_ID or _the_one(same, key) != same or _written(envelope) != raw:
        raise RefusedError(f"{shown(name)} is signed, and is not as it was written.", ORIGINAL)
    return _parsed(envelope.payload, name)


def _parsed(raw: bytes, name: Path) -> Any:
    try:
        return parse(raw, name)
    except UnreadableError as error:
        raise RefusedError(error.cause, ORIGINAL) from error


def _envelope(raw: bytes, name: Path) -> Envelope:
    content = _parsed(raw, name)
    remedy = "Name the gate's statement."
    if not isinstance(content, dict) or set(content) != {"payload", "payloadType", "signatures"}:
        raise RefusedError(f"{shown(name)} is no DSSE envelope.", remedy)
    signatures = content["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise RefusedError(f"{shown(name)} does not bear one signature.", remedy)
    one = signatures[0]
    texts = [content["payload"], content["payloadType"], *(one.values() if isinstance(one, dict) else [None])]
    if not isinstance(one, dict) or set(one) != {"keyid", "sig"} or not all(isinstance(text, str) for text in texts):
        raise RefusedError(f"{shown(name)} is no DSSE envelope.", remedy)
    try:
        payload = base64.b64decode(content["payload"], validate=True)
        signature = base64.b64decode(one["sig"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedError(f"{shown(name)} is damaged: it is not base64.", ORIGINAL) from error
    return Envelope(payload, content["payloadType"], {one["keyid"]: Signature(one["keyid"], signature.hex())})
