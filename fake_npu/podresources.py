"""The kubelet's own account of which container holds which device, for `npuctl podresources`."""

from __future__ import annotations

import sys
from pathlib import Path

import grpc
from google.protobuf import json_format

from fake_npu.api import podresources_pb2 as pb
from fake_npu.api.podresources_pb2_grpc import PodResourcesListerStub

DEADLINE = 10.0
"""Seconds for one call."""


def listed(socket: Path) -> int:
    """Print `{"pods": List, "allocatable": GetAllocatableResources}` of the kubelet at `socket`, as JSON.

    Returns:
        0; 2 when the kubelet does not answer.
    """
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        kubelet = PodResourcesListerStub(channel)
        try:
            pods = kubelet.List(pb.ListPodResourcesRequest(), timeout=DEADLINE)
            allocatable = kubelet.GetAllocatableResources(pb.AllocatableResourcesRequest(), timeout=DEADLINE)
        except grpc.RpcError as error:
            reason = " ".join(f"{error.code().name} {error.details()}".split())
            print(f"npuctl: no kubelet answers at {socket}: {reason}", file=sys.stderr)
            return 2
    shown = [json_format.MessageToJson(message, preserving_proto_field_name=True) for message in (pods, allocatable)]
    print(f'{{"pods": {shown[0]}, "allocatable": {shown[1]}}}')
    return 0
