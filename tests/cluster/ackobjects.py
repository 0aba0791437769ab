"""What tests of the target ack give to a kind cluster that stands for one of ACK's."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from fixtures.client import Object
from fixtures.kubeconfig import chosen


def ca_sha256(kubeconfig: Path) -> str:
    """The SHA-256 in hex of the API server's certificate authority, as an allow-list names it."""
    authority = base64.b64decode(chosen(kubeconfig).cluster["certificate-authority-data"])
    return hashlib.sha256(authority.strip()).hexdigest()


def regsecret(namespace: str) -> Object:
    """The document's secret, with access to no registry."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "regsecret", "namespace": namespace},
        "stringData": {".dockerconfigjson": '{"auths":{}}'},
    }
