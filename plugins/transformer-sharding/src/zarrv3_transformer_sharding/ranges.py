"""Byte ranges that lie close together, fetched as one. Pure arithmetic."""

import sys
from collections.abc import Iterable
from typing import NamedTuple

MAX_GAP = 64 * 2**10
"""The largest gap between two ranges that is fetched with them."""

FAR_GAP = 2**20
"""The largest such gap for a store with round trips, where a request costs about as much as so many bytes."""

NEAR_BYTES = 2**17
"""The most that ranges are joined to where a request costs next to nothing: memory for more comes fresh from the system, page by page."""


class Span(NamedTuple):
    """Bytes `[start, stop)` of a shard, and which request they answer."""

    start: int
    stop: int
    position: int


class Extent(NamedTuple):
    """One range to fetch, with the spans that lie in it."""

    start: int
    stop: int
    spans: list[Span]


def merged(spans: Iterable[Span], max_gap: int, most: int = sys.maxsize) -> list[Extent]:
    """The extents that cover all spans, in ascending order.

    Spans with at most `max_gap` bytes between them share an extent, as long as the unwanted bytes are no more
    than half of the wanted ones: never more than 1.5 times what is requested is fetched. None becomes longer than `most` by that.
    """
    extents: list[Extent] = []
    inside: list[Span] = []
    start = stop = spare = 0
    for span in sorted(spans):
        low, high, _ = span
        gap = low - stop if low > stop else 0
        reach = max(stop, high)
        length = reach - start
        if inside and gap <= max_gap and 3 * (spare + gap) <= length <= most:
            spare += gap
            stop = reach
            inside.append(span)
            continue
        if inside:
            extents.append(Extent(start, stop, inside))
        start, stop, spare, inside = low, high, 0, [span]
    if inside:
        extents.append(Extent(start, stop, inside))
    return extents
