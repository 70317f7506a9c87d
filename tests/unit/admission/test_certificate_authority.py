"""Certificates are what TLS clients want, and bytes that are none are said to be none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import given
from hypothesis import strategies as st

from admission.certificate_authority import (
    Pair,
    ends,
    issue,
    make_authority,
    read_certificates,
    read_pair,
    signed,
    starts,
    to_pem,
    usable,
)
from admission.errors import UnreadableCertificateError

NOW = 1_800_000_000.0
DAY = 86_400.0
NAMES = ("wattkeeper-admission.power.svc", "127.0.0.1")


@pytest.fixture(scope="module")
def authority() -> Pair:
    return make_authority(now=NOW, life_seconds=365 * DAY)


@pytest.fixture(scope="module")
def serving(authority: Pair) -> Pair:
    return issue(authority, NAMES, now=NOW, life_seconds=30 * DAY)


def verify(pair: Pair, *authorities: Pair, name: str = NAMES[0], now: float = NOW) -> None:
    """Verifies as a strict TLS client does: names, dates, usages, constraints."""
    store = Store([one.certificate for one in authorities])
    builder = PolicyBuilder().store(store).time(datetime.fromtimestamp(now, UTC))
    builder.build_server_verifier(x509.DNSName(name)).verify(pair.certificate, [])


def test_what_it_signs_is_trusted_by_who_trusts_it(authority: Pair, serving: Pair) -> None:
    verify(serving, authority)


def test_what_it_signs_is_trusted_beside_other_authorities(authority: Pair, serving: Pair) -> None:
    verify(serving, make_authority(now=NOW, life_seconds=DAY), authority)


@pytest.mark.parametrize("wrong", [{"name": "another.power.svc"}, {"now": NOW + 31 * DAY}, {"now": NOW - DAY}], ids=str)
def test_it_serves_no_other_name_and_no_other_time(
    authority: Pair, serving: Pair, wrong: dict[str, float | str]
) -> None:
    with pytest.raises(VerificationError):
        verify(serving, authority, **wrong)  # pyright: ignore[reportArgumentType] - one of two.


def test_another_authority_of_the_same_instant_did_not_sign_it(authority: Pair, serving: Pair) -> None:
    other = make_authority(now=NOW, life_seconds=365 * DAY)
    assert signed(authority.certificate, serving.certificate)
    assert not signed(other.certificate, serving.certificate)


def test_clocks_may_differ_by_minutes(serving: Pair) -> None:
    assert usable(serving.certificate, NOW - 299.0)
    assert starts(serving.certificate) < NOW < ends(serving.certificate) == NOW + 30 * DAY


def test_nothing_outlives_its_authority() -> None:
    short = make_authority(now=NOW, life_seconds=DAY)
    assert ends(issue(short, NAMES, now=NOW, life_seconds=30 * DAY).certificate) == NOW + DAY


def test_a_pair_comes_back_from_pem(serving: Pair) -> None:
    assert read_pair(serving.certificate_pem, serving.key_pem) == serving


def test_a_key_shows_in_no_log(authority: Pair) -> None:
    assert "key" not in repr(authority)


def test_a_key_of_another_certificate_is_refused(authority: Pair, serving: Pair) -> None:
    with pytest.raises(UnreadableCertificateError, match="not this certificate's"):
        read_pair(serving.certificate_pem, authority.key_pem)


def test_a_key_of_another_sort_is_refused(serving: Pair) -> None:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(UnreadableCertificateError, match="not this certificate's"):
        read_pair(serving.certificate_pem, pem)


def test_certificates_that_can_be_read_are_found_among_those_that_cannot(authority: Pair, serving: Pair) -> None:
    broken = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    pem = b"# ours\n" + authority.certificate_pem + broken + to_pem([serving.certificate]) + b"-----BEGIN CERTIFICATE--"
    assert read_certificates(pem) == (authority.certificate, serving.certificate)


@given(
    damage=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 900),
)
def test_damaged_pem_is_unreadable_or_what_it_was_and_nothing_else_happens(
    authority: Pair, damage: list[tuple[int, int]], cut: int
) -> None:
    certificate, key = bytearray(authority.certificate_pem), bytearray(authority.key_pem)
    for place, byte in damage:
        for text in (certificate, key):
            text[place % len(text)] = byte
    read_certificates(bytes(certificate))
    try:
        read_pair(bytes(certificate[: -cut or None]), bytes(key))
    except UnreadableCertificateError:
        return


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_bytes_that_are_no_pem_are_unreadable(certificate: bytes, key: bytes) -> None:
    assert read_certificates(certificate) == ()
    with pytest.raises(UnreadableCertificateError):
        read_pair(certificate, key)
