"""Images of a private registry: who has its password gets them, and nobody else.

Each image is asked for under a tag of its own, so that the registry's own log tells the pods apart: what the kubelet
says of a pull is held against what the registry answered. The explanations are containerd's, seen with 2.3.4.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import pytest

from fixtures.apipaths import path_of
from fixtures.checks import check
from fixtures.client import Object
from fixtures.clusterevidence import evidence_of
from fixtures.describe import summary
from fixtures.documented import NAME, PULL_SECRET, manifest
from fixtures.errors import HarnessError
from fixtures.options import Settings
from fixtures.podlog import OWN_IMAGE
from fixtures.pods import ended, pulled_in_vain
from fixtures.pulls import had_its_image, pulling_pod, refused, waiting
from fixtures.registry import Registry, pull_secret
from fixtures.session import SECRETS
from fixtures.targets import Cluster
from fixtures.targets.npus import WORKERS
from fixtures.upstream import is_within
from fixtures.wait import WaitFailed, WaitTimeout, wait_for

NO_CREDENTIALS = "pull access denied, repository does not exist or may require authorization: authorization failed"
WRONG_CREDENTIALS = ": 401 Unauthorized"
PRINT_ALL = """
printenv NOTE
cat /secret/.dockerconfigjson
for blanks in '' ' ' '  '; do echo; sed "s/:/:$blanks/" /secret/.dockerconfigjson | base64 -w 0; done
exit 1
"""
"""What a pod can do with the secret that it pulls with; in base64, the password begins at each of three places."""
PULL_SECONDS = 60.0
"""For an image of 175 MB, of which a node of ours has all layers but the last, and for a container of it to end."""
BACK_OFF_SECONDS = 60.0
"""The kubelet tries again within about ten seconds, and only then says that it waits."""


@check(
    "pull-with-regsecret",
    profile="conformance",
    needs=["registry"],
    source="document",
    defects=["secret-ignored"],
    verbs=["pods: create delete get list watch", "secrets: create"],
)
@pytest.mark.usefixtures("npu_anywhere")
def test_regsecret_pulls_from_its_registry(
    cluster: Cluster, namespace: str, registry: Registry, settings: Settings
) -> None:
    """The documented pod pulls its image from a private registry with regsecret, and runs to Completed."""
    _add_secret(cluster, namespace, registry)
    pod = manifest(registry.image("document"), settings.resource)
    pod["metadata"]["annotations"] = {OWN_IMAGE: "true"}
    cluster.client.create(path_of("Pod", namespace), pod)
    path = path_of("Pod", namespace, NAME)
    end = wait_for(cluster.client, f"{NAME} to end", path, ended, timeout=settings.pod_timeout, failed=pulled_in_vain())
    assert end["status"]["phase"] == "Succeeded", summary(end)
    (status,) = end["status"]["containerStatuses"]
    assert status["state"]["terminated"]["reason"] == "Completed"
    assert status["imageID"].endswith(f"@{registry.digest}"), f"It ran {status['imageID']}, not {registry.digest}."
    answers = registry.answers("document")
    assert answers[0] == 401, f"The registry wanted no password; it answered {answers}."
    assert answers[-1] == 200, f"The registry never gave the image; it answered {answers}."


@check(
    "pull-without-secret",
    profile="conformance",
    needs=["registry"],
    source="k8s 1.37.2 pkg/kubelet/images/image_manager.go",
    defects=["secret-ignored"],
    verbs=["nodes: list", "pods: create get list watch", "pods/log: get", "secrets: create"],
)
def test_no_secret_no_image(cluster: Cluster, namespace: str, registry: Registry) -> None:
    """A pod without a pull secret gets no image of a private registry, is told why, and is made to wait."""
    node = _add_secret(cluster, namespace, registry)
    _pull(cluster, namespace, registry, "without-control", node, secret=PULL_SECRET)
    _pull(cluster, namespace, registry, "without", node)
    _has_pulled(cluster, namespace, registry, "without-control")
    reason, message = _is_refused(cluster, namespace, registry, "without")
    assert NO_CREDENTIALS in message, f"{reason}: {message}"
    path = path_of("Pod", namespace, "without")
    backing_off = wait_for(cluster.client, "the kubelet to wait", path,
                           lambda pod: waiting(pod)[0] == "ImagePullBackOff", timeout=BACK_OFF_SECONDS,
                           failed=had_its_image)  # fmt: skip
    message = waiting(backing_off)[1]
    assert message.startswith("Back-off pulling image "), message
    assert NO_CREDENTIALS in message, message


@check(
    "pull-wrong-password",
    profile="conformance",
    needs=["registry"],
    source="k8s 1.37.2 pkg/kubelet/images/image_manager.go",
    defects=["secret-ignored"],
    verbs=["nodes: list", "pods: create get list watch", "pods/log: get", "secrets: create"],
)
def test_wrong_password_no_image(cluster: Cluster, namespace: str, registry: Registry) -> None:
    """A pod whose pull secret has a wrong password gets no image, and is told that the registry refused it."""
    node = _add_secret(cluster, namespace, registry)
    _add_secret(cluster, namespace, registry, "wrong", password=f"{registry.username}-has-another")
    _pull(cluster, namespace, registry, "wrong-control", node, secret=PULL_SECRET)
    _pull(cluster, namespace, registry, "wrong", node, secret="wrong")
    _has_pulled(cluster, namespace, registry, "wrong-control")
    reason, message = _is_refused(cluster, namespace, registry, "wrong")
    assert message.endswith(WRONG_CREDENTIALS), f"{reason}: {message}"


@check(
    "pull-other-registry-secret",
    profile="conformance",
    needs=["registry"],
    source="k8s 1.37.2 pkg/credentialprovider/keyring.go",
    defects=["secret-ignored"],
    verbs=["nodes: list", "pods: create get list watch", "pods/log: get", "secrets: create"],
)
def test_secret_of_another_registry_no_image(cluster: Cluster, namespace: str, registry: Registry) -> None:
    """A pod whose pull secret is for another registry gets no image: its password is not given to this one."""
    node = _add_secret(cluster, namespace, registry)
    _add_secret(cluster, namespace, registry, "other", host="registry.example:5000")
    _pull(cluster, namespace, registry, "other-control", node, secret=PULL_SECRET)
    _pull(cluster, namespace, registry, "other", node, secret="other")
    _has_pulled(cluster, namespace, registry, "other-control")
    reason, message = _is_refused(cluster, namespace, registry, "other")
    # the right password for the wrong registry: had it been sent, it would have been let in
    assert NO_CREDENTIALS in message, f"{reason}: {message}"


@check(
    "pull-secret-on-service-account",
    profile="conformance",
    needs=["registry"],
    source="k8s 1.37.2 plugin/pkg/admission/serviceaccount/admission.go",
    defects=["account-secret-forgotten", "secret-ignored"],
    verbs=[
        "nodes: list",
        "pods: create get list watch",
        "pods/log: get",
        "secrets: create",
        "serviceaccounts: create",
    ],
)
def test_secret_on_the_service_account(cluster: Cluster, namespace: str, registry: Registry) -> None:
    """A pod gets the pull secret of its service account, and one of an account without a secret gets no image."""
    node = _add_secret(cluster, namespace, registry)
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "trainer", "namespace": namespace},
        "imagePullSecrets": [{"name": PULL_SECRET}],
    }
    cluster.client.create(path_of("ServiceAccount", namespace), account)
    pod = _pull(cluster, namespace, registry, "account", node, account="trainer")
    assert pod["spec"].get("imagePullSecrets") == account["imagePullSecrets"]
    _pull(cluster, namespace, registry, "account-default", node)
    end = _ended(cluster, namespace, "account")
    assert end["status"]["phase"] == "Succeeded", summary(end)
    assert _log(cluster, namespace, "account") == registry.mark
    reason, message = _is_refused(cluster, namespace, registry, "account-default")
    assert NO_CREDENTIALS in message, f"{reason}: {message}"


@check(
    "pull-present-image-without-secret",
    level="should",
    profile="conformance",
    needs=["registry"],
    source="k8s 1.37.2 pkg/kubelet/images/pullmanager/image_pull_manager.go",
    defects=["secret-ignored"],
    verbs=["nodes: get list", "pods: create get list watch", "pods/log: get", "secrets: create"],
)
def test_pulled_image_is_not_for_everyone(cluster: Cluster, namespace: str, registry: Registry) -> None:
    """An image that one pod's secret brought to a node is not given to a pod without it (IfNotPresent).

    From Kubernetes 1.35 on (gate KubeletEnsureSecretPulledImages); an administrator may set
    `imagePullCredentialsVerificationPolicy: NeverVerify`, and before 1.35 whoever knew the name got the image.
    """
    node = _add_secret(cluster, namespace, registry)
    kubelet = cluster.client.get(path_of("Node", None, node))["status"]["nodeInfo"]["kubeletVersion"]
    if not is_within(kubelet, "1.35.."):
        pytest.skip(f"the kubelet {kubelet} does not tell who may use an image that is there")
    image = registry.image("present")
    _create(cluster, namespace, "present-control", node, image, policy="IfNotPresent", secret=PULL_SECRET)
    _has_pulled(cluster, namespace, registry, "present-control")
    _create(cluster, namespace, "present", node, image, policy="IfNotPresent")
    wait_for(cluster.client, "the image to be refused", path_of("Pod", namespace, "present"), refused,
             timeout=PULL_SECONDS, failed=had_its_image)  # fmt: skip


@check(
    "pull-credentials-not-kept",
    profile="conformance",
    needs=["registry"],
    source="document",
    defects=["credentials-kept"],
    verbs=["events: list", "nodes: get list", "pods: create get list watch", "pods/log: get", "secrets: create"],
)
def test_credentials_are_in_no_evidence(
    cluster: Cluster, namespace: str, registry: Registry, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The registry's password is in nothing that is kept of a pod which failed, though the pod itself printed it."""
    node = _add_secret(cluster, namespace, registry)
    pod = pulling_pod("leaks", namespace, node=node, image=registry.image("leaks"), secret=PULL_SECRET)
    pod["metadata"]["annotations"] = {"note": registry.password}
    pod["spec"]["volumes"] = [{"name": "secret", "secret": {"secretName": PULL_SECRET}}]
    (container,) = pod["spec"]["containers"]
    container["volumeMounts"] = [{"name": "secret", "mountPath": "/secret"}]
    container["env"] = [{"name": "NOTE", "value": registry.password}]
    container["command"] = ["sh", "-c", PRINT_ALL]
    cluster.client.create(path_of("Pod", namespace), pod)
    end = _ended(cluster, namespace, "leaks")
    assert end["status"]["phase"] == "Failed", summary(end)
    auth = base64.b64encode(f"{registry.username}:{registry.password}".encode()).decode()
    printed = cluster.kubectl.run("logs", "leaks", "--namespace", namespace)
    if registry.password not in printed or auth not in printed:
        raise HarnessError("The pod did not print its secret, so nothing is proven.", "See the pod's log.")
    known = request.config.stash[SECRETS]
    names = evidence_of(cluster, namespace, known)("pull-credentials-not-kept", tmp_path)
    assert {"pod-leaks.yaml", "pod-leaks.reader.log", "events.txt"} <= set(names), names
    for name in names:
        kept = (tmp_path / name).read_text()
        held = sum(form in kept for form in _forms(registry.password, auth))  # a number: a failure shows it
        assert held == 0, f"{name} holds the password in {held} of its forms."


