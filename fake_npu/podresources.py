"""The kubelet's own account of which container holds which device, for `npuctl podresources`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from fake_npu.api import podresources_pb2 as pb
from fake_npu.api.podresources_pb2_grpc import PodResourcesListerStub

DEADLINE = 10.0
"""Seconds for one call."""


def shown(socket: Path, pod: str | None = None, times: int = 1) -> int:
    """Print what the kubelet at `socket` says, as JSON.

    `{"pods": List, "allocatable": GetAllocatableResources}`; for one pod, `{"pod": Get}`; either with
    `"refused": {"RESOURCE_EXHAUSTED ...": 3}`, how often it refused and why, when it is asked more than once.

    Args:
        socket: of the kubelet.
        pod: `NAMESPACE/NAME` of the only pod to ask for, by the call Get.
        times: how often to ask, without a pause.

    Returns:
        0; 2 when the kubelet does not answer, or refuses each time.
    """
    refused: Counter[str] = Counter()
    answer: dict[str, Any] = {}
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        kubelet = PodResourcesListerStub(channel)
        for _ in range(times):
            try:
                answer = _answers(kubelet, pod)
            except grpc.RpcError as error:
                refused[" ".join(f"{error.code().name} {error.details()}".split())] += 1
    if not answer:
        print(f"npuctl: no kubelet answers at {socket}: {', '.join(refused)}", file=sys.stderr)
        return 2
    print(json.dumps(answer | ({"refused": refused} if times > 1 else {})))
    return 0


def _answers(kubelet: PodResourcesListerStub, pod: str | None) -> dict[str, Any]:
    if pod is not None:
        namespace, _, name = pod.partition("/")
        request = pb.GetPodResourcesRequest(pod_name=name, pod_namespace=namespace)
        return {"pod": _plain(kubelet.Get(request, timeout=DEADLINE))}
    return {
        "pods": _plain(kubelet.List(pb.ListPodResourcesRequest(), timeout=DEADLINE)),
        "allocatable": _plain(kubelet.GetAllocatableResources(pb.AllocatableResourcesRequest(), timeout=DEADLINE)),
    }


def _plain(message: Message) -> Any:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)
