"""`python -m openapi`: a fake of its own, over TLS on 127.0.0.1, with a managed cluster, until it is ended."""

from __future__ import annotations

import argparse
import signal
import ssl

from openapi.account import managed_account
from openapi.server import TrustedTokens, serving

ENDING = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m openapi", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate", required=True, help="PEM")
    parser.add_argument("--key", required=True, help="PEM")
    for name in ("role", "provider", "subject"):
        parser.add_argument(f"--{name}", required=True, help="of the tokens that are exchanged for a temporary key")
    told = parser.parse_args()
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # the first process of a container has no default for them
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(told.certificate, told.key)
    with serving(managed_account(), told.port, tls) as fake:
        fake.trusted = TrustedTokens(told.role, told.provider, told.subject)
        signal.sigwait(ENDING)


if __name__ == "__main__":
    main()
