"""A small model of an Alibaba Cloud account with one ACK cluster in it, as the OpenAPI would show it; it changes."""

from __future__ import annotations

import base64
import itertools
import json
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]

CLUSTER = "c0123456789abcdef0123456789abcdef"
REGION = "cn-shanghai"
VPC = "vpc-1"
GROUP = "sg-1"
NAT = "ngw-1"
EIP = "47.100.0.1"
NPU_TYPE = "ecs.ebman1.26xlarge"
CLOUD_INIT = base64.b64encode(b"#!/bin/sh\ncurl -fsS https://example.invalid/attach | sh\n").decode()
DOCUMENTED_POLICY = {
    "Version": "1",
    "Statement": [
        {
            "Effect": "Allow",
            "Resource": ["*"],
            "Action": [
                *("ecs:Describe*", "ecs:CreateInstance", "ecs:RunInstances", "ecs:DeleteInstance*"),
                *("ecs:CreateDisk", "ecs:AttachDisk", "ecs:DetachDisk", "ecs:DeleteDisk"),
                *("slb:*", "cms:*", "vpc:*", "log:*", "nas:*"),
            ],
        }
    ],
}
MASTER_POLICY = {
    "Version": "1",
    "Statement": [
        {
            "Effect": "Allow",
            "Resource": "*",
            "Action": ["ecs:Describe*", "ecs:AttachDisk", "ecs:CreateDisk", "ecs:DetachDisk", "ecs:DeleteDisk"],
        },
        {"Effect": "Allow", "Resource": "*", "Action": ["slb:*", "cms:*", "vpc:*", "log:*", "cr:Get*"]},
    ],
}
WORKER_POLICY = {
    "Version": "1",
    "Statement": [
        {
            "Effect": "Allow",
            "Resource": "*",
            "Action": ["ecs:DescribeInstanceAttribute", "ecs:DescribeInstances", "cr:PullRepository"],
        }
    ],
}
TRUST = {"Statement": [{"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": ["ecs.aliyuncs.com"]}}]}


