"""The libraries that read and write the same arrays, each with the same two functions.

A peer writes a `Case` into a folder with its own metadata writer and its own codecs, and reads the array of a folder as
a native numpy array. What it cannot do it says with its own exceptions; `interop_gaps` lists them.
"""

import contextlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import ml_dtypes  # noqa: F401 - registers bfloat16 and its kin with numpy
import numpy as np
import tensorstore
import zarr
import zarr.registry
from zarr.core.buffer import default_buffer_prototype
from zarr.core.metadata.v3 import ArrayV3Metadata

import zarrv3
from zarrv3.format.data_types import parse_data_type

LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
BIG = {"name": "bytes", "configuration": {"endian": "big"}}
SINGLE = {"name": "bytes"}

VERSIONS = {
    "zarr-python": tuple(map(int, version("zarr").split(".")[:2])),
    "zarrs": tuple(map(int, version("zarrs").split(".")[:3])),
    "tensorstore": tuple(map(int, version("tensorstore").split(".")[:3])),
}
"""The installed peers, for gaps that a version closes."""


@dataclass(frozen=True, eq=False)
class Case:
    """An array as every peer is asked to write it."""

    name: str
    data_type: Any
    values: np.ndarray
    fill_value: Any
    chunks: tuple[int, ...]
    codecs: tuple[Any, ...]
    keys: Any = field(default_factory=lambda: {"name": "default", "configuration": {"separator": "/"}})
    dimension_names: tuple[str | None, ...] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    """What is special about the case, beyond its data type and codecs."""

    @property
    def features(self) -> frozenset[str]:
        """The names by which `interop_gaps` may know the case."""
        codecs = {codec["name"] for codec in self.codecs} - {"bytes"}  # which is a data type, too
        return self.tags | {self.name, named(self.data_type), *codecs}

    @property
    def document(self) -> dict[str, Any]:
        """The case as `zarr.json`."""
        found = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.values.shape),
            "data_type": self.data_type,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.chunks)}},
            "chunk_key_encoding": self.keys,
            "fill_value": self.fill_value,
            "codecs": list(self.codecs),
            "attributes": self.attributes,
        }
        return (
            found if self.dimension_names is None else found | {"dimension_names": list(self.dimension_names)}
        )


def named(value: Any) -> str:
    """The name in a short or long form of an extension."""
    return value if isinstance(value, str) else value["name"]


class ZarrV3:
    """This project."""

    name = "zarrv3"

    def write(self, folder: Path, case: Case) -> None:
        """Create the array through the public interface and assign the values."""
        kind = parse_data_type(case.data_type)
        zarrv3.create(
            case.values.shape,
            store=str(folder),
            dtype=case.data_type,
            chunks=case.chunks,
            codecs=case.codecs,
            fill_value=kind.fill_from_json(case.fill_value),
            chunk_key_encoding=case.keys,
            dimension_names=case.dimension_names,
            attributes=case.attributes,
        )
        self.assign(folder, case.values)

    def assign(self, folder: Path, values: np.ndarray) -> None:
        """Write all values of an array that is there."""
        zarrv3.open_array(str(folder), mode="r+")[...] = values

    def change(self, folder: Path, part: Any, values: np.ndarray) -> None:
        """Write a part of an array that is there."""
        zarrv3.open_array(str(folder), mode="r+")[part] = values

    def read(self, folder: Path) -> np.ndarray:
        """The values of the array at the root of a folder."""
        return np.asarray(zarrv3.open_array(str(folder), mode="r")[...])


def _is_ours(found: Any) -> bool:
    """Whether a codec of zarr-python's registry is one that `zarrv3-bridge-zarr` brings."""
    points = (point.value for point in found.lazy_load_list)
    return any(value.startswith("zarrv3_bridge_zarr.") for value in (*found, *points))


class ZarrPython:
    """zarr-python with its own codecs, without those that our bridge brings."""

    name = "zarr-python"

    def write(self, folder: Path, case: Case) -> None:
        """Let zarr-python parse the document and write its own, then assign the values."""
        with self.settings():
            metadata = ArrayV3Metadata.from_dict(case.document)
            for name, buffer in metadata.to_buffer_dict(default_buffer_prototype()).items():
                (folder / name).write_bytes(buffer.to_bytes())
        self.assign(folder, case.values)

    def assign(self, folder: Path, values: np.ndarray) -> None:
        """Write all values of an array that is there."""
        with self.settings():
            zarr.open_array(folder, mode="r+")[...] = values

    def change(self, folder: Path, part: Any, values: np.ndarray) -> None:
        """Write a part of an array that is there."""
        with self.settings():
            zarr.open_array(folder, mode="r+")[part] = values

    def read(self, folder: Path) -> np.ndarray:
        """The values of the array at the root of a folder."""
        with self.settings():
            array = zarr.open_array(folder, mode="r")
            return native(np.asarray(array[...], dtype=array.dtype))

    @contextlib.contextmanager
    def settings(self) -> Iterator[None]:
        """The codecs to use; zarr-python's remarks about extensions are not errors here."""
        names = vars(zarr.registry)
        registries = names.get("_codec_registries") or names["__codec_registries"]  # since 3.4, before
        with (
            warnings.catch_warnings(),
            zarr.config.set(self.options()),
            patch.dict(
                registries, {name: type(found)() for name, found in registries.items() if _is_ours(found)}
            ),
        ):
            quiet()
            yield

    def options(self) -> dict[str, Any]:
        """zarr-python's configuration."""
        return {"codec_pipeline.path": "zarr.core.codec_pipeline.BatchedCodecPipeline"}


