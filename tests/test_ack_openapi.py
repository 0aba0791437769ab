"""Alibaba's OpenAPI by the official SDK: what is believed, what is repeated, what is refused."""

from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi.account import CLUSTER, NAT, REGION, VPC
from openapi.clients import api_of
from openapi.server import KEY, SECRET, FakeOpenApi, Fault

from fixtures.ack.access import credential
from fixtures.ack.account import Account
from fixtures.ack.answers import proven
from fixtures.ack.calls import CALLS
from fixtures.ack.errors import DeniedError, MalformedError, MissingError, OpenApiError
from fixtures.ack.infrastructure import outcomes
from fixtures.ack.openapi import AT_ONCE, ATTEMPTS, OpenApi
from fixtures.ack.outcomes import Expected
from fixtures.ack.sdk import Sender, endpoint_of, endpoints_said
from fixtures.errors import HarnessError
from fixtures.record import Record

pytest_plugins = ["openapi.fixtures"]


def test_what_the_account_holds_comes_as_it_is(fake: FakeOpenApi) -> None:
    api = api_of(fake)
    assert api.call("DescribeClusterDetail", ClusterId=CLUSTER) == fake.account.cluster
    assert api.call("DescribeClusterResources", ClusterId=CLUSTER) == fake.account.resources
    assert api.listed("DescribeNatGateways", VpcId=VPC) == fake.account.nats
    assert [one.status for one in fake.asked] == [200, 200, 200]


def test_pages_make_a_whole(fake: FakeOpenApi) -> None:
    for _ in range(245):
        fake.account.add_node()
    api = api_of(fake)
    assert len(api.listed("DescribeClusterNodes", ClusterId=CLUSTER)) == 250
    routes = api.listed("DescribeRouteEntryList", RouteTableId="vtb-1")
    assert len({route["DestinationCidrBlock"] for route in routes}) == 250
    assert fake.count("DescribeClusterNodes") == fake.count("DescribeRouteEntryList") == 3


def test_a_page_that_is_missing_is_no_end(fake: FakeOpenApi, monkeypatch: pytest.MonkeyPatch) -> None:
    api = api_of(fake)
    fewer = {"RequestId": "r", "TotalCount": 3, "NatGateways": {"NatGateway": []}}
    monkeypatch.setattr(api, "send", lambda *_: json.dumps(fewer).encode())
    with pytest.raises(MalformedError, match="there are 3, and gave 0"):
        api.listed("DescribeNatGateways", VpcId=VPC)
    circle = {"RequestId": "r", "NextToken": "1", "RouteEntrys": {"RouteEntry": []}}
    monkeypatch.setattr(api, "send", lambda *_: json.dumps(circle).encode())
    with pytest.raises(MalformedError, match="in a circle"):
        api.listed("DescribeRouteEntryList", RouteTableId="vtb-1")


@pytest.mark.parametrize("what", ["empty", "null", "list", "half", "no-id"])
@pytest.mark.parametrize("action", ["DescribeClusterDetail", "DescribeClusterResources", "DescribeNatGateways"])
def test_an_answer_that_does_not_prove_itself_is_an_error(fake: FakeOpenApi, what: str, action: str) -> None:
    fake.faults.append(Fault(what))
    api = api_of(fake)
    parameters = {"VpcId": VPC} if action == "DescribeNatGateways" else {"ClusterId": CLUSTER}
    with pytest.raises(MalformedError, match="not to be believed"):
        api.call(action, **parameters)
    assert len(fake.asked) == 1


def test_an_answer_about_another_cluster_is_an_error(fake: FakeOpenApi) -> None:
    fake.account.cluster["cluster_id"] = "c-other"
    with pytest.raises(MalformedError, match="about the cluster_id 'c-other'"):
        api_of(fake).call("DescribeClusterDetail", ClusterId=CLUSTER)


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["RequestId", "cluster_id", "nodes", "page", "a"]), inner, max_size=4)
        ),
        max_leaves=12,
    ),
    st.sampled_from(sorted(CALLS)),
)
def test_whatever_comes_is_proven_or_refused(body: Any, action: str) -> None:
    proof = CALLS[action].proof
    try:
        assert proven(action, body, proof, {"cluster_id": "c"}) is body
    except MalformedError:
        return
    if proof == ("[]",):
        assert body
        assert all(entry["cluster_id"] == "c" for entry in body)
    else:
        assert all(body[key] not in (None, "") for key in proof)


