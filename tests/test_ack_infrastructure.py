"""Every row of the document against accounts: what it comes to in a good one, and in each that lacks something."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from openapi.account import GROUP, FakeAccount, dedicated_account, managed_account, role_account
from openapi.accounts import CASES, GOOD, Case
from openapi.clients import api_of, direct_api_of
from openapi.server import FakeOpenApi, Fault

from fixtures.ack.account import Account
from fixtures.ack.calls import CALLS
from fixtures.ack.infrastructure import ROWS, outcomes
from fixtures.ack.outcomes import Expected, Outcome

pytest_plugins = ["openapi.fixtures"]

CLUSTER = "c0123456789abcdef0123456789abcdef"
GOOD_RESULTS: dict[str, dict[str, str]] = {
    "dedicated": {},
    "dedicated with roles": {"ram-identity": "superseded", "ram-permissions": "superseded"},
    "managed": {
        "key-pair": "superseded",
        "ram-identity": "superseded",
        "ram-permissions": "superseded",
        "slb-internet": "superseded",
        "slb-internet-8443": "skip",
    },
}
"""What is not `pass` in a good account."""
Fakes = Callable[[FakeAccount], FakeOpenApi]
EXPECTED = Expected()


def _outcomes(fake: FakeOpenApi, expected: Expected = EXPECTED) -> dict[str, Outcome]:
    return _short(outcomes(Account(direct_api_of(fake), CLUSTER), expected))


def _results(fake: FakeOpenApi, expected: Expected = EXPECTED) -> dict[str, str]:
    return {name: outcome.result for name, outcome in _outcomes(fake, expected).items()}


def _over_http(fake: FakeOpenApi) -> dict[str, Outcome]:
    return _short(outcomes(Account(api_of(fake), CLUSTER), EXPECTED))


def _short(found: dict[str, Outcome]) -> dict[str, Outcome]:
    return {name.removeprefix("infra-"): outcome for name, outcome in found.items()}


def _good(name: str) -> dict[str, str]:
    return {row.id.removeprefix("infra-"): "pass" for row in ROWS} | GOOD_RESULTS[name]


@pytest.mark.parametrize("name", GOOD)
def test_a_good_account(name: str, fakes: Fakes) -> None:
    fake = fakes(GOOD[name]())
    assert {row: outcome.result for row, outcome in _over_http(fake).items()} == _good(name)
    assert {one.status for one in fake.asked} == {200}
    assert _results(fake) == _good(name)


@pytest.mark.parametrize("name", CASES)
def test_an_account_with_one_thing_changed(name: str, fakes: Fakes) -> None:
    case = CASES[name]
    found = _outcomes(fakes(case.account()))
    wanted = _good(case.good)
    wanted |= dict.fromkeys(case.fails, "fail") | dict.fromkeys(case.skips, "skip") | dict.fromkeys(case.passes, "pass")
    assert {row: outcome.result for row, outcome in found.items()} == wanted, found
    assert all(outcome.reason.endswith(".") for outcome in found.values())


@pytest.mark.parametrize("kind", ["fail", "skip"])
def test_every_row_can_fail_and_can_be_skipped(kind: str) -> None:
    def of(case: Case) -> tuple[str, ...]:
        return case.fails if kind == "fail" else case.skips

    never = {row.id.removeprefix("infra-") for row in ROWS} - {row for case in CASES.values() for row in of(case)}
    assert never == ({"npu-instances"} if kind == "skip" else set())  # which the test below this one skips


def test_no_instance_type_expected(fakes: Fakes) -> None:
    found = _outcomes(fakes(managed_account()), Expected(instance_types=()))["npu-instances"]
    assert (found.result, "--instance-types" in found.reason) == ("skip", True)


@pytest.mark.parametrize("name", GOOD)
def test_a_permission_that_is_missing_makes_unknown_and_is_named(name: str, fakes: Fakes) -> None:
    good = _good(name)
    for permission in _asked(name, fakes):
        fake = fakes(GOOD[name]())
        fake.faults.append(Fault("denied", permission.partition(":")[2]))
        changed = [outcome for row, outcome in _over_http(fake).items() if outcome.result != good[row]]
        assert changed, permission
        for outcome in changed:
            assert outcome.result == "unknown"
            assert permission in outcome.reason
            assert permission in outcome.remedy


def _asked(name: str, fakes: Fakes) -> list[str]:
    fake = fakes(GOOD[name]())
    _outcomes(fake)
    return sorted(fake.actions())


def test_the_rows_make_every_call_that_is_for_them(fakes: Fakes) -> None:
    asked = {permission for name in GOOD for permission in _asked(name, fakes)}
    reads = {call.permission for call in CALLS.values() if call.use == "read"}
    assert asked == reads - {"cs:DescribeClusterUserKubeconfig"}


@pytest.mark.parametrize("what", ["empty", "null", "list", "half", "no-id"])
@pytest.mark.parametrize("name", GOOD)
def test_no_broken_answer_is_taken_for_absence(what: str, name: str, fakes: Fakes) -> None:
    good = _good(name)
    for permission in _asked(name, fakes):
        fake = fakes(GOOD[name]())
        fake.faults.append(Fault(what, permission.partition(":")[2]))
        changed = {outcome.result for row, outcome in _outcomes(fake).items() if outcome.result != good[row]}
        assert changed == {"unknown"}, permission


@pytest.mark.parametrize("what", ["page", "error", "reset", "throttled-quietly"])
def test_no_answer_at_all_is_unknown(what: str, fakes: Fakes) -> None:
    fake = fakes(managed_account())
    fake.faults.append(Fault(what, "DescribeNatGateways"))
    found = _over_http(fake)
    assert {row for row, outcome in found.items() if outcome.result == "unknown"} == {"snat", "nat-gateway"}


def test_an_unknown_kind_of_cluster_is_unknown(fakes: Fakes) -> None:
    account = managed_account()
    account.cluster["cluster_type"] = "ExternalKubernetes"
    assert set(_results(fakes(account)).values()) == {"unknown"}


def test_ssh_logon_is_told_where_the_cluster_does_not(fakes: Fakes) -> None:
    account = dedicated_account()
    del account.cluster["parameters"]["SSHFlags"]
    unsaid = _outcomes(fakes(account))["slb-ssh"]
    assert (unsaid.result, "--ssh-logon" in unsaid.remedy) == ("unknown", True)
    assert _results(fakes(account), Expected(ssh_logon=True))["slb-ssh"] == "pass"
    assert _results(fakes(account), Expected(ssh_logon=False))["slb-ssh"] == "fail"


def test_a_ram_user_can_be_named(fakes: Fakes) -> None:
    account = dedicated_account()
    account.resources.remove(account.resource("User"))
    assert _results(fakes(account), Expected(ram_user="k8s-user"))["ram-permissions"] == "pass"
    assert _results(fakes(account), Expected(ram_user="nobody"))["ram-identity"] == "fail"


def test_the_route_is_the_one_that_kubernetes_has(fakes: Fakes) -> None:
    fake = fakes(managed_account())
    assert _results(fake, Expected(pod_cidrs={"i-1": "172.20.1.0/24"}))["routes"] == "pass"
    found = _outcomes(fake, Expected(pod_cidrs={"i-1": "172.20.9.0/24"}))["routes"]
    assert (found.result, "i-1 (172.20.9.0/24)" in found.reason) == ("fail", True)


def test_old_fields_that_are_gone_are_not_missed(fakes: Fakes) -> None:
    account = managed_account()
    account.cluster["parameters"] = None
    for gone in ("master_url", "meta_data", "vswitch_id"):
        account.cluster.pop(gone, None)
    assert _results(fakes(account)) == _good("managed")


def test_rules_of_a_pool_s_own_group_count(fakes: Fakes) -> None:
    account = role_account()
    account.groups["sg-2"] = {**account.groups[GROUP], "SecurityGroupId": "sg-2", "Permissions": []}
    account.pools[0]["scaling_group"]["security_group_ids"] = ["sg-2"]
    assert _results(fakes(account))["security-group"] == "pass"


def test_a_hundred_nodes_at_100_ms_a_call_take_less_than_30_s(fakes: Fakes) -> None:
    account = managed_account()
    while len(account.nodes) < 100:
        account.add_node()
    fake = fakes(account)
    fake.latency = 0.1
    began = time.monotonic()
    assert {row: outcome.result for row, outcome in _over_http(fake).items()} == _good("managed")
    assert time.monotonic() - began < 30
    assert fake.count("DescribeClusterDetail") == fake.count("DescribeClusterNodes") == 1
    assert fake.count("DescribeUserData") == 100