def _forms(password: str, auth: str) -> Sequence[str]:
    """The password, and what goes to the registry, as they are and as they stand inside of something in base64."""
    inside = [
        base64.b64encode(b"\0" * shift + text.encode()).decode()[4:-4]
        for text in (password, auth)
        for shift in range(3)
    ]
    return [password, auth.rstrip("="), *inside]


def _add_secret(
    cluster: Cluster, namespace: str, registry: Registry, name: str = PULL_SECRET, *, host: str = "", password: str = ""
) -> str:
    """Add a pull secret, the right one unless it is told otherwise; the node to pull on: of all pods of a check."""
    secret = pull_secret(
        name,
        namespace,
        host=host or registry.host,
        username=registry.username,
        password=password or registry.password,
    )
    cluster.client.create(path_of("Secret", namespace), secret)
    return str(min(node["metadata"]["name"] for node in cluster.client.items(path_of("Node"), labels=WORKERS)))


def _pull(
    cluster: Cluster, namespace: str, registry: Registry, name: str, node: str, *, secret: str = "", account: str = ""
) -> Object:
    """Let a pod pull the image whose tag is its own name."""
    return _create(cluster, namespace, name, node, registry.image(name), secret=secret, account=account)


def _create(cluster: Cluster, namespace: str, name: str, node: str, image: str, **how: str) -> Object:
    pod = pulling_pod(name, namespace, node=node, image=image, **how)
    return cluster.client.create(path_of("Pod", namespace), pod)


