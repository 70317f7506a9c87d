"""The keeper issues, rotates, repairs and explains, one replica and several."""

from __future__ import annotations

import logging
import math

import pytest

from admission.certificate_authority import ends, make_authority, to_pem
from admission.certificate_rules import Lives
from tests.unit.admission.certificates import (
    DAY,
    HOST,
    LIVES,
    MUTATING,
    NAME,
    NOW,
    POLL,
    SECRET,
    SETTLE,
    SPACE,
    VALIDATING,
    CertificateCluster,
    Replica,
    SetClock,
    distrusted,
)


@pytest.fixture
def cluster() -> CertificateCluster:
    return CertificateCluster()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def replica(cluster: CertificateCluster, clock: SetClock) -> Replica:
    """One that has issued its first certificates."""
    made = Replica(cluster, clock)
    await made.keeper.round()
    return made


async def rounds(clock: SetClock, seconds: float, *replicas: Replica) -> None:
    """Lets time pass, a round of each replica with each poll."""
    for _ in range(math.ceil(seconds / POLL)):
        clock.time += POLL
        for one in replicas:
            await one.keeper.round()


async def test_an_empty_secret_is_filled_and_every_webhook_told_at_once(
    cluster: CertificateCluster, replica: Replica
) -> None:
    authority = cluster.kept.issuing
    assert authority is not None
    assert cluster.named() == [{authority.certificate}] * 4
    assert replica.shows == cluster.kept.serving
    assert distrusted(cluster, replica, NOW) == []


async def test_no_configuration_is_told_before_the_key_is_kept(cluster: CertificateCluster, clock: SetClock) -> None:
    await Replica(cluster, clock).keeper.round()
    assert cluster.writes == ["secret", MUTATING, VALIDATING, "secret"]


async def test_a_second_replica_takes_what_the_first_one_issued(
    cluster: CertificateCluster, clock: SetClock, replica: Replica
) -> None:
    before = list(cluster.writes)
    second = Replica(cluster, clock)
    await second.keeper.round()
    assert second.shows == replica.shows
    assert cluster.writes == before


async def test_nothing_is_written_while_nothing_is_due(
    cluster: CertificateCluster, clock: SetClock, replica: Replica
) -> None:
    before = list(cluster.writes)
    await rounds(clock, 3 * SETTLE, replica)
    assert cluster.writes == before


async def test_the_serving_certificate_is_renewed_at_two_thirds_of_its_life(
    cluster: CertificateCluster, clock: SetClock, replica: Replica
) -> None:
    first = replica.shows
    clock.time = NOW + 20 * DAY - 1
    await replica.keeper.round()
    assert replica.shows == first
    clock.time = NOW + 20 * DAY
    await replica.keeper.round()
    assert ends(replica.shows.certificate) == NOW + 50 * DAY
    assert cluster.writes[-1:] == ["secret"]


async def test_an_authority_is_published_waited_for_used_and_only_then_replaces_the_old_one(
    cluster: CertificateCluster, clock: SetClock, replica: Replica
) -> None:
    old = cluster.kept.issuing
    assert old is not None
    clock.time = NOW + 240 * DAY - 1
    await replica.keeper.round()
    assert cluster.kept.coming is None
    clock.time += 1
    await replica.keeper.round()
    coming = cluster.kept.coming
    assert coming is not None
    both = {old.certificate, coming.certificate}
    assert cluster.named() == [both] * 4
    assert cluster.kept.issuing == old

    await rounds(clock, SETTLE - POLL, replica)
    assert cluster.kept.issuing == old
    await rounds(clock, POLL, replica)
    assert (cluster.kept.issuing, cluster.kept.coming) == (coming, None)
    assert replica.shows == cluster.kept.serving
    assert cluster.named() == [both] * 4

    await rounds(clock, SETTLE - POLL, replica)
    assert cluster.named() == [both] * 4
    await rounds(clock, 2 * POLL, replica)
    assert cluster.named() == [{coming.certificate}] * 4
    assert cluster.kept.old == ()
    assert (replica.metric("steps_total", step="promote"), replica.metric("steps_total", step="retire")) == (2.0, 1.0)


