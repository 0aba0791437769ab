"""What an administrator applies for ACK is what the code asks for: nothing missing, nothing more, nothing stale."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi.account import CLUSTER, FakeAccount
from openapi.accounts import GOOD
from openapi.clients import direct_api_of
from openapi.server import FakeOpenApi
from openapi.table import RENEW, as_markdown

from fixtures.ack.account import Account
from fixtures.ack.bounds import PRIORITY_CLASS
from fixtures.ack.calls import CALLS
from fixtures.ack.infrastructure import ROWS, outcomes
from fixtures.ack.kubeconfig import temporary_kubeconfig
from fixtures.ack.outcomes import Expected
from fixtures.ack.preflight import _of_account
from fixtures.ack.scaling import grown_pool
from fixtures.ackfilescommand import files
from fixtures.catalogue import collected
from fixtures.options import settings_said

pytest_plugins = ["openapi.fixtures"]

DEPLOY = Path(__file__).parent.parent / "deploy"


@cache
def _files() -> Mapping[str, str]:
    return files()


@pytest.mark.parametrize("name", ["ack-rbac.yaml", "ack-ram-policy.json", "ack-ram-policy-scaling.json"])
def test_the_file_is_not_stale(name: str) -> None:
    assert (DEPLOY / name).read_text() == _files()[name], f"Renew it: `npu-e2e ackfiles {DEPLOY.name}`."


def test_the_table_of_checks_and_accounts_is_not_stale() -> None:
    assert (DEPLOY.parent / "docs/ack-checks.md").read_text() == as_markdown(), f"Renew it: `{RENEW}`."


def _allowed(name: str) -> list[str]:
    policy = json.loads((DEPLOY / name).read_text())
    return [action for statement in policy["Statement"] for action in statement["Action"]]


def _all_that_a_run_does(fake: FakeOpenApi, folder: Path) -> list[str]:
    """What every good account comes to by the whole of the code, and what each thing that was done says."""
    said: list[str] = []
    for good in GOOD.values():
        fake.account = good()
        account = Account(direct_api_of(fake), CLUSTER)
        said += [outcome.result for outcome in outcomes(account, Expected()).values()]
        said += [line.state for line in _of_account(account, settings_said({}, {}))]
        temporary_kubeconfig(account.api, CLUSTER, folder, minutes=60, private=False)
    return said


def test_the_ram_policy_allows_all_that_a_run_asks_for_and_no_more(
    fakes: Callable[[FakeAccount], FakeOpenApi], tmp_path: Path
) -> None:
    fake = fakes(GOOD["managed"]())
    fake.allowed = _allowed("ack-ram-policy.json")
    said = _all_that_a_run_does(fake, tmp_path)
    assert set(said) <= {"pass", "superseded", "skip", "ok"}
    assert fake.actions() - {"sts:GetCallerIdentity"} == set(fake.allowed)


def test_the_scaling_policy_adds_what_scaling_asks_for_and_no_more(
    fakes: Callable[[FakeAccount], FakeOpenApi],
) -> None:
    fake = fakes(GOOD["managed"]())
    more = _allowed("ack-ram-policy-scaling.json")
    fake.allowed = _allowed("ack-ram-policy.json") + more
    with grown_pool(direct_api_of(fake), CLUSTER, "np-1", ("ecs.ebman1.26xlarge",), note=print, poll=0.001):
        pass
    assert fake.actions() - set(_allowed("ack-ram-policy.json")) == set(more)
    assert not any(action.endswith("*") for action in fake.allowed)


def test_nothing_that_changes_anything_is_in_the_policy_for_reading() -> None:
    words = ("Describe", "List", "Get")
    assert all(action.partition(":")[2].startswith(words) for action in _allowed("ack-ram-policy.json"))
    assert {call.use for call in CALLS.values()} == {"read", "preflight", "scaling"}


def _objects() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "ack-rbac.yaml").read_text()))


def test_the_roles_hold_no_wildcard_and_no_secret_of_others() -> None:
    rules = [rule for obj in _objects() for rule in obj.get("rules", [])]
    assert rules
    for rule in rules:
        assert not {"*"} & {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"])
        if "secrets" in rule["resources"] and rule["verbs"] != ["create"]:
            assert rule["resourceNames"] == ["regsecret"]
    (role,) = [obj for obj in _objects() if obj["kind"] == "Role"]
    assert role["metadata"]["namespace"] == "npu-conformance"
    (priority,) = [obj for obj in _objects() if obj["kind"] == "PriorityClass"]
    assert (priority["metadata"]["name"], priority["value"] < 0) == (PRIORITY_CLASS, True)
    assert priority["preemptionPolicy"] == "Never"


def test_every_row_is_a_check_and_every_check_of_infrastructure_a_row() -> None:
    declared = {entry.check.id for entry in collected() if entry.file == "e2e/test_ack_infrastructure.py"}
    assert declared == {row.id for row in ROWS}
    assert all("cloud" in entry.check.needs for entry in collected() if entry.file.startswith("e2e/test_ack_"))


@pytest.mark.parametrize("file", ["deploy/ack-cronjob.yaml", ".github/workflows/nightly.yml"])
def test_what_runs_by_itself_can_be_read_and_holds_no_key(file: str) -> None:
    text = (DEPLOY.parent / file).read_text()
    assert list(yaml.safe_load_all(text))
    assert "ACCESS_KEY" not in text
    assert "--allow-scaling" not in text
