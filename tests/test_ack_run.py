"""A run of the infrastructure checks by pytest: what each outcome of a row becomes, and what the verdict then is."""

from __future__ import annotations

from typing import Any

import pytest
from projects import ROOT, Project, new_project

from fixtures.errors import ExitCode

pytest_plugins = ["pytester"]

CONFTEST = """
from types import SimpleNamespace
import pytest
from fixtures.ack.account import Account
from fixtures.session import CAPABILITIES
from openapi.account import CLUSTER
from openapi.accounts import CASES, GOOD
from openapi.clients import direct_api_of
from openapi.server import FakeOpenApi, Fault

pytest_plugins = ["fixtures.plugin"]

@pytest.fixture(scope="session")
def cluster(request):
    request.config.stash[CAPABILITIES] = frozenset({"cloud"})
    account = CASES[NAME].account() if NAME in CASES else GOOD[NAME]()
    fake = FakeOpenApi(account, faults=[Fault("denied", DENIED)] if DENIED else [])
    client = SimpleNamespace(items=lambda path: [])
    return SimpleNamespace(account=Account(direct_api_of(fake), CLUSTER), client=client)

@pytest.fixture
def namespace():
    raise AssertionError("a namespace was made for nothing")
"""


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    found = new_project(pytester, monkeypatch, tmp_path_factory)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")
    (found.path / "e2e").mkdir()
    for name in ("conftest.py", "test_ack_infrastructure.py", "test_ack_scaling.py"):
        (found.path / "e2e" / name).write_text((ROOT / "e2e" / name).read_text())
    return found


def _run(project: Project, name: str, *, denied: str = "", target: str = "ack") -> tuple[int, Any]:
    (project.path / "conftest.py").write_text(f"NAME, DENIED = {name!r}, {denied!r}\n{CONFTEST}")
    done = project.run_pytest("e2e", "--target", target)
    return int(done.ret), project.results()


def test_a_good_cluster_passes_though_not_every_row_is_about_it(project: Project) -> None:
    code, results = _run(project, "managed")
    assert (code, results["verdict"]["result"]) == (ExitCode.OK, "pass")
    entries = {entry["id"]: entry for entry in results["checks"]}
    assert entries["infra-security-group"]["outcome"] == "passed"
    assert entries["infra-ram-identity"]["outcome"] == "skipped"
    reported = " ".join(results["verdict"]["reasons"])
    assert "scale-node-pool" not in entries, "a node costs money, and nobody has allowed it"
    assert "scale-node-pool" in results["deselected"]
    assert "infra-ram-identity: skipped: Not applicable: superseded: Today's ACK gives instances a role" in reported


def test_what_the_user_supplied_is_not_applicable(project: Project) -> None:
    code, results = _run(project, "VPC supplied")
    assert (code, results["verdict"]["result"]) == (ExitCode.OK, "pass")
    assert (
        "infra-vpc: skipped: Not applicable: The VPC vpc-1 was supplied by the user." in results["verdict"]["reasons"]
    )


def test_a_row_that_is_not_true_fails_the_run(project: Project) -> None:
    code, results = _run(project, "no SNAT rule")
    assert (code, results["verdict"]["result"]) == (ExitCode.FAILED, "fail")
    assert results["verdict"]["reasons"][0] == "infra-snat: failed: No SNAT rule that works is there for vsw-1."


def test_a_row_that_cannot_be_read_leaves_the_verdict_open(project: Project) -> None:
    code, results = _run(project, "managed", denied="DescribeNatGateways")
    assert (code, results["verdict"]["result"]) == (ExitCode.FAILED, "inconclusive")
    unknown = {entry["id"]: entry for entry in results["checks"] if entry["outcome"] == "error"}
    assert set(unknown) == {"infra-snat", "infra-nat-gateway"}
    assert "vpc:DescribeNatGateways" in unknown["infra-snat"]["reason"]


def test_another_target_has_no_such_checks(project: Project) -> None:
    code, results = _run(project, "managed", target="kind")
    assert results["checks"] == []
    assert code in (ExitCode.NOTHING_RAN, pytest.ExitCode.NO_TESTS_COLLECTED)