@pytest.mark.parametrize(
    ("what", "reason", "pause"),
    [
        ("throttled", "Throttling.User", 0.04),
        ("throttled-quietly", "Throttling.User", None),
        ("error", "InternalError", None),
        ("page", "a page instead of JSON", None),
        ("reset", "RetryError", None),
    ],
)
def test_what_the_cloud_asks_for_is_repeated_and_on_record(
    fake: FakeOpenApi, what: str, reason: str, pause: float | None
) -> None:
    fake.faults.append(Fault(what, times=2))
    record = Record()
    assert api_of(fake, record).call("DescribeClusterDetail", ClusterId=CLUSTER)
    assert [retry.reason for retry in record.retries] == [reason, reason]
    assert {retry.what for retry in record.retries} == {f"DescribeClusterDetail ({CLUSTER})"}
    assert pause is None or {retry.pause for retry in record.retries} == {pause}
    nonces = [one.attempt for one in fake.asked]
    assert len(set(nonces)) == len(nonces) == 3


def test_repetition_has_an_end(fake: FakeOpenApi) -> None:
    fake.faults.append(Fault("error"))
    with pytest.raises(OpenApiError, match="InternalError") as caught:
        api_of(fake).call("DescribeClusterDetail", ClusterId=CLUSTER)
    assert (caught.value.status, len(fake.asked)) == (500, ATTEMPTS)


def test_a_refusal_is_never_repeated_and_names_the_permission(fake: FakeOpenApi) -> None:
    fake.allowed = ["cs:*"]
    with pytest.raises(DeniedError) as caught:
        api_of(fake).listed("DescribeNatGateways", VpcId=VPC)
    assert caught.value.permission == "vpc:DescribeNatGateways"
    assert "vpc:DescribeNatGateways" in caught.value.cause
    assert "vpc:DescribeNatGateways" in caught.value.remedy
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    ("action", "parameters", "code"),
    [
        ("GetRole", {"RoleName": "nobody"}, "EntityNotExist.Role"),
        ("DescribeClusterDetail", {"ClusterId": "c-none"}, "ErrorClusterNotFound"),
    ],
)
def test_what_is_not_there_is_told_apart(fake: FakeOpenApi, action: str, parameters: dict[str, str], code: str) -> None:
    with pytest.raises(MissingError) as caught:
        api_of(fake).call(action, **parameters)
    assert caught.value.code == code
    assert len(fake.asked) == 1


def test_a_page_that_says_no_is_not_repeated(fake: FakeOpenApi) -> None:
    fake.faults.append(Fault("forbidden-page"))
    with pytest.raises(OpenApiError, match="not the OpenAPI"):
        api_of(fake).call("DescribeClusterDetail", ClusterId=CLUSTER)
    assert len(fake.asked) == 1


def test_silence_has_a_deadline(fake: FakeOpenApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.ack.sdk.READ_MILLISECONDS", 100)
    fake.faults.append(Fault("silence"))
    began = time.monotonic()
    with pytest.raises(OpenApiError, match=r"was not answered: .*timed out"):
        api_of(fake).call("DescribeClusterDetail", ClusterId=CLUSTER)
    assert time.monotonic() - began < 30


def test_nobody_answers(fake: FakeOpenApi) -> None:
    fake.address = "127.0.0.1:1"
    with pytest.raises(OpenApiError, match="was not answered"):
        api_of(fake).call("DescribeClusterDetail", ClusterId=CLUSTER)


@pytest.mark.parametrize(
    ("key", "secret", "code"),
    [(KEY, "wrong", "SignatureDoesNotMatch"), ("LTAIsomebodyelse00000", SECRET, "InvalidAccessKeyId.NotFound")],
)
def test_the_fake_refuses_a_wrong_key(fake: FakeOpenApi, key: str, secret: str, code: str) -> None:
    with pytest.raises(OpenApiError) as caught:
        api_of(fake, key=key, secret=secret).call("DescribeClusterDetail", ClusterId=CLUSTER)
    assert caught.value.code == code
    assert not isinstance(caught.value, MissingError | DeniedError)
    assert secret not in str(caught.value)
    assert len(fake.asked) == 1


def test_the_fake_refuses_a_stale_date(fake: FakeOpenApi, monkeypatch: pytest.MonkeyPatch) -> None:
    from alibabacloud_tea_openapi.utils import Utils  # noqa: PLC0415 - the SDK is optional

    monkeypatch.setattr(Utils, "get_timestamp", staticmethod(lambda: "2026-01-01T00:00:00Z"))
    with pytest.raises(OpenApiError) as caught:
        api_of(fake).call("DescribeClusterDetail", ClusterId=CLUSTER)
    assert caught.value.code == "InvalidTimeStamp.Expired"


def test_the_fake_refuses_a_replay(fake: FakeOpenApi, monkeypatch: pytest.MonkeyPatch) -> None:
    from alibabacloud_tea_openapi.utils import Utils  # noqa: PLC0415 - the SDK is optional

    monkeypatch.setattr(Utils, "get_nonce", staticmethod(lambda: "0" * 32))
    api = api_of(fake)
    assert api.call("DescribeClusterDetail", ClusterId=CLUSTER)
    with pytest.raises(OpenApiError) as caught:
        api.call("DescribeClusterDetail", ClusterId=CLUSTER)
    assert caught.value.code == "SignatureNonceUsed"


def test_the_fake_refuses_what_is_not_signed(fake: FakeOpenApi) -> None:
    headers = {"x-acs-action": "DescribeClusterDetail", "x-acs-version": "2015-12-15"}
    unsigned = urllib3.request("GET", f"http://{fake.address}/clusters/{CLUSTER}", headers=headers)
    assert (unsigned.status, unsigned.json()["code"]) == (400, "MissingAuthorization")
    signed = dict.fromkeys(("host", "x-acs-date", "x-acs-signature-nonce"), "x")
    headers |= signed | {"x-acs-content-sha256": hashlib.sha256(b"").hexdigest()}
    headers["authorization"] = f"ACS3-HMAC-SHA256 Credential={KEY},SignedHeaders=host,Signature={64 * '0'}"
    partly = urllib3.request("GET", f"http://{fake.address}/clusters/{CLUSTER}", headers=headers)
    assert partly.json()["code"] == "IncompleteSignature"


def test_calls_at_once_are_bounded(fake: FakeOpenApi) -> None:
    fake.latency = 0.02
    api = api_of(fake)
    with ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda _: api.call("DescribeClusterDetail", ClusterId=CLUSTER), range(96)))
    assert 1 < fake.busiest <= AT_ONCE


