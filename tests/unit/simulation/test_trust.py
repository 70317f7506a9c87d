"""Secrets and webhook configurations of the twin, held to what the API server does with them."""

from __future__ import annotations

import pytest

from wattkeeper.cluster.errors import ConflictError, NotFoundError
from wattkeeper.simulation.trust import TrustObjects

KIND = "MutatingWebhookConfiguration"


@pytest.fixture
def trust() -> TrustObjects:
    made = TrustObjects()
    made.put_secret("wk", "certificates", {"tls.crt": b"old", "gone": b"x"})
    made.put_webhooks(KIND, "wk", {"a.pods": b"", "b.pods": b"old"})
    return made


def test_writing_a_secret_replaces_all_its_values(trust: TrustObjects) -> None:
    trust.write_secret(trust.read_secret("wk", "certificates"), {"tls.crt": b"new"})
    assert trust.read_secret("wk", "certificates").data == {"tls.crt": b"new"}


def test_a_secret_that_somebody_else_wrote_is_left_alone(trust: TrustObjects) -> None:
    read = trust.read_secret("wk", "certificates")
    trust.put_secret("wk", "certificates", {})
    with pytest.raises(ConflictError):
        trust.write_secret(read, {"tls.crt": b"new"})


def test_bundles_are_written_as_they_were_read_or_not_at_all(trust: TrustObjects) -> None:
    read = trust.read_webhooks(KIND, "wk")
    trust.write_bundles(read, (b"new", b"other"))
    assert trust.read_webhooks(KIND, "wk").bundles == (b"new", b"other")
    with pytest.raises(ConflictError):
        trust.write_bundles(read, (b"", b""))


def test_what_is_not_there_is_said(trust: TrustObjects) -> None:
    trust.remove_secret("wk", "certificates")
    with pytest.raises(NotFoundError):
        trust.read_secret("wk", "certificates")
    with pytest.raises(NotFoundError):
        trust.read_webhooks("ValidatingWebhookConfiguration", "wk")