@dataclass
class FakeAccount:
    """What the account holds; every field is as an answer of the OpenAPI has it."""

    cluster: Object
    resources: list[Object]
    nodes: list[Object] = field(default_factory=list)
    pools: list[Object] = field(default_factory=list)
    instances: dict[str, Object] = field(default_factory=dict)
    user_data: dict[str, str] = field(default_factory=dict)
    key_pairs: list[str] = field(default_factory=lambda: ["kp-1"])
    groups: dict[str, Object] = field(default_factory=dict)
    vpcs: list[Object] = field(default_factory=list)
    vswitches: list[Object] = field(default_factory=list)
    route_tables: list[Object] = field(default_factory=list)
    routes: list[Object] = field(default_factory=list)
    nats: list[Object] = field(default_factory=list)
    snats: list[Object] = field(default_factory=list)
    eips: list[Object] = field(default_factory=list)
    balancers: dict[str, Object] = field(default_factory=dict)
    listeners: list[Object] = field(default_factory=list)
    users: dict[str, list[Object]] = field(default_factory=dict)
    roles: dict[str, Object] = field(default_factory=dict)
    attached: dict[str, list[str]] = field(default_factory=dict)
    policies: dict[str, Object] = field(default_factory=dict)
    tasks: dict[str, Object] = field(default_factory=dict)
    kubeconfig: str = "apiVersion: v1\nkind: Config\n"
    node_quota: int = 100
    stock: str = "WithStock"
    task_fails: str = ""
    task_polls: int = 2
    caller: str = "acs:ram::1234567890123456:user/tester"

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)

    def resource(self, kind: str) -> Object:
        return next(entry for entry in self.resources if entry["resource_type"].endswith(kind))

    def listener(self, balancer: str, port: int) -> Object:
        return next(e for e in self.listeners if (e["LoadBalancerId"], e["ListenerPort"]) == (balancer, port))

    @property
    def rules(self) -> list[Object]:
        rules: list[Object] = self.groups[GROUP]["Permissions"]
        return rules

    def add_node(self, kind: str = NPU_TYPE, *, role: str = "Worker", pool: str = "np-1") -> str:
        """A node with all that ACK makes for it; its instance's id."""
        number = next(self._numbers)
        name = f"i-{number}"
        ip = f"192.168.{number // 250}.{number % 250 + 1}"
        self.nodes.append(
            {
                "instance_id": name,
                "node_name": f"{REGION}.{ip}",
                "instance_type": kind,
                "instance_role": role,
                "instance_status": "Running",
                "node_status": "Ready",
                "state": "running",
                "nodepool_id": pool if role == "Worker" else "",
                "is_aliyun_node": True,
                "source": "ess_attach",
                "ip_address": [ip],
            }
        )
        self.instances[name] = {
            "InstanceId": name,
            "InstanceType": kind,
            "ImageId": "m-uf6fakefakefakefake1",
            "Status": "Running",
            "KeyPairName": "kp-1",
            "SecurityGroupIds": {"SecurityGroupId": [GROUP]},
            "VpcAttributes": {"VpcId": VPC, "VSwitchId": "vsw-1", "PrivateIpAddress": {"IpAddress": [ip]}},
        }
        self.user_data[name] = CLOUD_INIT
        hop = {"NextHopType": "Instance", "NextHopId": name}
        self.routes.append(
            {
                "RouteTableId": "vtb-1",
                "DestinationCidrBlock": f"172.20.{number}.0/24",
                "Status": "Available",
                "Type": "Custom",
                "NextHops": {"NextHop": [hop]},
            }
        )
        return name

    def scale(self, pool: str, desired: int) -> str:
        """Begin to bring a pool to a size; the task ends after `task_polls` questions."""
        task = f"T-{next(self._numbers)}"
        target = {"type": "nodepool", "id": pool}
        self.tasks[task] = {"state": "running", "polls": self.task_polls, "desired": desired, "target": target}
        return task

    def remove(self, pool: str, instances: list[str]) -> str:
        """Begin to take instances out of a pool; the pool's size follows."""
        here = [node["instance_id"] for node in self.nodes if node["nodepool_id"] == pool]
        task = self.scale(pool, len(set(here) - set(instances)))
        self.tasks[task]["gone"] = instances
        return task

    def task(self, task: str) -> Object:
        """What is known of a task; asking brings it on."""
        known = self.tasks[task]
        known["polls"] -= 1
        if known["polls"] <= 0 and known["state"] == "running":
            known["state"] = "fail" if self.task_fails else "success"
            if not self.task_fails:
                self._resize(known["target"]["id"], known["desired"], known.get("gone"))
        answer = {"task_id": task, "cluster_id": CLUSTER, "state": known["state"], "target": known["target"]}
        if known["state"] == "fail":
            answer["error"] = {"code": self.task_fails, "message": "The instances could not be made."}
        return answer

    def _resize(self, pool: str, desired: int, gone: list[str] | None = None) -> None:
        here = [node["instance_id"] for node in self.nodes if node["nodepool_id"] == pool]
        for _ in range(desired - len(here)):
            self.add_node(pool=pool)
        # Which one goes is ACK's choice, unless it is named: here the oldest, that somebody works on.
        for name in gone or here[: max(0, len(here) - desired)]:
            self.nodes = [node for node in self.nodes if node["instance_id"] != name]
            self.routes = [r for r in self.routes if r["NextHops"]["NextHop"][0]["NextHopId"] != name]
            del self.instances[name]
        found = next(entry for entry in self.pools if entry["nodepool_info"]["nodepool_id"] == pool)
        found["scaling_group"]["desired_size"] = desired
        found["status"]["total_nodes"] = found["status"]["serving_nodes"] = desired


def _resource(kind: str, name: str, *, made: bool = True) -> Object:
    return {
        "cluster_id": CLUSTER,
        "resource_type": kind,
        "instance_id": name,
        "auto_create": int(made),
        "creator_type": "system" if made else "user",
        "state": "CREATE_COMPLETE",
    }


