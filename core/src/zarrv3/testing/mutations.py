"""Damaged and hostile input, for hypothesis: JSON documents, configurations and bytes, each made from one that is sound.

@given(documents({"zarr_format": 3, …}))
def test_hostile_documents(data: bytes) -> None:
    with only_our_errors(HOSTILE, f"reading {data!r}"):
        read(data)
"""

import copy
import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from hypothesis import strategies as st

from zarrv3.store.contract import JSON

Draw: TypeAlias = st.DrawFn

_DEEP = 90
"""As deep as a document may be read, with what stands around it."""

TEXTS = (
    "", " ", "nonsense", "\0", "\ud800", "ä€😀", "x" * 5000, ".", "..", "../../x", "/", "a//b", "C", "<i4", ">f8", "|O", "NaN",
    "0x7fc00000", "-1", "2", "1e999", "true", "zarr.json", "c/0", "%", "${HOME}", "\n",
)  # fmt: skip
"""Texts that are odd wherever they stand."""

NUMBERS = (
    0, 1, 2, -1, 7, 64, 255, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64,
    -(1 << 63), 10**30, -(10**30), 10**400, 1.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
"""Numbers at the edges of what machines and formats can hold."""


def _deep(depth: int, *, of_objects: bool) -> JSON:
    value: JSON = 1
    for _ in range(depth):
        value = {"name": value} if of_objects else [value]
    return value


_SHAPED: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, [], {}, [[]], [{}], [None], {"": ""}, {"name": 1}, {"name": "x", "configuration": []}, [0] * 70, [1, 2, 3]]
).map(copy.deepcopy)  # fmt: skip