def _ended(cluster: Cluster, namespace: str, name: str) -> Object:
    path = path_of("Pod", namespace, name)
    return wait_for(cluster.client, f"{name} to end", path, ended, timeout=PULL_SECONDS, failed=pulled_in_vain())


def _log(cluster: Cluster, namespace: str, name: str) -> str:
    return cluster.kubectl.run("logs", name, "--namespace", namespace).strip()


def _has_pulled(cluster: Cluster, namespace: str, registry: Registry, name: str) -> None:
    """The control: with the right secret this node gets the image; without that, a refusal proves nothing.

    Raises:
        HarnessError: it does not, so the check has no answer.
    """
    remedy = "See what the check pull-with-regsecret says: the node must be able to pull at all."
    try:
        end = _ended(cluster, namespace, name)
    except (WaitFailed, WaitTimeout) as error:
        raise HarnessError(f"The pod that must get the image did not, so nothing is proven. {error}", remedy) from error
    if end["status"]["phase"] != "Succeeded" or _log(cluster, namespace, name) != registry.mark:
        raise HarnessError(f"The pod that must get the image ran another one. {summary(end)}", remedy)


def _is_refused(cluster: Cluster, namespace: str, registry: Registry, name: str) -> tuple[str, str]:
    """The pod gets no image, by the kubelet's word and by the registry's; why, as the kubelet explains it."""
    path = path_of("Pod", namespace, name)
    pod = wait_for(cluster.client, "the image to be refused", path, refused, timeout=PULL_SECONDS, failed=had_its_image)
    answers = registry.answers(name)
    assert set(answers) == {401}, f"The registry answered {answers} when {name} was to be pulled."
    return waiting(pod)
