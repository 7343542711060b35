"""Metadata documents as bytes: strict JSON out, JSON of other writers in."""

import copy
import json
import math
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from zarrv3.errors import MetadataError
from zarrv3.format.extensions import shown
from zarrv3.store.contract import JSON, Buffer

MAX_DEPTH = 128
"""How deep the lists and objects of a document may be nested: Python's own limit depends on who calls."""
_ATOMS = {str, int, float, bool, type(None)}
_ALWAYS_JSON = {str, bool, type(None)}
_MAX_BITS = 13_000
"""Longer integers, of about 4,000 digits, Python would refuse to read when it has written them."""
_WITHOUT_JSON = "gGmM"
"""numpy's long numbers, which Python does not have either, and its times, which it would take for numbers."""
_MAX_USER_DEPTH = 100  # leaves room for what stands around a user's value, consolidated metadata for instance


def load_document(data: Buffer, *, source: str) -> dict[str, JSON]:
    """The object that the bytes of a document hold; `MetadataError` naming `source` if they hold none.

    Bare `NaN` and `Infinity`, which are not JSON but which zarr-python writes, are read as floats.
    """
    try:
        data = bytes(data)
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise MetadataError(
            f"{source}: the document is not UTF-8 ({error.reason} at byte {error.start})"
        ) from error
    except RecursionError:
        raise MetadataError(f"{source}: the document is nested too deep") from None
    except ValueError as error:
        raise MetadataError(f"{source}: the document is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise MetadataError(f"{source}: the document must be an object, not {shown(document)}")
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH:
        _check_depth(document, MAX_DEPTH, source)
    return document


def dump_document(document: Mapping[str, JSON]) -> bytes:
    """The bytes of a document: indented by 2, members in the order given, ASCII; equal documents give equal bytes.

    Bare `NaN` and `Infinity`, which another writer has put there, stay: `check_json` keeps out new ones. Raises `MetadataError`
    for what JSON cannot hold: keys that are not text, objects of Python.
    """
    _check_depth(document, MAX_DEPTH, "document")
    _checked(document, "document", document)
    return json.dumps(document, indent=2).encode("ascii")


def check_json(value: Any, member: str, kept: JSON = None) -> JSON:
    """The value as JSON would return it (tuples and arrays become lists); `MetadataError` naming what JSON cannot hold.

    NaN and infinities are accepted only where `kept`, the value that is replaced, has one in the same place.
    """
    _check_depth(value, _MAX_USER_DEPTH, member)
    return _checked(value, member, kept)


def copied(value: JSON) -> JSON:
    """A value of JSON that can be changed without changing this one."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is dict:
        return {name: copied(item) for name, item in value.items()}
    return [copied(item) for item in value] if kind is list else copy.deepcopy(value)


def _check_depth(value: Any, limit: int, member: str) -> None:
    """Refuse what is nested deeper; also what contains itself."""
    level = [value] if isinstance(value, list | tuple | dict | Mapping) else []
    for _ in range(limit):
        level = [
            child
            for parent in level
            for child in (parent if isinstance(parent, list | tuple) else parent.values())
            if type(child) not in _ATOMS and isinstance(child, list | tuple | dict | Mapping)
        ]
        if not level:
            return
    raise MetadataError(f"{member} is nested deeper than {limit} levels")


def _checked(value: Any, member: str, kept: Any) -> JSON:
    value = _plain(value)
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        if value.bit_length() > _MAX_BITS:
            raise MetadataError(f"{member}: an integer of thousands of digits")
        return int(value)
    if isinstance(value, float):
        if not (math.isfinite(value) or (isinstance(kept, float) and repr(kept) == repr(float(value)))):
            raise MetadataError(f'{member}: JSON has no {value}; use a string such as "NaN", or null')
        return float(value)
    if isinstance(value, list | tuple):
        others = kept[: len(value)] if isinstance(kept, list | tuple) else ()
        pairs = enumerate(zip_longest(value, others))
        return [
            item if _is_json(item) else _checked(item, f"{member}[{index}]", other)
            for index, (item, other) in pairs
        ]
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise MetadataError(f"{member}: names must be strings, not {shown(name)}")
        known = kept if isinstance(kept, Mapping) else {}
        return {
            name: item if _is_json(item) else _checked(item, f"{member}.{name}", known.get(name))
            for name, item in value.items()
        }
    raise MetadataError(f"{member}: JSON cannot hold {type(value).__name__} {shown(value)}")


def _is_json(value: Any) -> bool:
    """Whether a value needs no further look: most of a document's do not."""
    kind = type(value)
    return (
        kind in _ALWAYS_JSON
        or (kind is int and value.bit_length() <= _MAX_BITS)
        or (kind is float and math.isfinite(value))
    )


def _plain(value: Any) -> Any:
    """A scalar or an array of numpy's as Python has it, where it does; anything else as it is."""
    kind = getattr(getattr(value, "dtype", None), "char", None) if type(value).__module__ == "numpy" else None
    return value if kind is None or kind in _WITHOUT_JSON else value.tolist()


def _unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    members = dict(pairs)
    if len(members) != len(pairs):  # readers would differ in which one they take
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the member {shown(twice)} occurs twice")
    return members
