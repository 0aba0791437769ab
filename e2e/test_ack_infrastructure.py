"""What the document says that ACK makes with a cluster, read from the account by Alibaba's OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from fixtures.ack.infrastructure import ROWS, outcome_of
from fixtures.ack.outcomes import Expected
from fixtures.apipaths import path_of
from fixtures.checks import NOT_APPLICABLE, check, check_of
from fixtures.errors import HarnessError
from fixtures.session import SETTINGS
from fixtures.targets import Cluster

Row = Callable[[], None]
PROVIDER_ID = re.compile(r".*\.(i-[a-z0-9]+)")
"""How a node's providerID names its instance: REGION.INSTANCE."""


@pytest.fixture(scope="module")
def expected(cluster: Cluster, request: pytest.FixtureRequest) -> Expected:
    """What is expected beside what the document says."""
    settings = request.config.stash[SETTINGS]
    nodes = [(PROVIDER_ID.fullmatch(n["spec"].get("providerID", "")), n) for n in cluster.client.items(path_of("Node"))]
    pods = {found[1]: node["spec"]["podCIDR"] for found, node in nodes if found and node["spec"].get("podCIDR")}
    return Expected(settings.instance_types, settings.ssh_logon, settings.ram_user, pods)


@pytest.fixture
def row(cluster: Cluster, expected: Expected, request: pytest.FixtureRequest) -> Row:
    """Holds the row of this check against the account."""
    declared = check_of(request.node)
    (wanted,) = [row for row in ROWS if declared and row.id == declared.id]

    def hold() -> None:
        if cluster.account is None:
            raise HarnessError("The target has no account of a cloud.", "Run it with `--target ack`.")
        found = outcome_of(wanted, cluster.account, expected)
        if found.result == "unknown":
            raise HarnessError(found.reason, found.remedy)
        if found.result in ("skip", "superseded"):
            pytest.skip(f"{NOT_APPLICABLE}{'superseded: ' if found.result == 'superseded' else ''}{found.reason}")
        assert found.result == "pass", found.reason

    return hold


@check("infra-instances", needs=["cloud"], source="document", verbs=["nodes: list"])
def test_instances(row: Row) -> None:
    """Every node is a running ECS instance in the cluster's VPC."""
    row()


@check("infra-npu-instances", needs=["cloud"], source="document", verbs=["nodes: list"])
def test_npu_instances(row: Row) -> None:
    """A node of the expected NPU instance type is there and Ready."""
    row()


@check("infra-key-pair", needs=["cloud"], source="document", verbs=["nodes: list"])
def test_key_pair(row: Row) -> None:
    """Instances carry the key pair that they were made with, and ECS knows it."""
    row()


@check("infra-cloud-init", needs=["cloud"], source="document", verbs=["nodes: list"])
def test_cloud_init(row: Row) -> None:
    """Every instance that ACK made was given user data for cloud-init."""
    row()


@check("infra-security-group", needs=["cloud"], source="document", verbs=["nodes: list"])
def test_security_group(row: Row) -> None:
    """The security group lets the VPC in over ICMP."""
    row()


@check("infra-vpc", needs=["cloud"], source="document", verbs=["nodes: list"])
def test_vpc(row: Row) -> None:
    """The VPC and the vSwitches that ACK made are available."""
    row()


@check("infra-snat", needs=["cloud"], source="document", verbs=["nodes: list"])
def test_snat(row: Row) -> None:
    """Every vSwitch of a VPC that ACK made goes out by an SNAT rule."""
    row()


@check("infra-routes", needs=["cloud"], source="document", verbs=["nodes: list"])
def test_routes(row: Row) -> None:
    """The VPC has a route entry to the pods of each node."""
    row()


@check("infra-nat-gateway", needs=["cloud"], source="document", verbs=["nodes: list"])
def test_nat_gateway(row: Row) -> None:
    """A VPC that ACK made has a NAT gateway with an EIP."""
    row()


@check("infra-ram-identity", needs=["cloud"], source="document", verbs=["nodes: list"])
def test_ram_identity(row: Row) -> None:
    """The cluster has a RAM user with an AccessKey, or the role that takes its place."""
    row()


@check("infra-ram-permissions", needs=["cloud"], source="document", verbs=["nodes: list"])
def test_ram_permissions(row: Row) -> None:
    """The cluster's RAM user, or its role, holds the permissions that ACK needs."""
    row()


@check("infra-slb-internal", needs=["cloud"], source="document", verbs=["nodes: list"])
def test_slb_internal(row: Row) -> None:
    """An internal SLB instance listens on 6443."""
    row()


@check("infra-slb-internet", needs=["cloud"], source="document", verbs=["nodes: list"])
def test_slb_internet(row: Row) -> None:
    """An internet-facing SLB instance, or an EIP in its place, leads to 6443."""
    row()


@check("infra-slb-internet-8443", level="should", needs=["cloud"], source="document", verbs=["nodes: list"])
def test_slb_internet_8443(row: Row) -> None:
    """The internet-facing SLB instance listens on 8443."""
    row()


@check("infra-slb-ssh", needs=["cloud"], source="document", verbs=["nodes: list"])
def test_slb_ssh(row: Row) -> None:
    """Port 22 is open to the internet if, and only if, SSH logon is on."""
    row()
