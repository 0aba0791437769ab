"""What each operation answers, from the account as it is now."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from openapi.account import CLUSTER, FakeAccount, Object
from openapi.signature import Refusal


@dataclass
class Question:
    """One request: its action, what its path and query say, and its body."""

    action: str
    path: str
    query: dict[str, str]
    body: Object

    def part(self, pattern: str) -> str:
        """The part of the path that the pattern's group is."""
        found = re.fullmatch(pattern, self.path)
        if not found:
            raise Refusal(404, "InvalidAction.NotFound", f"{self.action} is not at {self.path}.")
        return found.group(1)


Answers = Callable[[FakeAccount, Question], Any]
ACTIONS: dict[str, tuple[str, Answers]] = {}
"""The OpenAPI version and the function of each action."""


def _action(version: str) -> Callable[[Answers], Answers]:
    def named(function: Answers) -> Answers:
        name = "".join(word.capitalize() for word in function.__name__.split("_"))
        for spelled in ("VSwitches", "UserKubeconfig"):
            name = name.replace(spelled.capitalize(), spelled)
        ACTIONS[name] = (version, function)
        return function

    return named


cs, ecs, vpc = _action("2015-12-15"), _action("2014-05-26"), _action("2016-04-28")
slb, ram, sts = _action("2014-05-15"), _action("2015-05-01"), _action("2015-04-01")


def _numbered(question: Question, items: list[Object], outer: str, inner: str, most: int = 50) -> Object:
    size, number = int(question.query.get("PageSize", 10)), int(question.query.get("PageNumber", 1))
    if size > most:
        raise Refusal(400, "InvalidParameter", "The specified parameter PageSize is not valid.")
    piece = items[(number - 1) * size : number * size]
    return {"TotalCount": len(items), "PageNumber": number, "PageSize": size, outer: {inner: piece}}


def _tokens(question: Question, items: list[Object], parameter: str, most: int) -> tuple[list[Object], str]:
    size = int(question.query.get(parameter, 10))
    if size > most:
        raise Refusal(400, "InvalidParameter", f"The specified parameter {parameter} is not valid.")
    start = int(question.query.get("NextToken") or 0)
    return items[start : start + size], str(start + size) if start + size < len(items) else ""


def _where(items: list[Object], question: Question, *keys: str) -> list[Object]:
    return [e for e in items if all(e.get(key) == question.query[key] for key in keys if key in question.query)]


@cs
def describe_cluster_detail(account: FakeAccount, question: Question) -> Any:
    _this_cluster(question, "/clusters/([^/]+)")
    return account.cluster


def _this_cluster(question: Question, pattern: str) -> None:
    if question.part(pattern) != CLUSTER:
        raise Refusal(404, "ErrorClusterNotFound", "cluster not found")


@cs
def describe_cluster_resources(account: FakeAccount, question: Question) -> Any:
    _this_cluster(question, "/clusters/([^/]+)/resources")
    return account.resources


@cs
def describe_cluster_nodes(account: FakeAccount, question: Question) -> Any:
    _this_cluster(question, "/clusters/([^/]+)/nodes")
    size, number = int(question.query.get("pageSize", 10)), int(question.query.get("pageNumber", 1))
    page = {"page_number": number, "page_size": size, "total_count": len(account.nodes)}
    return {"nodes": account.nodes[(number - 1) * size : number * size], "page": page}


@cs
def describe_cluster_node_pools(account: FakeAccount, question: Question) -> Any:
    _this_cluster(question, "/clusters/([^/]+)/nodepools")
    return {"nodepools": account.pools}


@cs
def describe_cluster_user_kubeconfig(account: FakeAccount, question: Question) -> Any:
    _this_cluster(question, "/k8s/([^/]+)/user_config")
    minutes = int(question.query["TemporaryDurationMinutes"])
    if not 15 <= minutes <= 4320:
        raise Refusal(400, "ParamInvalid", "TemporaryDurationMinutes is out of range")
    return {"config": account.kubeconfig, "expiration": "2099-01-01T00:00:00Z"}