class Zarrs(ZarrPython):
    """zarr-python's metadata with the codecs of zarrs (Rust); `strict` keeps it from falling back to zarr-python's."""

    name = "zarrs"

    def options(self) -> dict[str, Any]:
        """zarr-python's configuration."""
        return {"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "codec_pipeline.strict": True}


class TensorStore:
    """TensorStore's driver `zarr3`. It shows records one field at a time and raw bytes as one more dimension."""

    name = "tensorstore"

    def write(self, folder: Path, case: Case) -> None:
        """Create the array from the members of the document and write the values."""
        spec = {"metadata": case.document}
        if case.values.dtype.names:
            spec["field"] = case.values.dtype.names[0]
        elif case.values.dtype.type is np.void:
            spec["open_as_void"] = (
                True  # it aborts the process otherwise: "Check failed: range size mismatch"
            )
        self.open(folder, create=True, **spec)
        self.assign(folder, case.values)

    def assign(self, folder: Path, values: np.ndarray) -> None:
        """Write all values of an array that is there."""
        for name in values.dtype.names or ():
            self.open(folder, field=name).write(np.ascontiguousarray(values[name])).result()
        if not values.dtype.names:
            void = values.dtype.type is np.void  # those of ml_dtypes have the kind V, too
            values = np.ascontiguousarray(values)[..., np.newaxis].view("V1") if void else values
            self.open(folder).write(values).result()

    def change(self, folder: Path, part: Any, values: np.ndarray) -> None:
        """Write a part of an array that is there."""
        self.open(folder)[part].write(np.ascontiguousarray(values)).result()

    def read(self, folder: Path) -> np.ndarray:
        """The values of the array at the root of a folder."""
        data_type = load_document(folder)["data_type"]
        if named(data_type) in {"struct", "structured"}:
            return self.records(folder, data_type["configuration"]["fields"])
        array = self.open(folder)
        if array.dtype != tensorstore.byte:
            return native(np.asarray(array.read().result()))
        found = np.zeros(array.shape, "V1")  # what `read` returns has no item size
        tensorstore.array(found, copy=False).write(array).result()
        return found.view((np.void, array.shape[-1])).reshape(array.shape[:-1])

    def records(self, folder: Path, fields: list[Any]) -> np.ndarray:
        """An array of records, put together from its fields."""
        names = [field[0] if isinstance(field, list) else field["name"] for field in fields]
        columns = [np.asarray(self.open(folder, field=name).read().result()) for name in names]
        found = np.zeros(
            columns[0].shape, [(name, column.dtype) for name, column in zip(names, columns, strict=True)]
        )
        for name, column in zip(names, columns, strict=True):
            found[name] = column
        return found

    def open(self, folder: Path, *, create: bool = False, **options: Any) -> Any:
        """The array in a folder, by the members of TensorStore's specification."""
        kvstore = {"driver": "file", "path": str(folder), "file_io_sync": False}
        spec = {"driver": "zarr3", "kvstore": kvstore, **options}
        return tensorstore.open(spec, create=create, open=not create).result()


OURS = ZarrV3()
PEERS = {peer.name: peer for peer in (ZarrPython(), Zarrs(), TensorStore())}


def quiet() -> None:
    """Filter what zarr-python warns about when an extension is used as intended."""
    for message in (
        "The data type .* does not have a Zarr V3 specification",
        "Numcodecs codecs are not in the Zarr version 3 specification",
        "Combining a `sharding_indexed` codec disables partial reads",
        "invalid value encountered in equal",  # a signalling NaN, compared with the fill value
    ):
        warnings.filterwarnings("ignore", message)


def native(values: np.ndarray) -> np.ndarray:
    """The values in the byte order of this machine."""
    return values.astype(values.dtype.newbyteorder("=")) if not values.dtype.isnative else values


def bits(values: np.ndarray) -> Any:
    """What has to be equal for values to be the same, NaN payloads and signs of zeros included."""
    if values.dtype.kind in "OT":
        return values.tolist()
    if values.dtype.name in {"int2", "int4", "uint2", "uint4"}:  # the upper bits of their bytes are free
        return values.astype(np.int8).tobytes()
    return values.tobytes()


def check_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Fail unless dtype, shape and every bit are equal."""
    assert found.dtype == expected.dtype, f"another dtype: {found.dtype}, not {expected.dtype}"
    assert found.shape == expected.shape, f"another shape: {found.shape}, not {expected.shape}"
    assert bits(found) == bits(expected), f"other values: {found!r}, not {expected!r}"


def load_document(folder: Path, path: str = "") -> dict[str, Any]:
    """The `zarr.json` of a node."""
    return json.loads((folder / path / "zarr.json").read_text())