odd: st.SearchStrategy[Any] = st.one_of(
    _SHAPED,
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.integers(-300, 300),
    st.text(max_size=8),
    st.builds(_deep, st.sampled_from([3, _DEEP, 300]), of_objects=st.booleans()),
)
"""Values of JSON that hardly any member expects."""


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every list or object within a value, paired with each of its indexes or names."""
    found, level = [], [value]
    while level:
        parent = level.pop()
        inside = parent.items() if isinstance(parent, dict) else enumerate(parent)
        for name, child in inside:
            found.append((parent, name))
            if isinstance(child, dict | list):
                level.append(child)
    return found


@st.composite
def mutated(draw: Draw, document: Any, most: int = 3) -> Any:
    """A document or configuration of which up to `most` parts are replaced, removed, moved, renamed, repeated or wrapped."""
    made = copy.deepcopy(document)
    for _ in range(draw(st.sampled_from((1, 1, 1, *range(1, most + 1))))):
        places = _places(made)
        if not places:
            return draw(odd)
        parent, name = places[draw(st.integers(0, len(places) - 1))]
        _mutate(draw, parent, name, places)
    return made


def _mutate(draw: Draw, parent: Any, name: Any, places: list[tuple[Any, Any]]) -> None:
    value = parent[name]
    match draw(
        st.sampled_from(("odd", "odd", "odd", "near", "near", "remove", "moved", "wrap", "more", "rename"))
    ):
        case "odd":
            parent[name] = draw(odd)
        case "near":
            parent[name] = draw(_near(value))
        case "remove":
            del parent[name]
        case "moved":  # something that stands elsewhere in the document
            other, place = places[draw(st.integers(0, len(places) - 1))]
            parent[name] = copy.deepcopy(other[place])
        case "wrap":
            parent[name] = draw(st.sampled_from(([value], {"name": value}, [value, None], {"": value})))
        case "more" if isinstance(value, list):
            parent[name] = [*value, draw(odd)]
        case "more" if isinstance(value, dict):
            parent[name] = {**value, draw(st.sampled_from(TEXTS)): draw(odd)}
        case _ if isinstance(parent, dict):
            parent[draw(st.one_of(st.sampled_from(TEXTS), st.text(max_size=5)))] = parent.pop(name)
        case _:
            parent.insert(name, copy.deepcopy(value))


def _near(value: Any) -> st.SearchStrategy[Any]:
    """What differs little from a value, often in its type only."""
    if isinstance(value, str):
        changed = [
            value.upper(),
            f"{value} ",
            value[:-1],
            f"{value}\0",
            f"{value}{value}",
            [value],
            value.title(),
        ]
        return st.sampled_from(changed)
    if isinstance(value, bool) or value is None:
        return st.sampled_from([not value, str(value), 0, 1])
    if isinstance(value, int | float):
        return st.sampled_from(
            [
                -value,
                value + 1,
                value - 1,
                str(value),
                value / 2 if abs(value) < 1e300 else 0.5,
                bool(value),
                value * 2 if math.isfinite(value) else 0,
                [value],
            ]
        )
    if isinstance(value, list):
        return st.sampled_from(
            [value[1:], value * 2, value[::-1], value * 40, dict.fromkeys(map(str, value)), *value]
        )
    return st.sampled_from([[*value], [*value.values()], [value], *value])


def documents(*sound: Mapping[str, JSON]) -> st.SearchStrategy[bytes]:
    """The bytes of documents made from sound ones: other values, members that occur twice, NaN, surrogates, nesting, cut ends."""
    return st.sampled_from(sound).flatmap(mutated).flatmap(_written)


@st.composite
def _written(draw: Draw, document: Any) -> bytes:  # noqa: PLR0911 - one for each kind
    text = json.dumps(document, indent=draw(st.sampled_from((None, 1))), ensure_ascii=draw(st.booleans()))
    data = text.encode("utf-8", "surrogatepass")
    match draw(
        st.sampled_from((*["plain"] * 15, "twice", "deep", "bytes", "bytes", "utf-16", "mark", "digits"))
    ):
        case "twice":
            return data.replace(b"{", b'{"name": 1, "name": 2, ', draw(st.integers(1, 3)))
        case "deep":
            return data.replace(b": ", draw(st.sampled_from((b': {"a": ', b": ["))) * 20_000, 1)
        case "bytes":
            return draw(damaged(data))
        case "utf-16":
            return text.encode("utf-16", "surrogatepass")
        case "mark":
            return b"\xef\xbb\xbf" + data
        case "digits":
            return data.replace(b": ", b": " + b"9" * 5000, 1)
    return data


@st.composite
def damaged(draw: Draw, data: bytes, most: int = 4) -> bytes:
    """Bytes made from sound ones: flipped bits, other numbers, cut, filled, repeated or moved pieces."""
    made = bytearray(data)
    for _ in range(draw(st.integers(1, most))):
        place, length = draw(st.integers(0, len(made))), draw(st.sampled_from((1, 1, 2, 4, 8, 8, 16, 300)))
        match draw(
            st.sampled_from(("flip", "flip", "fill", "number", "cut", "end", "repeat", "move", "noise"))
        ):
            case "flip" if made:
                made[min(place, len(made) - 1)] ^= 1 << draw(st.integers(0, 7))
            case "fill":
                made[place : place + length] = bytes([draw(st.sampled_from((0, 255, 127, 128)))]) * length
            case "number":
                number, size = draw(st.sampled_from(NUMBERS[:16])), draw(st.sampled_from((1, 2, 4, 8)))
                big = draw(st.booleans())
                made[place : place + size] = (int(number) % (1 << 8 * size)).to_bytes(
                    size, "big" if big else "little"
                )
            case "cut":
                del made[place : place + length]
            case "end":
                del made[place:]
            case "repeat":
                made[place:place] = made[place : place + length] * draw(st.integers(1, 3))
            case "move":
                other = draw(st.integers(0, len(made)))
                made[place : place + length] = made[other : other + length]
            case _:
                made[place : place + length] = draw(st.binary(max_size=length))
    return bytes(made)
