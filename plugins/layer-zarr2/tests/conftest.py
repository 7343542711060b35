"""Hierarchies of version 2, written by zarr-python or, where it cannot, as the format describes them."""

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numcodecs
import numpy as np
import pytest

import zarrv3


class Writer:
    """Writes nodes of version 2 into a dict: numpy, numcodecs and JSON alone."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def document(self, key: str, value: Any) -> None:
        """Any document."""
        self.content[key] = json.dumps(value, indent=4).encode()

    def group(self, path: str = "", **attributes: Any) -> None:
        """A group."""
        folder = f"{path}/" if path else ""
        self.document(f"{folder}.zgroup", {"zarr_format": 2})
        if attributes:
            self.document(f"{folder}.zattrs", attributes)

    def array(
        self,
        path: str,
        data: Any,
        *,
        chunks: Sequence[int],
        order: str = "C",
        separator: str = ".",
        filters: Sequence[Mapping[str, Any]] | None = None,
        compressor: Mapping[str, Any] | None = None,
        fill: Any = 0,
        attributes: Mapping[str, Any] | None = None,
        **members: Any,
    ) -> None:
        """An array with all its chunks; `members` are added to its document."""
        folder = f"{path}/" if path else ""
        data = np.asarray(data)
        kind = data.dtype.descr if data.dtype.names else data.dtype.str
        document = {
            "zarr_format": 2, "shape": data.shape, "chunks": list(chunks), "dtype": kind, "order": order,
            "compressor": compressor, "filters": filters, "fill_value": fill, "dimension_separator": separator,
        }  # fmt: skip
        self.document(f"{folder}.zarray", {**document, **members})
        if attributes:
            self.document(f"{folder}.zattrs", attributes)
        for coords in np.ndindex(*(-(-n // c) for n, c in zip(data.shape, chunks, strict=True))):
            part = data[(*(slice(i * c, i * c + c) for i, c in zip(coords, chunks, strict=True)), ...)]
            chunk = np.zeros(chunks, data.dtype)
            chunk[tuple(slice(0, n) for n in part.shape)] = part
            whole = bool(filters) and filters is not None and filters[0]["id"] in {"json2", "msgpack2"}
            value = chunk if whole else chunk.ravel(order)  # type: ignore[arg-type]
            for config in [*(filters or ()), *([compressor] if compressor else ())]:
                value = numcodecs.get_codec(dict(config)).encode(value)
            key = separator.join(map(str, coords)) or "0"
            self.content[folder + key] = value.tobytes() if isinstance(value, np.ndarray) else bytes(value)

    def consolidate(self) -> None:
        """`.zmetadata` of all that is there."""
        held = {k: json.loads(v) for k, v in self.content.items() if k.rpartition("/")[2].startswith(".z")}
        self.document(".zmetadata", {"metadata": held, "zarr_consolidated_format": 1})


@pytest.fixture
def writer() -> Writer:
    """A hierarchy with nothing in it."""
    return Writer()


@pytest.fixture
def mixed(writer: Writer) -> Writer:
    """A bit of everything, among it a group without document."""
    writer.group("", title="old")
    blosc = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
    names = {"_ARRAY_DIMENSIONS": ["y", "x"], "units": "m"}
    writer.array("g/x", np.arange(12).reshape(3, 4), chunks=(2, 2), attributes=names)
    writer.array("g/h/y", np.arange(5.0), chunks=(2,), separator="/", compressor=blosc)
    writer.array("c", np.int32(7), chunks=())
    return writer


@pytest.fixture
def below(mixed: Writer) -> zarrv3.MemoryStore:
    """A store with `mixed` in it."""
    return zarrv3.MemoryStore(mixed.content)


@pytest.fixture(autouse=True)
def _without_warnings_of_zarr() -> Any:
    """zarr-python warns of data types that Zarr V3 does not specify."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="zarr.*")
        yield
