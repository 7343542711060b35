"""A writer of draft V3 hierarchies, made from the description of the format alone: numpy, numcodecs and JSON."""

import base64
import itertools
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numcodecs
import numpy as np
import pytest

URI = "https://purl.org/zarr/spec/protocol/core/3.0"
EMPTY = 2**64 - 1
DATETIME = "https://zarr-specs.readthedocs.io/en/latest/extensions/data-types/datetime/v1.0.html"


def dumped(document: Any) -> bytes:
    """JSON as zarr-python 2 wrote it."""
    return json.dumps(document, indent=4, sort_keys=True, separators=(",", ": ")).encode("ascii")


def type_json(dtype: np.dtype[Any]) -> Any:
    """The member `data_type`."""
    if dtype.kind in "biuf":
        return "bool" if dtype.kind == "b" else dtype.str.lstrip("|")
    kind = dtype.str if dtype.names is None and dtype.kind != "V" else listed(dtype.descr)
    extension = DATETIME if dtype.kind in "mM" else "TODO: some array protocol URL"
    return {"extension": extension, "type": kind, "fallback": None}


def listed(value: Any) -> Any:
    """Tuples as lists."""
    return [listed(item) for item in value] if isinstance(value, list | tuple) else value


def scalar_of(fill: Any, dtype: np.dtype[Any]) -> Any:
    """A fill value as an element; 0 is the zero of every dtype."""
    if isinstance(fill, int) and not fill and dtype.kind in "VUS":
        return np.zeros((), dtype)
    return np.asarray(fill, dtype)


def fill_json(fill: Any, dtype: np.dtype[Any]) -> Any:  # noqa: PLR0911 - one for each kind
    """The member `fill_value`."""

    def number(value: float) -> Any:
        special = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
        return special.get(str(float(value)), float(value))

    if fill is None or dtype.kind == "O":
        return fill
    scalar = scalar_of(fill, dtype)[()]
    if dtype.kind == "f":
        return number(scalar)
    if dtype.kind == "c":
        return [number(scalar.real), number(scalar.imag)]
    if dtype.kind in "mM":
        return int(np.asarray(scalar).view(dtype.str.replace(dtype.str[1:], "i8"))[()])
    if dtype.kind == "S":
        return base64.b64encode(bytes(scalar)).decode()
    if dtype.kind == "V":
        return base64.b64encode(np.asarray(scalar, dtype).tobytes()).decode()
    return scalar.item()


