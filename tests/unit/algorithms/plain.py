"""Slow, plain versions of vectorised code: one service, one domain, one replica at a time."""

from __future__ import annotations

from fractions import Fraction

from wattkeeper.algorithms.draw import Draw
from wattkeeper.api.readings import Floats, Ints


def plain_fill(draw: Draw, rows: Ints, lower: Ints, upper: Ints, room_watts: Floats, *, steps: int) -> list[Fraction]:
    """Progressive filling in `steps` small steps: everyone rises by a step that still fits, or stops for good."""
    levels = [Fraction(0)] * len(rows)
    rising = set(range(len(rows)))

    def share(place: int, level: Fraction) -> Fraction:
        return max(Fraction(int(lower[place])), level * int(upper[place]))

    def watts(place: int, domain: int, replicas: Fraction) -> float:
        row = int(rows[place])
        active = float(draw.active[row])
        kept = min(float(replicas), active)
        return kept * float(draw.each[row, domain]) + (float(replicas) - kept) * float(draw.further[row, domain])

    def gain(place: int, domain: int, level: Fraction) -> float:
        return watts(place, domain, share(place, level)) - watts(place, domain, Fraction(int(lower[place])))

    for step in range(1, steps + 1):
        level = Fraction(step, steps)
        # Whoever draws in a domain that would be too full stops; the others try again without them.
        while rising:
            trial = [level if place in rising else levels[place] for place in range(len(rows))]
            full = [
                domain
                for domain in range(len(room_watts))
                if sum(gain(place, domain, trial[place]) for place in range(len(rows))) > room_watts[domain] + 1e-6
            ]
            stop = {place for place in rising if any(gain(place, domain, Fraction(1)) > 0.0 for domain in full)}
            if not stop:
                break
            rising -= stop
        for place in rising:
            levels[place] = level
    return [share(place, levels[place]) for place in range(len(rows))]


def plain_rounds(
    draw: Draw, names: tuple[str, ...], previous: Ints, grants: Ints, most: Ints, shares: Floats, room_watts: Floats
) -> list[int]:
    """Single replicas on top of `grants`, round by round: whoever a replica does not fit for drops out."""
    given, room = [int(one) for one in grants], [float(watts) + 1e-6 for watts in room_watts]
    playing = list(range(len(given)))

    def needs(place: int) -> list[float]:
        watts = draw.each if given[place] < draw.active[place] else draw.further
        return [float(one) for one in watts[place]]

    def fits(place: int) -> bool:
        return all(need <= max(left, 0.0) for need, left in zip(needs(place), room, strict=True))

    while playing:
        playing = [place for place in playing if given[place] < most[place] and fits(place)]
        playing.sort(
            key=lambda place: (
                previous[place] <= given[place],
                -round(float(shares[place]) - given[place], 9),
                names[place],
            )
        )
        taken: list[int] = []
        for place in playing:
            if fits(place):
                room = [left - need for left, need in zip(room, needs(place), strict=True)]
                taken.append(place)
        for place in taken:
            given[place] += 1
        playing = taken
    return given
