"""Members of old documents that need no more than checking."""

import math

from zarrv3.errors import MetadataError
from zarrv3.format.extensions import shown
from zarrv3.store.contract import JSON


def chunk_lengths(member: str, value: JSON, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of chunks; a length of 0 along a dimension of length 0 is 1."""
    if not isinstance(value, list) or len(value) != len(shape):
        raise MetadataError(f"{member} {shown(value)} does not match the shape {list(shape)}")
    for length, axis in zip(value, shape, strict=True):
        if type(length) is not int or not (0 < length < 2**63 or length == axis == 0):
            raise MetadataError(f"{member} {shown(value)}: a chunk length must be positive")
    return tuple(max(1, length) for length in value)


def valid_attributes(value: JSON) -> tuple[dict[str, JSON], list[str]]:
    """User attributes in valid JSON, where `NaN` and the infinities become texts; and the names of those that had any."""
    if not isinstance(value, dict):
        raise MetadataError(f"attributes must be an object, not {shown(value)}")
    replaced: set[str] = set()
    attributes = {name: _valid(item, name, replaced) for name, item in value.items()}
    return attributes, sorted(replaced)


def _valid(value: JSON, name: str, replaced: set[str]) -> JSON:
    if isinstance(value, float) and not math.isfinite(value):
        replaced.add(name)
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [_valid(item, name, replaced) for item in value]
    if isinstance(value, dict):
        return {key: _valid(item, name, replaced) for key, item in value.items()}
    return value
