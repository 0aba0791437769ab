"""Accounts by name: each is a good one with one thing changed, and what the rows then come to.

Of a row that is not named the outcome is that of the good account.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from openapi.account import GROUP, FakeAccount, Object, dedicated_account, managed_account, role_account

Change = Callable[[FakeAccount], Any]
GOOD: dict[str, Callable[[], FakeAccount]] = {
    "dedicated": dedicated_account,
    "dedicated with roles": role_account,
    "managed": managed_account,
}


@dataclass(frozen=True)
class Case:
    """An account.

    Attributes:
        good: the one that it is made from, a key of GOOD.
        change: what is changed.
        fails: rows that fail, without `infra-`.
        skips: rows that are skipped.
        passes: rows that pass, though not in the good account.
    """

    good: str
    change: Change
    fails: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()

    def account(self) -> FakeAccount:
        account = GOOD[self.good]()
        self.change(account)
        return account


def _first(account: FakeAccount) -> Object:
    return next(iter(account.instances.values()))


def _supplied(*kinds: str) -> Change:
    def change(account: FakeAccount) -> None:
        for kind in kinds:
            account.resource(kind)["auto_create"] = 0

    return change


def _rule(priority: int, policy: str, source: str, protocol: str = "icmp") -> Change:
    rule = {"Direction": "ingress", "IpProtocol": protocol, "Policy": policy, "SourceCidrIp": source}
    return lambda account: account.rules.append({**rule, "Priority": priority})


def _replaced_rule(**fields: Any) -> Change:
    return lambda account: account.rules[0].update(fields)


def _listener(balancer: str, port: int, **fields: Any) -> Change:
    return lambda account: account.listener(balancer, port).update(fields)


def _without_listener(balancer: str, port: int) -> Change:
    return lambda account: account.listeners.remove(account.listener(balancer, port))


def _parameter(name: str, value: str) -> Change:
    return lambda account: account.cluster["parameters"].update({name: value})


def _cluster(**fields: Any) -> Change:
    return lambda account: account.cluster.update(fields)


def _owned_policy(name: str, statements: list[Object]) -> Change:
    return lambda account: account.policies.update({name: {"Version": "1", "Statement": statements}})


def _all(*changes: Change) -> Change:
    def change(account: FakeAccount) -> None:
        for one in changes:
            one(account)

    return change


def _all_by_hand(account: FakeAccount) -> None:
    for node in account.nodes:
        node["source"] = "manual"


def _not_of_ecs(account: FakeAccount) -> None:
    for node in account.nodes:
        node["is_aliyun_node"] = False


def _password_logon(account: FakeAccount) -> None:
    account.cluster.pop("control_plane_config", None)
    for pool in account.pools:
        pool["scaling_group"]["key_pair"] = ""
    for instance in account.instances.values():
        instance["KeyPairName"] = ""


def _no_public_slb(account: FakeAccount) -> None:
    del account.balancers["lb-out"]
    account.resources[:] = [entry for entry in account.resources if entry["instance_id"] != "lb-out"]


def _ingress(account: FakeAccount) -> None:
    account.resources.append({**account.resources[-1], "resource_type": "SLB", "instance_id": "lb-ingress"})
    account.balancers["lb-ingress"] = {**account.balancers["lb-in"], "LoadBalancerId": "lb-ingress"}
    account.balancers["lb-ingress"]["AddressType"] = "internet"
    account.listeners.append({"LoadBalancerId": "lb-ingress", "ListenerPort": 443, "Status": "running"})


def _nlb(account: FakeAccount) -> None:
    account.resource("SLB").update(resource_type="ALIYUN::NLB::LoadBalancer", instance_id="nlb-1")
    account.cluster["control_plane_endpoints_config"]["load_balancers_config"][0]["load_balancer_id"] = "nlb-1"


def _deny(*actions: str) -> Object:
    return {"Effect": "Deny", "Action": list(actions), "Resource": "*"}


_ALLOW = {"Effect": "Allow", "Resource": "*"}

CASES = {
    # machines
    "instance stopped": Case("dedicated", lambda a: _first(a).update(Status="Stopped"), ("instances",)),
    "instance gone": Case("managed", lambda a: a.instances.pop("i-1"), ("instances",)),
    "instance released by hand": Case(
        "managed",
        _all(lambda a: a.instances.pop("i-1"), lambda a: a.user_data.pop("i-1")),
        ("instances", "cloud-init"),
    ),
    "instance in another VPC": Case(
        "managed", lambda a: _first(a)["VpcAttributes"].update(VpcId="vpc-other"), ("instances",)
    ),
    "nodes of no cloud": Case("managed", _not_of_ecs, ("npu-instances",), ("instances", "cloud-init")),
    "no NPU node": Case(
        "managed", lambda a: [n.update(instance_type="ecs.c7.large") for n in a.nodes], ("npu-instances",)
    ),
    "no NPU node Ready": Case(
        "dedicated", lambda a: [n.update(node_status="NotReady") for n in a.nodes], ("npu-instances",)
    ),
    "ECS knows another type": Case(
        "managed", lambda a: _first(a).update(InstanceType="ecs.c7.large"), ("npu-instances",)
    ),
    "key pair deleted": Case("dedicated", lambda a: a.key_pairs.clear(), ("key-pair",)),
    "key pair deleted, managed": Case("managed", lambda a: a.key_pairs.clear(), ("key-pair",)),
    "master without its key pair": Case("dedicated", lambda a: _first(a).update(KeyPairName=""), ("key-pair",)),
    "worker with another key pair": Case("managed", lambda a: _first(a).update(KeyPairName="kp-2"), ("key-pair",)),
    "logon by password": Case("dedicated", _password_logon, (), ("key-pair",)),
    "logon by password, managed": Case("managed", _password_logon, (), ("key-pair",)),
    "no user data": Case("dedicated", lambda a: a.user_data.update({"i-1": ""}), ("cloud-init",)),
    "user data of something else": Case("managed", lambda a: a.user_data.update({"i-2": "eA=="}), ("cloud-init",)),
    "nodes added by hand": Case("managed", _all_by_hand, (), ("cloud-init",)),
    # network
    "no ICMP rule": Case("dedicated", lambda a: a.rules.pop(0), ("security-group",)),
    "ICMP from a part of the VPC": Case(
        "managed", _replaced_rule(SourceCidrIp="192.168.0.0/20"), ("security-group",)
    ),
    "ICMP drop above": Case("managed", _all(_replaced_rule(Priority="2"), _rule(1, "drop", "192.168.1.0/24")),
                            ("security-group",)),
    "ICMP drop of the same priority": Case("managed", _rule(1, "Drop", "0.0.0.0/0", "all"), ("security-group",)),
    "ICMP drop below": Case("managed", _rule(2, "Drop", "0.0.0.0/0"), ()),
    "ICMP rule only outward": Case("managed", _replaced_rule(Direction="egress"), ("security-group",)),
    "TCP rule only": Case("dedicated", _replaced_rule(IpProtocol="TCP"), ("security-group",)),
    "second range of the VPC left out": Case(
        "managed",
        _all(
            lambda a: a.vpcs[0].update(SecondaryCidrBlocks={"SecondaryCidrBlock": ["10.9.0.0/16"]}),
            _replaced_rule(SourceCidrIp="192.168.0.0/16"),
        ),
        ("security-group",),
    ),
    "group of another VPC": Case("managed", lambda a: a.groups[GROUP].update(VpcId="vpc-other"), ("security-group",)),
    "group deleted by hand": Case("managed", lambda a: a.groups.clear(), ("security-group",)),
    "group supplied": Case("managed", _supplied("SecurityGroup"), (), ("security-group",)),
    "VPC supplied": Case("managed", _supplied("VPC"), (), ("vpc", "snat", "nat-gateway")),
    "VPC supplied, dedicated": Case("dedicated", _supplied("VPC"), (), ("vpc", "snat", "nat-gateway")),
    "VPC pending": Case("dedicated", lambda a: a.vpcs[0].update(Status="Pending"), ("vpc",)),
    "VPC gone": Case("managed", lambda a: a.vpcs.pop(0), ("vpc", "security-group")),
    "vSwitch gone": Case("managed", lambda a: a.vswitches.clear(), ("vpc",)),
    "vSwitch outside": Case("managed", lambda a: a.vswitches[0].update(CidrBlock="10.0.0.0/20"), ("vpc",)),
    "no SNAT rule": Case("managed", lambda a: a.snats.clear(), ("snat",)),
    "SNAT of another vSwitch": Case(
        "dedicated", lambda a: a.snats[0].update(SourceVSwitchId="vsw-2", SourceCIDR="192.168.16.0/20"), ("snat",)
    ),
    "SNAT by the VPC's range": Case(
        "managed", lambda a: a.snats[0].update(SourceVSwitchId="", SourceCIDR="192.168.0.0/16"), ()
    ),
    "SNAT by an address that is not bound": Case(
        "managed", lambda a: a.snats[0].update(SnatIp="47.1.1.1"), ("snat",)
    ),
    "SNAT pending": Case("managed", lambda a: a.snats[0].update(Status="Pending"), ("snat",)),
    "SNAT not asked for": Case("managed", _parameter("SNatEntry", "False"), (), ("snat", "nat-gateway")),
    "no NAT gateway": Case("dedicated", lambda a: a.nats.clear(), ("nat-gateway", "snat")),
    "NAT gateway of the intranet": Case(
        "managed", lambda a: a.nats[0].update(NetworkType="intranet"), ("nat-gateway", "snat")
    ),
    "EIP unbound": Case("managed", lambda a: a.eips[0].update(Status="Available"), ("nat-gateway", "snat")),
    "EIP gone": Case("dedicated", lambda a: a.eips.pop(0), ("nat-gateway", "snat")),
    "route missing": Case("managed", lambda a: a.routes.pop(), ("routes",)),
    "route to another instance": Case(
        "dedicated",
        lambda a: a.routes[-1]["NextHops"]["NextHop"][0].update(NextHopId="i-elsewhere"),
        ("routes",),
    ),
    "route pending": Case("managed", lambda a: a.routes[0].update(Status="Pending"), ("routes",)),
    "route outside of the pods": Case(
        "managed", lambda a: a.routes[0].update(DestinationCidrBlock="10.1.0.0/24"), ("routes",)
    ),
    "two routes for one range": Case(
        "managed", lambda a: a.routes[0].update(DestinationCidrBlock="172.20.2.0/24"), ("routes",)
    ),
    "Terway": Case("managed", _parameter("Network", "terway-eniip"), (), ("routes",)),
    "no range of pods": Case("dedicated", _cluster(container_cidr=""), (), ("routes",)),
    # RAM
    "RAM user gone": Case("dedicated", lambda a: a.users.clear(), ("ram-identity", "ram-permissions")),
    "AccessKey inactive": Case(
        "dedicated", lambda a: a.users["k8s-user"][0].update(Status="Inactive"), ("ram-identity",)
    ),
    "no user and no role": Case(
        "dedicated",
        lambda a: a.resources.remove(a.resource("User")),
        ("ram-identity", "ram-permissions"),
    ),
    "permission denied to the user": Case(
        "dedicated",
        _all(
            lambda a: a.attached["k8s-user"].append("deny"),
            _owned_policy("deny", [_deny("slb:Delete*")]),
        ),
        ("ram-permissions",),
    ),
    "permission of the user missing": Case(
        "dedicated",
        _owned_policy("k8s-policy", [{**_ALLOW, "Action": ["ecs:*", "slb:*", "cms:*", "vpc:*", "log:*"]}]),
        ("ram-permissions",),
    ),
    "permission of the user by wildcard": Case("dedicated", _owned_policy("k8s-policy", [{**_ALLOW, "Action": "*"}])),
    "permission for one resource only": Case(
        "dedicated",
        _owned_policy("k8s-policy", [{"Effect": "Allow", "Action": "*", "Resource": "acs:slb:*:*:lb-1"}]),
        ("ram-permissions",),
    ),
    "permission under a condition": Case(
        "dedicated",
        _owned_policy("k8s-policy", [{**_ALLOW, "Action": "*", "Condition": {"Bool": {"a": ["true"]}}}]),
        ("ram-permissions",),
    ),
    "role gone": Case(
        "dedicated with roles",
        lambda a: a.roles.pop("KubernetesMasterRole-1"),
        ("ram-identity", "ram-permissions"),
    ),
    "role without its routes": Case(
        "dedicated with roles",
        _owned_policy("KubernetesMasterRole-1-policy", [{**_ALLOW, "Action": ["ecs:*", "slb:*"]}]),
        ("ram-permissions",),
    ),
    "worker role gone": Case("managed", lambda a: a.roles.clear(), ("ram-identity", "ram-permissions")),
    "worker role that trusts nobody": Case(
        "managed",
        lambda a: a.roles["KubernetesWorkerRole-1"].update(AssumeRolePolicyDocument='{"Statement": []}'),
        ("ram-identity",),
    ),
    "no worker role": Case("managed", _cluster(worker_ram_role_name=""), (), ("ram-identity", "ram-permissions")),
    # SLB
    "internal SLB inactive": Case(
        "dedicated", lambda a: a.balancers["lb-in"].update(LoadBalancerStatus="inactive"), ("slb-internal",)
    ),
    "6443 stopped inside": Case("dedicated", _listener("lb-in", 6443, Status="stopped"), ("slb-internal",)),
    "6443 closed inside": Case("managed", _without_listener("lb-in", 6443), ("slb-internal",)),
    "internal SLB of another VPC": Case(
        "managed", lambda a: a.balancers["lb-in"].update(VpcId="vpc-other"), ("slb-internal",)
    ),
    "6443 stopped outside": Case("dedicated", _listener("lb-out", 6443, Status="stopped"), ("slb-internet",)),
    "6443 closed outside": Case("dedicated", _without_listener("lb-out", 6443), ("slb-internet",)),
    "internet SLB gone": Case(
        "dedicated", _no_public_slb, ("slb-internet", "slb-ssh"), ("slb-internet-8443",)
    ),
    "no public endpoint": Case(
        "dedicated",
        _all(_no_public_slb, _cluster(meta_data='{"Capabilities": {"PublicSLB": false}}')),
        (),
        ("slb-internet", "slb-internet-8443", "slb-ssh"),
    ),
    "8443 closed": Case("dedicated", _without_listener("lb-out", 8443), ("slb-internet-8443",)),
    "22 open, SSH off": Case("dedicated", _parameter("SSHFlags", "False"), ("slb-ssh",)),
    "22 closed, SSH on": Case("dedicated", _without_listener("lb-out", 22), ("slb-ssh",)),
    "22 closed, SSH off": Case(
        "dedicated", _all(_without_listener("lb-out", 22), _parameter("SSHFlags", "False")), ()
    ),
    "22 open, managed": Case("managed", _listener("lb-in", 6443, ListenerPort=22), ("slb-ssh", "slb-internal")),
    "no SLB active, managed": Case(
        "managed",
        lambda a: a.balancers["lb-in"].update(LoadBalancerStatus="inactive"),
        ("slb-internal",),
        ("slb-ssh", "slb-internet"),
    ),
    "NLB in the place of SLB": Case(
        "managed",
        _nlb,
        (),
        ("slb-internal", "slb-internet", "slb-ssh"),
    ),
    "internal SLB deleted by hand": Case(
        "managed", lambda a: a.balancers.pop("lb-in"), ("slb-internal", "slb-internet", "slb-ssh")
    ),
    "an ingress's SLB beside it": Case("managed", _ingress),
    "an ingress's SLB beside them": Case("dedicated", _ingress),
    "only the internal SLB is named": Case(
        "dedicated",
        _cluster(control_plane_endpoints_config={"load_balancers_config": [{"load_balancer_id": "lb-in"}]}),
    ),
    "no SLB at all": Case(
        "managed",
        _all(_cluster(control_plane_endpoints_config={}), lambda a: a.resources.remove(a.resource("SLB"))),
        ("slb-internal",),
        ("slb-internet", "slb-ssh"),
    ),
    "public EIP not bound": Case("managed", lambda a: a.eips[1].update(Status="Unassociating"), ("slb-internet",)),
    "public endpoint without an EIP": Case(
        "managed",
        _all(lambda a: a.eips.pop(1), _cluster(master_url='{"api_server_endpoint": "https://47.100.0.9:6443"}')),
        ("slb-internet",),
    ),
    "no public endpoint, managed": Case("managed", lambda a: a.eips.pop(1), (), ("slb-internet",)),
}  # fmt: skip
