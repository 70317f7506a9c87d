"""Where access comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.cluster.controlplane.certificates import Authority
from wattkeeper.cluster.credentials import Access, ServiceAccountCredentials
from wattkeeper.cluster.errors import ClusterError
from wattkeeper.cluster.kubeconfig import KubeconfigCredentials

ENVIRONMENT = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "ca.crt").write_bytes(Authority(tmp_path / "made").certificate.read_bytes())
    return tmp_path


async def test_a_rotated_service_account_token_is_taken_up_with_the_next_request(folder: Path) -> None:
    credentials = ServiceAccountCredentials(folder=folder, environment=ENVIRONMENT)
    first = await credentials.access()
    assert (first.server, first.authorization) == ("https://10.0.0.1:443", "Bearer first")
    (folder / "token").write_text("second")
    second = await credentials.access()
    assert second.authorization == "Bearer second"
    assert second.tls is first.tls


async def test_a_refusal_reads_the_certificate_authority_again(folder: Path) -> None:
    credentials = ServiceAccountCredentials(folder=folder, environment=ENVIRONMENT)
    first = await credentials.access()
    assert (await credentials.renew(first)).tls is not first.tls


async def test_an_ipv6_address_is_bracketed(folder: Path) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    access = await ServiceAccountCredentials(folder=folder, environment=environment).access()
    assert access.server == "https://[fd00::1]:6443"


async def test_what_is_missing_is_named_with_what_to_do(folder: Path) -> None:
    with pytest.raises(ClusterError, match="give a kubeconfig"):
        await ServiceAccountCredentials(folder=folder, environment={}).access()
    (folder / "token").unlink()
    credentials = ServiceAccountCredentials(folder=folder, environment=ENVIRONMENT)
    assert not credentials.present()
    with pytest.raises(ClusterError, match="automountServiceAccountToken"):
        await credentials.access()


def test_the_token_is_not_printed() -> None:
    assert "secret" not in repr(Access(server="https://s", authorization="Bearer secret"))


def kubeconfig(file: Path, server: str, user: dict[str, object]) -> Path:
    text = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, "proxy-url": "http://proxy:3128"}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [
            {"name": "one", "context": {"cluster": "c", "user": "u"}},
            {"name": "anonymous", "context": {"cluster": "c"}},
        ],
        "current-context": "one",
    }
    file.write_text(yaml.safe_dump(text))
    return file


async def test_a_kubeconfig_gives_server_token_and_proxy(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "config", "http://api:8080/", {"token": "t"})
    access = await KubeconfigCredentials(file=file).access()
    assert (access.server, access.tls, access.authorization) == ("http://api:8080", None, "Bearer t")
    assert access.proxy == "http://proxy:3128"
    anonymous = await KubeconfigCredentials(file=file, context="anonymous").access()
    assert anonymous.authorization is None


async def test_a_kubeconfig_is_loaded_again_once_after_a_refusal(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "config", "http://api", {"token": "first"})
    credentials = KubeconfigCredentials(file=file)
    first = await credentials.access()
    kubeconfig(file, "http://api", {"token": "second"})
    assert (await credentials.access()) is first
    second = await credentials.renew(first)
    assert second.authorization == "Bearer second"
    assert (await credentials.renew(first)) is second


async def test_a_kubeconfig_of_https_brings_tls(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "config", "https://api:6443", {"username": "u", "password": "p"})
    access = await KubeconfigCredentials(file=file).access()
    assert access.tls is not None
    assert access.authorization == "Basic dTpw"


@pytest.mark.parametrize("text", ["", "a: [", "clusters: 3", "current-context: none\ncontexts: []"])
async def test_a_broken_kubeconfig_is_a_cluster_error_that_names_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(ClusterError, match=str(file)):
        await KubeconfigCredentials(file=file).access()


async def test_a_missing_kubeconfig_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="set KUBECONFIG"):
        await KubeconfigCredentials(file=tmp_path / "none").access()