async def test_no_authority_is_replaced_while_one_configuration_cannot_be_told(
    cluster: CertificateCluster, clock: SetClock, replica: Replica
) -> None:
    old = cluster.kept.issuing
    cluster.failing = {("write", NAME)}
    clock.time = NOW + 240 * DAY
    await rounds(clock, 3 * SETTLE, replica)
    assert cluster.kept.issuing == old
    assert (replica.metric("failures_total", part=f"{MUTATING} {NAME}") or 0.0) > 1.0
    clock.time = NOW + 261 * DAY
    await replica.keeper.round()
    assert ends(replica.shows.certificate) == NOW + 291 * DAY

    cluster.failing = set()
    await rounds(clock, SETTLE + POLL, replica)
    assert cluster.kept.issuing != old


async def test_a_configuration_that_is_made_anew_is_told_again(cluster: CertificateCluster, replica: Replica) -> None:
    cluster.reset(VALIDATING)
    await replica.keeper.round()
    assert distrusted(cluster, replica, NOW) == []


async def test_a_configuration_that_is_not_there_keeps_nobody_waiting(clock: SetClock) -> None:
    cluster = CertificateCluster()
    cluster.trust.remove_webhooks(VALIDATING, NAME)
    replica = Replica(cluster, clock)
    await replica.keeper.round()
    assert replica.certificates.held is not None
    cluster.reset(VALIDATING)
    await replica.keeper.round()
    assert distrusted(cluster, replica, NOW) == []


