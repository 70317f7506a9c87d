"""What to do about certificates, step by step: pure rules over what the Secret and the webhook configurations hold.

    prepare  a new authority is kept beside the one that signs; then every configuration is told to trust it as well
    promote  once all do: it signs from now on, beginning with a new serving certificate
    retire   once every replica shows that one: the old authority is forgotten, and configurations trust it no longer
    renew    a serving certificate near its end, or for other names, is signed anew by the same authority

Each step is one write, made only if nobody has written since, and right whatever happened before it: there is no
progress to lose. Any replica may take it. Two that act at once cannot do harm either: authorities are taken out of a
configuration by whoever knows a newer one that signs, and never an authority that is newer than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from cryptography import x509

from admission.certificate_authority import (
    ends,
    issue,
    make_authority,
    names_of,
    read_certificates,
    served,
    signed,
    starts,
    to_pem,
    usable,
)
from admission.certificate_state import Kept, newest_first

_MOST_STRANGERS: Final = 8
"""Authorities that a configuration may name besides those that we know: each loss of the Secret leaves one, until
nobody can show any more what it signed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lives:
    """How long certificates last, and for whom; what has a third of its life left is due.

    Attributes:
        names: host names and IP addresses of the serving certificate.
        authority_seconds: an authority's life.
        serving_seconds: a serving certificate's.
    """

    names: tuple[str, ...]
    authority_seconds: float
    serving_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One change of the Secret.

    Attributes:
        kind: what it does.
        kept: what the Secret holds afterwards.
    """

    kind: Literal["prepare", "promote", "retire", "renew"]
    kept: Kept


def next_step(kept: Kept, lives: Lives, now: float, *, may_promote: bool, settled: bool) -> Step | None:
    """Returns what to change about the Secret now; None while there is nothing to do, or to wait for something.

    Args:
        kept: what the Secret holds.
        lives: how long certificates last.
        now: Unix seconds.
        may_promote: whether every configuration trusts the coming authority, for long enough.
        settled: whether what the issuing authority signed has been out long enough for every replica to show it.
    """
    issuing = kept.issuing if kept.issuing is not None and usable(kept.issuing.certificate, now) else None
    coming = kept.coming if kept.coming is not None and usable(kept.coming.certificate, now) else None
    if coming is not None and may_promote:
        before = (*kept.old, *(() if kept.issuing is None else (kept.issuing.certificate,)))
        old = newest_first(one for one in before if usable(one, now))
        serving = issue(coming, lives.names, now=now, life_seconds=lives.serving_seconds)
        return Step(kind="promote", kept=Kept(issuing=coming, old=old, serving=serving))
    if issuing is not None and _serving_is_due(kept, lives, now):
        serving = issue(issuing, lives.names, now=now, life_seconds=lives.serving_seconds)
        return Step(kind="renew", kept=replace(kept, serving=serving))
    if coming is None and (issuing is None or _due(issuing.certificate, lives.authority_seconds, now)):
        made = make_authority(now=now, life_seconds=lives.authority_seconds)
        return Step(kind="prepare", kept=replace(kept, coming=made))
    if kept.old and settled:
        return Step(kind="retire", kept=replace(kept, old=()))
    return None


def signer(kept: Kept, now: float) -> x509.Certificate | None:
    """Returns the authority of the Secret that signed its serving certificate; None while that cannot be used."""
    if kept.serving is None or not usable(kept.serving.certificate, now):
        return None
    serving = kept.serving.certificate
    return next((one for one in newest_first(kept.trusted(now)) if signed(one, serving)), None)


def in_force(kept: Kept, now: float) -> x509.Certificate | None:
    """Returns the issuing authority once it signed what replicas are to show; else None."""
    found = signer(kept, now)
    return found if kept.issuing is not None and kept.issuing.certificate == found else None


def bundle(present: bytes, kept: Kept, shown: x509.Certificate | None, now: float, *, settled: bool) -> bytes:
    """Returns whom a webhook's caBundle should name, given whom it names: `present`.

    Those of the Secret always, and who signed what we show. Of others only what some replica may still show: an
    authority that was lost together with the Secret, until what followed it is settled, or one that a replica put there
    which knows more than we do.
    """
    trusted = kept.trusted(now)
    if shown is not None and usable(shown, now):
        trusted |= {shown}
    if not trusted:
        return present  # Nothing is known that could take the place of what is there.
    floor = starts(kept.issuing.certificate) if settled and kept.issuing is not None else float("-inf")
    strangers = newest_first(
        one for one in read_certificates(present) if one not in trusted and usable(one, now) and starts(one) >= floor
    )
    return to_pem(newest_first((*trusted, *strangers[:_MOST_STRANGERS])))


def carried(bundles: Sequence[bytes], authority: x509.Certificate, now: float) -> Literal["no", "alone", "beside"]:
    """Says whether caBundles name an authority: all of them, and whether they name no other that may be shown."""
    named = [frozenset(one for one in read_certificates(pem) if usable(one, now)) for pem in bundles]
    if not all(authority in one for one in named):
        return "no"
    return "alone" if all(len(one) == 1 for one in named) else "beside"


def _serving_is_due(kept: Kept, lives: Lives, now: float) -> bool:
    if kept.issuing is None or kept.serving is None or in_force(kept, now) is None:
        return True
    serving, authority = kept.serving.certificate, kept.issuing.certificate
    if names_of(serving) != served(lives.names):
        return True
    # One that ends with its authority cannot be had any longer.
    return _due(serving, lives.serving_seconds, now) and ends(serving) < ends(authority)


def _due(certificate: x509.Certificate, life_seconds: float, now: float) -> bool:
    return ends(certificate) - now <= life_seconds / 3