@cs
def describe_user_quota(account: FakeAccount, question: Question) -> Any:
    question.part("(/quota)")
    return {"node_quota": account.node_quota, "cluster_quota": 50, "cluster_nodepool_quota": 20}


@cs
def modify_cluster_node_pool(account: FakeAccount, question: Question) -> Any:
    pool = question.part(f"/clusters/{CLUSTER}/nodepools/([^/]+)")
    if pool not in {entry["nodepool_info"]["nodepool_id"] for entry in account.pools}:
        raise Refusal(404, "NodePoolNotFound", "node pool not found")
    task = account.scale(pool, int(question.body["scaling_group"]["desired_size"]))
    return {"task_id": task, "nodepool_id": pool, "request_id": "R-1"}


@cs
def remove_node_pool_nodes(account: FakeAccount, question: Question) -> Any:
    pool = question.part(f"/clusters/{CLUSTER}/nodepools/([^/]+)/nodes")
    if (question.query["release_node"], question.query["drain_node"]) != ("true", "true"):
        raise Refusal(400, "InvalidParameter", "This fake's account wants nodes drained and released.")
    task = account.remove(pool, json.loads(question.query["instance_ids"]))
    return {"task_id": task, "request_id": "R-1"}


@cs
def describe_task_info(account: FakeAccount, question: Question) -> Any:
    return account.task(question.part("/tasks/([^/]+)"))


@ecs
def describe_instances(account: FakeAccount, question: Question) -> Any:
    asked = json.loads(question.query["InstanceIds"])
    if len(asked) > 100:
        raise Refusal(400, "InvalidParameter", "At most 100 ids.")
    found = [account.instances[name] for name in asked if name in account.instances]
    piece, token = _tokens(question, found, "MaxResults", 100)
    return {"Instances": {"Instance": piece}, "NextToken": token, "TotalCount": len(found)}


@ecs
def describe_user_data(account: FakeAccount, question: Question) -> Any:
    name = question.query["InstanceId"]
    if name not in account.user_data:
        raise Refusal(404, "InvalidInstanceId.NotFound", "The specified InstanceId does not exist.")
    return {"InstanceId": name, "UserData": account.user_data[name]}


@ecs
def describe_key_pairs(account: FakeAccount, question: Question) -> Any:
    found = [{"KeyPairName": name} for name in account.key_pairs]
    return _numbered(question, _where(found, question, "KeyPairName"), "KeyPairs", "KeyPair")


@ecs
def describe_security_group_attribute(account: FakeAccount, question: Question) -> Any:
    name = question.query["SecurityGroupId"]
    if name not in account.groups:
        raise Refusal(404, "InvalidSecurityGroupId.NotFound", "The specified SecurityGroupId does not exist.")
    direction = question.query["Direction"]
    rules = [rule for rule in account.groups[name]["Permissions"] if rule["Direction"] == direction]
    piece, token = _tokens(question, rules, "MaxResults", 1000)
    return {**account.groups[name], "Permissions": {"Permission": piece}, "NextToken": token}


@ecs
def describe_available_resource(account: FakeAccount, question: Question) -> Any:
    value = {"Value": question.query["InstanceType"], "Status": "Available", "StatusCategory": account.stock}
    resource = {"Type": "InstanceType", "SupportedResources": {"SupportedResource": [value]}}
    zone = {"ZoneId": "cn-shanghai-g", "AvailableResources": {"AvailableResource": [resource]}}
    return {"AvailableZones": {"AvailableZone": [zone]}}


@vpc
def describe_vpcs(account: FakeAccount, question: Question) -> Any:
    return _numbered(question, _where(account.vpcs, question, "VpcId"), "Vpcs", "Vpc")


@vpc
def describe_v_switches(account: FakeAccount, question: Question) -> Any:
    return _numbered(question, _where(account.vswitches, question, "VpcId"), "VSwitches", "VSwitch")