def test_endpoints() -> None:
    assert endpoint_of("cs", "cn-shanghai", {}) == "cs.cn-shanghai.aliyuncs.com"
    assert endpoint_of("ecs", "cn-hangzhou", {}) == "ecs-cn-hangzhou.aliyuncs.com"
    assert endpoint_of("slb", "cn-shanghai", {}) == "slb.aliyuncs.com"
    assert endpoint_of("slb", "cn-wulanchabu", {}) == "slb.cn-wulanchabu.aliyuncs.com"
    assert endpoint_of("ram", "ap-northeast-2", {}) == "ram.aliyuncs.com"
    said = endpoints_said("10.0.0.1:80, ecs=ecs-vpc.cn-shanghai.aliyuncs.com")
    assert endpoint_of("vpc", "cn-shanghai", said) == "10.0.0.1:80"
    assert endpoint_of("ecs", "cn-shanghai", said) == "ecs-vpc.cn-shanghai.aliyuncs.com"
    for wrong in ("https://cs.aliyuncs.com", "nas=nas.aliyuncs.com", "ecs="):
        with pytest.raises(ValueError, match="not HOST or PRODUCT=HOST"):
            endpoints_said(wrong)


@pytest.mark.parametrize("said", [{}, {"": "10.0.0.1:80"}, {"ecs": "127.0.0.1:80"}, {"": "127.0.0.1:1", "cs": "h:1"}])
def test_credentials_never_leave_the_machine_unencrypted(said: dict[str, str]) -> None:
    with pytest.raises(HarnessError, match="unencrypted"):
        Sender(REGION, None, said, "http")


def test_a_nat_gateway_s_rules_are_asked_for_by_its_id(fake: FakeOpenApi) -> None:
    assert api_of(fake).listed("DescribeSnatTableEntries", NatGatewayId=NAT) == fake.account.snats
    assert fake.asked[-1].query["RegionId"] == REGION


def test_without_an_endpoint_of_ours_alibaba_s_own_is_asked_and_the_guard_sees_it(alone: list[str]) -> None:
    keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": KEY, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": SECRET}
    sender = Sender(REGION, credential(keys, Path("/nonexistent")).client, {}, "https")
    with pytest.raises(OpenApiError, match="was not answered"):
        OpenApi(REGION, sender, Record(), attempts=1).call("DescribeClusterDetail", ClusterId=CLUSTER)
    assert set(alone) == {"cs.cn-shanghai.aliyuncs.com"}
    alone.clear()  # it was to be tried, and the guard held


def test_all_that_the_rows_ask_stays_on_this_machine(fake: FakeOpenApi, alone: list[str]) -> None:
    outcomes(Account(api_of(fake), CLUSTER), Expected())
    assert len(fake.asked) > 20
    assert alone == []