class Draft:
    """A hierarchy in the making: `content` has its keys and values."""

    def __init__(self, suffix: str = ".json") -> None:
        self.suffix = suffix
        entry = {
            "zarr_format": URI,
            "metadata_encoding": URI,
            "metadata_key_suffix": suffix,
            "extensions": [],
        }
        self.content: dict[str, bytes] = {"zarr.json": dumped(entry)}

    def meta(self, path: str, kind: str) -> str:
        """The key of a document."""
        return f"meta/root{'/' if path else ''}{path}.{kind}{self.suffix}"

    def group(self, path: str, **attributes: Any) -> None:
        """An explicit group."""
        self.content[self.meta(path, "group")] = dumped({"attributes": attributes})

    def document(self, path: str, **changes: Any) -> None:
        """Change members of an array's document; `None` takes one away."""
        key = self.meta(path, "array")
        document = {**json.loads(self.content[key]), **changes}
        self.content[key] = dumped({n: v for n, v in document.items() if v is not ...})

    def array(
        self,
        path: str,
        data: Any,
        *,
        chunks: Sequence[int],
        fill: Any = 0,
        order: str = "C",
        separator: str = "/",
        filters: Sequence[Mapping[str, Any]] = (),
        compressor: Mapping[str, Any] | None = None,
        per_shard: Sequence[Sequence[int]] = (),
        present: Callable[[tuple[int, ...]], bool] = lambda _: True,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """An array with its document and the chunks that are to be present."""
        attributes = dict(attributes or {})
        if filters:
            attributes["filters"] = [dict(config) for config in filters]
        document = {
            "shape": list(data.shape),
            "data_type": type_json(data.dtype),
            "chunk_grid": {"type": "regular", "chunk_shape": list(chunks), "separator": separator},
            "chunk_memory_layout": order,
            "fill_value": fill_json(fill, data.dtype),
            "attributes": attributes,
            "extensions": [],
        }
        if compressor is not None:
            rest = {name: value for name, value in compressor.items() if name != "id"}
            uri = f"https://purl.org/zarr/spec/codec/{compressor['id']}/1.0"
            document["compressor"] = {"codec": uri, "configuration": rest}
        if per_shard:
            document["storage_transformers"] = [transformer(numbers) for numbers in per_shard]
        self.content[self.meta(path, "array")] = dumped(document)
        blobs = {
            coords: encoded(piece(data, coords, chunks, fill), order, filters, compressor)
            for coords in np.ndindex(*(-(-n // c) for n, c in zip(data.shape, chunks, strict=True)))
            if present(coords)
        }
        for numbers in per_shard:
            blobs = sharded(blobs, [*numbers, *[1] * data.ndim][: data.ndim])
        for coords, blob in blobs.items():
            self.content[self.chunk(path, coords, separator)] = blob

    def chunk(self, path: str, coords: tuple[int, ...], separator: str = "/") -> str:
        """The key of a chunk."""
        return f"data/root/{path}{'/' if path else ''}c{separator.join(map(str, coords or (0,)))}"

    def consolidate(self) -> None:
        """Consolidated metadata with their side effect."""
        self.group("consolidated")
        metadata = {k: json.loads(v) for k, v in self.content.items() if k.endswith(self.suffix)}
        value = {"metadata": metadata, "zarr_consolidated_format": 1}
        self.content["meta/root/consolidated/.zmetadata"] = dumped(value)


def transformer(numbers: Sequence[int]) -> dict[str, Any]:
    """One member of `storage_transformers`."""
    return {
        "extension": "https://purl.org/zarr/spec/storage_transformers/sharding/1.0",
        "type": "indexed",
        "configuration": {"chunks_per_shard": list(numbers)},
    }


def piece(data: Any, coords: tuple[int, ...], chunks: Sequence[int], fill: Any) -> Any:
    """A whole chunk, filled up beyond the edge."""
    chunk = np.zeros(chunks, data.dtype)
    if fill is not None and data.dtype.kind != "O":
        chunk[...] = scalar_of(fill, data.dtype)
    part = data[(*(slice(i * c, i * c + c) for i, c in zip(coords, chunks, strict=True)), ...)]
    chunk[tuple(slice(0, n) for n in part.shape)] = part
    return chunk


def encoded(chunk: Any, order: str, filters: Sequence[Mapping[str, Any]], compressor: Any) -> bytes:
    """Filters, then the compressor."""
    whole = bool(filters) and filters[0]["id"] in {"json2", "msgpack2"}
    value = chunk if whole else chunk.ravel(order)
    for config in filters:
        value = numcodecs.get_codec(dict(config)).encode(value)
    if compressor is not None:
        value = numcodecs.get_codec(dict(compressor)).encode(value)
    return value.tobytes() if isinstance(value, np.ndarray) else bytes(value)


def sharded(blobs: Mapping[tuple[int, ...], bytes], numbers: Sequence[int]) -> dict[tuple[int, ...], bytes]:
    """Shards of chunks: the chunk that came last lies first."""
    members: dict[tuple[int, ...], dict[tuple[int, ...], bytes]] = {}
    for coords, blob in blobs.items():
        shard = tuple(c // n for c, n in zip(coords, numbers, strict=True))
        members.setdefault(shard, {})[tuple(c % n for c, n in zip(coords, numbers, strict=True))] = blob
    made = {}
    for shard, held in members.items():
        body = b""
        places = {}
        for inside, blob in reversed(held.items()):
            places[inside] = (len(body), len(blob))
            body += blob
        index = (places.get(inside, (EMPTY, EMPTY)) for inside in itertools.product(*map(range, numbers)))
        made[shard] = body + b"".join(struct.pack("<QQ", *pair) for pair in index)
    return made


@pytest.fixture(scope="session")
def new_draft() -> type[Draft]:
    """The class `Draft`."""
    return Draft


@pytest.fixture
def mixed(new_draft: Any) -> Any:
    """A hierarchy with a bit of everything."""
    draft = new_draft()
    draft.group("", title="old", bad=float("nan"))
    draft.group("g", n=1)
    draft.array("g/x", np.arange(12).reshape(3, 4), chunks=(2, 2))
    draft.array("imp/licit/y", np.arange(5.0), chunks=(2,), separator=".")
    draft.array("c", np.int32(7), chunks=())
    draft.array("x.array", np.arange(4), chunks=(2,), per_shard=[(2,)])
    draft.group("y.group.json")
    draft.consolidate()
    return draft