def _network(account: FakeAccount) -> None:
    account.vpcs = [
        {"VpcId": VPC, "CidrBlock": "192.168.0.0/16", "Status": "Available", "SecondaryCidrBlocks": {}},
        {"VpcId": "vpc-other", "CidrBlock": "10.0.0.0/8", "Status": "Available", "SecondaryCidrBlocks": {}},
    ]
    account.vswitches = [
        {"VSwitchId": "vsw-1", "VpcId": VPC, "CidrBlock": "192.168.0.0/20", "Status": "Available"},
    ]
    account.route_tables = [{"RouteTableId": "vtb-1", "RouteTableType": "System", "VpcId": VPC}]
    account.nats = [
        {
            "NatGatewayId": NAT,
            "VpcId": VPC,
            "Status": "Available",
            "NetworkType": "internet",
            "SnatTableIds": {"SnatTableId": ["stb-1"]},
        }
    ]
    account.snats = [
        {"SnatTableId": "stb-1", "NatGatewayId": NAT, "SourceVSwitchId": "vsw-1", "SourceCIDR": "192.168.0.0/20",
         "SnatIp": EIP, "Status": "Available"},
    ]  # fmt: skip
    account.eips = [
        {"AllocationId": "eip-1", "IpAddress": EIP, "Status": "InUse", "InstanceType": "Nat", "InstanceId": NAT},
    ]
    account.groups[GROUP] = {
        "SecurityGroupId": GROUP,
        "VpcId": VPC,
        "Permissions": [
            {"Direction": "ingress", "IpProtocol": "ICMP", "Policy": "Accept", "SourceCidrIp": "0.0.0.0/0",
             "PortRange": "-1/-1", "Priority": "1", "NicType": "intranet"},
            {"Direction": "ingress", "IpProtocol": "ALL", "Policy": "Accept", "SourceCidrIp": "172.20.0.0/16",
             "PortRange": "-1/-1", "Priority": 1, "NicType": "intranet"},
        ],
    }  # fmt: skip


def _balancer(account: FakeAccount, name: str, kind: str, address: str, ports: tuple[int, ...]) -> None:
    account.balancers[name] = {
        "LoadBalancerId": name,
        "AddressType": kind,
        "Address": address,
        "LoadBalancerStatus": "active",
        "VpcId": VPC if kind == "intranet" else "",
    }
    account.listeners += [
        {"LoadBalancerId": name, "ListenerPort": port, "ListenerProtocol": "tcp", "Status": "running"} for port in ports
    ]


def _role(account: FakeAccount, name: str, policy: Object) -> None:
    account.roles[name] = {
        "RoleName": name,
        "Arn": f"acs:ram::1234567890123456:role/{name.lower()}",
        "AssumeRolePolicyDocument": json.dumps(TRUST),
    }
    account.attached[name] = [f"{name}-policy"]
    account.policies[f"{name}-policy"] = policy


def _pool() -> Object:
    return {
        "nodepool_info": {"nodepool_id": "np-1", "name": "npu", "type": "ess"},
        "scaling_group": {
            "instance_types": [NPU_TYPE],
            "desired_size": 2,
            "key_pair": "kp-1",
            "vswitch_ids": ["vsw-1"],
            "security_group_ids": [GROUP],
        },
        "auto_scaling": {"enable": False},
        "kubernetes_config": {"labels": [], "taints": []},
        "status": {"state": "active", "total_nodes": 2, "serving_nodes": 2},
    }