@vpc
def describe_route_table_list(account: FakeAccount, question: Question) -> Any:
    found = _where(account.route_tables, question, "VpcId")
    return _numbered(question, found, "RouterTableList", "RouterTableListType")


@vpc
def describe_route_entry_list(account: FakeAccount, question: Question) -> Any:
    found = _where(account.routes, question, "RouteTableId")
    piece, token = _tokens(question, found, "MaxResult", 100)
    return {"RouteEntrys": {"RouteEntry": piece}, "NextToken": token}


@vpc
def describe_nat_gateways(account: FakeAccount, question: Question) -> Any:
    return _numbered(question, _where(account.nats, question, "VpcId"), "NatGateways", "NatGateway")


@vpc
def describe_snat_table_entries(account: FakeAccount, question: Question) -> Any:
    found = _where(account.snats, question, "NatGatewayId", "SnatTableId")
    return _numbered(question, found, "SnatTableEntries", "SnatTableEntry")


@vpc
def describe_eip_addresses(account: FakeAccount, question: Question) -> Any:
    kind, name = question.query["AssociatedInstanceType"], question.query["AssociatedInstanceId"]
    found = [e for e in account.eips if (e["InstanceType"], e["InstanceId"]) == (kind, name)]
    return _numbered(question, found, "EipAddresses", "EipAddress", 100)


@slb
def describe_load_balancer_attribute(account: FakeAccount, question: Question) -> Any:
    name = question.query["LoadBalancerId"]
    if name not in account.balancers:
        raise Refusal(404, "InvalidLoadBalancerId.NotFound", "The specified LoadBalancerId does not exist.")
    return account.balancers[name]


@slb
def describe_load_balancer_listeners(account: FakeAccount, question: Question) -> Any:
    found = [e for e in account.listeners if e["LoadBalancerId"] == question.query["LoadBalancerId.1"]]
    piece, token = _tokens(question, found, "MaxResults", 100)
    return {"Listeners": piece, "NextToken": token}


def _named(account: FakeAccount, question: Question, kind: str) -> str:
    name = question.query[f"{kind}Name"]
    known: Any = account.users if kind == "User" else account.roles
    if name not in known:
        raise Refusal(404, f"EntityNotExist.{kind}", f"The {kind.lower()} does not exist.")
    return name


@ram
def get_user(account: FakeAccount, question: Question) -> Any:
    return {"User": {"UserName": _named(account, question, "User")}}


@ram
def list_access_keys(account: FakeAccount, question: Question) -> Any:
    return {"AccessKeys": {"AccessKey": account.users[_named(account, question, "User")]}}


@ram
def list_policies_for_user(account: FakeAccount, question: Question) -> Any:
    return _policies(account, _named(account, question, "User"))


@ram
def list_policies_for_role(account: FakeAccount, question: Question) -> Any:
    return _policies(account, _named(account, question, "Role"))


def _policies(account: FakeAccount, name: str) -> Any:
    return {"Policies": {"Policy": [{"PolicyName": p, "PolicyType": "Custom"} for p in account.attached.get(name, [])]}}


@ram
def get_role(account: FakeAccount, question: Question) -> Any:
    return {"Role": account.roles[_named(account, question, "Role")]}


@ram
def get_policy(account: FakeAccount, question: Question) -> Any:
    name = question.query["PolicyName"]
    if name not in account.policies:
        raise Refusal(404, "EntityNotExist.Policy", "The policy does not exist.")
    document = json.dumps(account.policies[name])
    return {"Policy": {"PolicyName": name}, "DefaultPolicyVersion": {"PolicyDocument": document, "VersionId": "v1"}}


@sts
def get_caller_identity(account: FakeAccount, question: Question) -> Any:
    return {"AccountId": "1234567890123456", "Arn": account.caller, "IdentityType": "RAMUser", "UserId": "2"}
