"""The screen that the documentation shows is one that the gate prints."""

from __future__ import annotations

from gatescreen import PAGE, RENEW, screen, shown_in


def test_the_screen_in_the_documentation_is_what_the_gate_prints() -> None:
    shown = shown_in(PAGE.read_text(encoding="utf-8"))
    assert shown == screen(), f"docs/release-gate.md is stale. Renew it: `{RENEW}`."
    assert "{" not in shown