def dedicated_account() -> FakeAccount:
    """A dedicated cluster as the document has it: a RAM user, two SLB instances, SSH logon on, all made by ACK."""
    account = FakeAccount(
        cluster={
            "cluster_id": CLUSTER,
            "name": "npu",
            "cluster_type": "Kubernetes",
            "state": "running",
            "region_id": REGION,
            "current_version": "1.14.8-aliyun.1",
            "vpc_id": VPC,
            "vswitch_ids": ["vsw-1"],
            "security_group_id": GROUP,
            "container_cidr": "172.20.0.0/16",
            "worker_ram_role_name": "",
            "control_plane_config": {"key_pair": "kp-1"},
            "master_url": json.dumps(
                {
                    "api_server_endpoint": "https://47.100.0.9:6443",
                    "intranet_api_server_endpoint": "https://192.168.0.9:6443",
                }
            ),
            "meta_data": json.dumps({"Capabilities": {"Network": "Flannel", "PublicSLB": True}}),
            "parameters": {"SSHFlags": "True", "SNatEntry": "True", "Network": "Flannel"},
        },
        resources=[
            _resource("ALIYUN::ECS::VPC", VPC),
            _resource("ALIYUN::ECS::VSwitch", "vsw-1"),
            _resource("ALIYUN::ECS::SecurityGroup", GROUP),
            _resource("ALIYUN::ECS::NatGateway", NAT),
            _resource("ALIYUN::VPC::EIP", "eip-1"),
            _resource("ALIYUN::RAM::User", "k8s-user"),
            _resource("ALIYUN::SLB::LoadBalancer", "lb-in"),
            _resource("ALIYUN::SLB::LoadBalancer", "lb-out"),
        ],
    )
    _network(account)
    for _ in range(3):
        account.add_node("ecs.c5.xlarge", role="Master")
    for _ in range(2):
        account.add_node()
    account.pools = [_pool()]
    _balancer(account, "lb-in", "intranet", "192.168.0.9", (6443, 9443))
    _balancer(account, "lb-out", "internet", "47.100.0.9", (6443, 8443, 22))
    account.users["k8s-user"] = [{"AccessKeyId": "LTAIfake", "Status": "Active"}]
    account.attached["k8s-user"] = ["k8s-policy"]
    account.policies["k8s-policy"] = DOCUMENTED_POLICY
    return account


def role_account() -> FakeAccount:
    """A dedicated cluster of later years: roles in the place of the RAM user."""
    account = dedicated_account()
    account.resources.remove(account.resource("User"))
    account.users.clear()
    account.resources.append(_resource("ALIYUN::RAM::Role", "KubernetesMasterRole-1"))
    account.cluster["worker_ram_role_name"] = "KubernetesWorkerRole-1"
    _role(account, "KubernetesMasterRole-1", MASTER_POLICY)
    _role(account, "KubernetesWorkerRole-1", WORKER_POLICY)
    return account


def managed_account() -> FakeAccount:
    """A managed cluster of today: one private SLB with an EIP, a worker role."""
    account = FakeAccount(
        cluster={
            "cluster_id": CLUSTER,
            "name": "npu",
            "cluster_type": "ManagedKubernetes",
            "profile": "Default",
            "state": "running",
            "region_id": REGION,
            "current_version": "1.34.1-aliyun.1",
            "vpc_id": VPC,
            "vswitch_ids": ["vsw-1"],
            "security_group_id": GROUP,
            "container_cidr": "172.20.0.0/16",
            "worker_ram_role_name": "KubernetesWorkerRole-1",
            "control_plane_endpoints_config": {
                "load_balancers_config": [{"endpoint": "192.168.0.9:6443", "load_balancer_id": "lb-in"}]
            },
            "parameters": {"Network": "Flannel", "SNatEntry": "True"},
        },
        resources=[
            _resource("VPC", VPC),
            _resource("VSWITCH", "vsw-1"),
            _resource("ALIYUN::ECS::SecurityGroup", GROUP),
            _resource("ALIYUN::VPC::NatGateway", NAT),
            _resource("ALIYUN::VPC::EIP", "eip-1"),
            _resource("SLB", "lb-in"),
        ],
    )
    _network(account)
    for _ in range(2):
        account.add_node()
    account.pools = [_pool()]
    _balancer(account, "lb-in", "intranet", "192.168.0.9", (6443,))
    account.eips.append(
        {
            "AllocationId": "eip-2",
            "IpAddress": "47.100.0.9",
            "Status": "InUse",
            "InstanceType": "SlbInstance",
            "InstanceId": "lb-in",
        }
    )
    _role(account, "KubernetesWorkerRole-1", WORKER_POLICY)
    return account
