"""`python -m openapi`: a fake of its own, over TLS on 127.0.0.1, with a managed cluster, until it is ended."""

from __future__ import annotations

import argparse
import ssl
import threading

from openapi.account import managed_account
from openapi.server import TrustedTokens, serving


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m openapi", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate", required=True, help="PEM")
    parser.add_argument("--key", required=True, help="PEM")
    for name in ("role", "provider", "subject"):
        parser.add_argument(f"--{name}", required=True, help="of the tokens that are exchanged for a temporary key")
    told = parser.parse_args()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(told.certificate, told.key)
    with serving(managed_account(), told.port, tls) as fake:
        fake.trusted = TrustedTokens(told.role, told.provider, told.subject)
        threading.Event().wait()


if __name__ == "__main__":
    main()
