"""Byte requests of zarr-python ↔ byte ranges of the store contract."""

from collections.abc import Sequence
from typing import TypeAlias

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest

from zarrv3.store.contract import ByteRange

ByteRequest: TypeAlias = RangeByteRequest | OffsetByteRequest | SuffixByteRequest


def to_range(wanted: ByteRequest | None) -> ByteRange | None:
    """The byte range that a byte request of zarr-python stands for; `ValueError` for anything else."""
    if wanted is None:
        return None
    if isinstance(wanted, RangeByteRequest):
        return ByteRange(_count(wanted.start, wanted), max(wanted.start, _count(wanted.end, wanted)))
    if isinstance(wanted, OffsetByteRequest):
        return ByteRange(_count(wanted.offset, wanted))
    if isinstance(wanted, SuffixByteRequest):  # the last 0 bytes are none, and -0 would be the first byte
        return ByteRange(-wanted.suffix) if _count(wanted.suffix, wanted) else ByteRange(0, 0)
    raise ValueError(
        f"Unexpected byte_range, got {wanted!r}; it is a RangeByteRequest, OffsetByteRequest or SuffixByteRequest"
    )


def to_request(wanted: ByteRange | None) -> tuple[ByteRequest | None, ByteRange | None]:
    """A byte request that covers a byte range, and what to cut from the answer (`None` = it is the answer).

    zarr-python has no requests that end a number of bytes before the end, so some ranges are cut from a longer answer.
    """
    if wanted is None:
        return None, None
    start, stop = wanted
    if start >= 0 and stop is not None and stop > start:
        return RangeByteRequest(start, stop), None
    if start >= 0 and (stop is None or stop < 0):
        rest = None if stop is None else ByteRange(0, stop)
        return (OffsetByteRequest(start) if start else None), rest
    if start < 0 and stop is None:
        return SuffixByteRequest(-start), ByteRange(start)
    if start < 0 and stop is not None and stop < 0:
        return SuffixByteRequest(-start), wanted
    return None, wanted


def covering(ranges: Sequence[ByteRange | None]) -> ByteRange | None:
    """One range that covers all of these; the whole value where that depends on its size."""
    first = ranges[0]
    if all(wanted == first for wanted in ranges):
        return first
    start, stop = first or (0, None)
    for wanted in ranges:
        if wanted is None or wanted.stop is None or stop is None or not 0 <= wanted.start < wanted.stop:
            return None
        start, stop = min(start, wanted.start), max(stop, wanted.stop)
    return ByteRange(start, stop)


def part_of(cover: ByteRange | None, value: bytes | None, wanted: ByteRange | None) -> bytes | None:
    """A range of a value of which what `covering` says is known."""
    if value is None or wanted == cover or wanted is None:
        return value
    if cover is None:
        return value[wanted.start : wanted.stop]
    return value[wanted.start - cover.start : (wanted.stop or 0) - cover.start]


def _count(number: int, wanted: ByteRequest) -> int:
    if number < 0:
        raise ValueError(f"Unexpected byte_range, got {wanted!r}; positions and lengths are not negative")
    return number