async def test_a_bundle_of_bytes_that_are_none_is_replaced(cluster: CertificateCluster, replica: Replica) -> None:
    cluster.reset(MUTATING, b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n\xff")
    await replica.keeper.round()
    assert distrusted(cluster, replica, NOW) == []


async def test_an_authority_of_somebody_else_goes_once_ours_has_settled(
    cluster: CertificateCluster, clock: SetClock, replica: Replica
) -> None:
    stranger = make_authority(now=NOW - DAY, life_seconds=DAY * 30)
    cluster.reset(MUTATING, to_pem([stranger.certificate]))
    await replica.keeper.round()
    assert stranger.certificate in cluster.named()[0]
    await rounds(clock, SETTLE, replica)
    assert stranger.certificate not in cluster.named()[0]


async def test_a_lost_secret_is_filled_anew_and_nobody_is_distrusted_meanwhile(
    cluster: CertificateCluster, clock: SetClock, replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    first, old = replica.shows, cluster.kept.issuing
    assert old is not None
    clock.time += DAY
    cluster.trust.put_secret(SPACE, SECRET, {})
    await replica.keeper.round()
    assert replica.shows == first
    assert distrusted(cluster, replica, clock.time) == []
    assert [event.reason for event in cluster.events] == ["CertificatesReissued"]
    assert "holds no certificate authority, but there was one" in cluster.events[0].note
    assert "holds no certificate authority, but there was one" in caplog.text

    await rounds(clock, SETTLE, replica)
    assert replica.shows != first
    assert distrusted(cluster, replica, clock.time) == []
    await rounds(clock, SETTLE + POLL, replica)
    assert [old.certificate in one for one in cluster.named()] == [False] * 4
    assert distrusted(cluster, replica, clock.time) == []
    assert len(cluster.events) == 1


@pytest.mark.parametrize(
    "damage", [b"", b"no PEM", b"\xff\x00", b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"]
)
@pytest.mark.parametrize("place", ["ca_crt", "ca_key", "tls_crt", "tls_key"])
async def test_a_damaged_secret_is_repaired_and_nobody_is_distrusted_meanwhile(
    cluster: CertificateCluster, clock: SetClock, replica: Replica, place: str, damage: bytes
) -> None:
    cluster.put(**{place: damage})
    for _ in range(4):
        await rounds(clock, SETTLE / 2, replica)
        assert distrusted(cluster, replica, clock.time) == []
    assert cluster.kept.issuing is not None
    assert cluster.kept.serving == replica.shows
    (event,) = cluster.events
    assert place.replace("_", ".") in event.note


async def test_a_new_replica_shows_what_an_authority_signed_whose_key_is_lost(
    cluster: CertificateCluster, clock: SetClock, replica: Replica
) -> None:
    cluster.put(ca_key=None)
    await replica.keeper.round()
    second = Replica(cluster, clock)
    await second.keeper.round()
    assert second.shows == replica.shows
    assert distrusted(cluster, second, NOW) == []


async def test_a_first_issue_is_no_loss(cluster: CertificateCluster, replica: Replica) -> None:
    assert cluster.events == []


async def test_a_secret_that_is_gone_leaves_the_last_certificate_in_use_and_says_so_once(
    cluster: CertificateCluster, clock: SetClock, replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    first = replica.shows
    cluster.trust.remove_secret(SPACE, SECRET)
    await rounds(clock, 3 * POLL, replica)
    assert replica.shows == first
    assert [event.reason for event in cluster.events] == ["CertificatesMissing"]
    assert caplog.text.count("helm upgrade makes it again") == 1
    assert replica.metric("failures_total", part="secret") == 3.0

    cluster.trust.put_secret(SPACE, SECRET, {})
    await rounds(clock, SETTLE + POLL, replica)
    assert replica.shows == cluster.kept.serving != first


async def test_an_authority_that_ended_while_nothing_ran_is_replaced_at_once(
    cluster: CertificateCluster, clock: SetClock, replica: Replica
) -> None:
    clock.time = NOW + 400 * DAY
    fresh = Replica(cluster, clock)
    await fresh.keeper.round()
    assert distrusted(cluster, fresh, clock.time) == []


async def test_a_secret_from_a_backup_is_shown_only_once_it_is_trusted(
    cluster: CertificateCluster, clock: SetClock, replica: Replica
) -> None:
    backup, old = dict(cluster.secret), cluster.kept.issuing
    assert old is not None
    clock.time = NOW + 240 * DAY
    await rounds(clock, 3 * SETTLE, replica)
    assert old.certificate not in cluster.named()[0]
    clock.time = NOW + 241 * DAY
    cluster.trust.put_secret(SPACE, SECRET, backup)
    cluster.failing = {("write", NAME)}
    await replica.keeper.round()
    assert distrusted(cluster, replica, clock.time) == []
    cluster.failing = set()
    await replica.keeper.round()
    assert distrusted(cluster, replica, clock.time) == []


async def test_other_names_are_signed_for_at_once(
    cluster: CertificateCluster, clock: SetClock, replica: Replica
) -> None:
    names = (HOST, "127.0.0.1", "::1")
    renamed = Replica(cluster, clock, Lives(names=names, authority_seconds=360 * DAY, serving_seconds=30 * DAY))
    await renamed.keeper.round()
    assert renamed.shows != replica.shows
    assert distrusted(cluster, renamed, NOW) == []
    before = list(cluster.writes)
    await renamed.keeper.round()
    assert cluster.writes == before


async def test_who_may_not_read_the_secret_says_so_once_and_goes_on(
    cluster: CertificateCluster, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.failing = {("read", SECRET)}
    replica = Replica(cluster, clock)
    await rounds(clock, 3 * POLL, replica)
    assert caplog.text.count("cannot be used") == 1
    cluster.failing = set()
    with caplog.at_level(logging.INFO):
        await replica.keeper.round()
    assert replica.certificates.held is not None
    assert "as it should be again" in caplog.text


async def test_an_event_that_cannot_be_written_stops_nothing(
    cluster: CertificateCluster, clock: SetClock, replica: Replica
) -> None:
    cluster.failing = {("record", SECRET)}
    cluster.trust.put_secret(SPACE, SECRET, {})
    await rounds(clock, SETTLE + POLL, replica)
    assert cluster.kept.issuing is not None
    assert replica.metric("failures_total", part="announce") == 1.0


async def test_a_defect_ends_neither_the_rounds_nor_what_is_shown(
    cluster: CertificateCluster, replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("a mistake of ours")

    first, cluster.between = replica.shows, fail
    await replica.keeper.round()
    assert replica.shows == first
    assert "a mistake of ours" in caplog.text


async def test_metrics_say_when_certificates_end(cluster: CertificateCluster, replica: Replica) -> None:
    assert replica.metric("expiry_timestamp_seconds", certificate="serving") == NOW + LIVES.serving_seconds
    assert replica.metric("expiry_timestamp_seconds", certificate="authority") == NOW + LIVES.authority_seconds


def test_metrics_are_unknown_before_the_first_certificate(cluster: CertificateCluster, clock: SetClock) -> None:
    unknown = Replica(cluster, clock).metric("expiry_timestamp_seconds", certificate="serving")
    assert unknown is not None
    assert math.isnan(unknown)
