"""Everything that writing a dataset to a group will do, worked out and checked before anything is changed."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from itertools import repeat
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from xarray import Variable, conventions
from xarray.backends.common import AbstractWritableDataStore
from xarray.backends.zarr import encode_zarr_variable

from zarrv3 import Array
from zarrv3.errors import AssignmentError, ConfigurationError, MetadataError
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.hierarchy.creation import metadata_for
from zarrv3.hierarchy.nodes import folder_of
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON
from zarrv3_bridge_xarray import chunking
from zarrv3_bridge_xarray.variables import array_dtype, as_variable, encoded_attributes

Mode: TypeAlias = Literal["w", "w-", "a", "a-", "r+"]

OPTIONS = frozenset(
    {"chunks", "shards", "compressors", "filters", "serializer", "fill_value", "chunk_key_encoding",
     "storage_transformers", "write_empty_chunks"}
)  # fmt: skip
"""What a variable's encoding may say about its array, besides what xarray's conventions take from it."""

CONVENTIONS = ("units", "calendar", "scale_factor", "add_offset", "_FillValue", "missing_value", "dtype")
"""The attributes that say what stored numbers mean: those of new values have to be those in the store."""


class Target(NamedTuple):
    """Values of a variable and where they go."""

    values: Any
    """An encoded variable in memory, or a dask array."""
    path: str
    """The array's path in the store."""
    region: tuple[slice, ...]
    grows: tuple[int, int, int] | None
    """The axis along which the array has to grow first, its length now and then."""
    write_empty: bool | None


class Plan(NamedTuple):
    """What will be done to one group."""

    path: str
    attributes: dict[str, JSON] | None
    """Those of the group; `None` leaves them."""
    arrays: dict[str, ArrayMetadata]
    """The arrays to create, by path in the store."""
    targets: list[Target]


class PlanStore(AbstractWritableDataStore):
    """Where `Dataset.dump_to_store` puts a dataset: it becomes a plan, nothing is written.

    Args:
        store: the store.
        path: the path of the group.
        mode: as in `to_zarrv3`.
        arrays: the arrays that are in the group and stay.
        append_dim: the dimension that grows.
        region: the part that is written.
        align: change blocks of dask arrays that share chunks, instead of refusing.
        write_empty: whether to store chunks of the fill value.
    """

    def __init__(
        self,
        store: BaseStore,
        path: str,
        mode: Mode,
        *,
        arrays: Mapping[str, Array],
        append_dim: Hashable | None = None,
        region: Mapping[Hashable, slice] | None = None,
        align: bool = False,
        write_empty: bool | None = None,
    ) -> None:
        self._store, self._path, self._mode = store, path, mode
        self._arrays = arrays
        self._append_dim = append_dim
        self._region = dict(region or {})
        self._align = align
        self._write_empty = write_empty
        self.plan = Plan(path, None, {}, [])

    def store(
        self,
        variables: Mapping[Hashable, Variable],
        attributes: Mapping[str, Any],
        check_encoding_set: Collection[Hashable] = frozenset(),
        writer: Any = None,  # noqa: ARG002 - values go where the plan says
        unlimited_dims: Any = None,  # noqa: ARG002 - every dimension can grow
    ) -> None:
        """Make the plan; called by `Dataset.dump_to_store`."""
        changes = self._mode != "r+"
        self.plan = self.plan._replace(attributes=encoded_attributes(attributes) if changes else None)
        for name, variable in variables.items():
            if not isinstance(name, str) or not name or "/" in name:
                raise MetadataError(f"a variable needs a name that is a text without '/', not {name!r}")
            there = self._arrays.get(name)
            try:
                if there is None:
                    self._plan_new(name, variable, is_strict=name in check_encoding_set)
                else:
                    self._plan_existing(there, variable, has_encoding=name in check_encoding_set)
            except Exception as error:
                error.add_note(f"while writing the variable {name!r}")
                raise

    # ------------------------------------------------------------ arrays that are not there

    def _plan_new(self, name: str, variable: Variable, *, is_strict: bool) -> None:
        if self._mode == "r+":
            raise ConfigurationError(
                f"there is no array {name!r} in the store, and mode='r+' creates none; use mode='a'"
            )
        if self._region and set(self._region) & set(variable.dims):
            raise ConfigurationError(
                f"there is no array {name!r} in the store of which a region could be written; "
                "write the whole first, with compute=False if its values are to come later"
            )
        encoded = _encoded(variable, name)
        options = self._options(encoded, is_strict=is_strict)
        write_empty = options.pop("write_empty_chunks", self._write_empty)
        metadata = metadata_for(
            self._store,
            shape=encoded.shape,
            dtype=array_dtype(encoded.dtype),
            attributes=encoded_attributes(encoded.attrs, encoded.dtype),
            dimension_names=[str(dim) for dim in encoded.dims],
            **options,
        )
        array = Array(self._store, folder_of(self._path) + name, metadata=metadata)
        region = tuple(slice(0, n) for n in encoded.shape)
        values = chunking.aligned(encoded, array, region, align=self._align)
        self.plan.arrays[array.path] = metadata
        self.plan.targets.append(Target(values, array.path, region, None, write_empty))

    def _options(self, encoded: Variable, *, is_strict: bool) -> dict[str, Any]:
        """What a variable's encoding says about its array, and chunks that fit the blocks of a dask array."""
        given = {str(key): value for key, value in encoded.encoding.items() if value is not None}
        ignored = {"preferred_chunks", "source", "original_shape", "compressor", "dtype", "szip", "zlib"}
        if is_strict and (unknown := sorted(set(given) - OPTIONS - {"preferred_chunks", "dtype"})):
            raise ConfigurationError(
                f"unknown encoding {unknown[0]!r}; known are {', '.join(sorted(OPTIONS))} and those of CF conventions"
            )
        options = {key: value for key, value in given.items() if key in OPTIONS - ignored}
        for key in ("chunks", "shards"):  # of another array, whose number of dimensions was another
            lengths = options.get(key)
            if not isinstance(lengths, list | tuple) or is_strict:
                continue
            if len(lengths) != encoded.ndim:
                del options[key]
            else:
                options[key] = tuple(map(_reaching, lengths, encoded.shape))
        if encoded.dtype.kind == "f":
            options.setdefault("fill_value", np.nan)  # as xarray's own engine
        if encoded.chunks is not None and "chunks" not in options:
            options.update(chunking.fitting(encoded.data, options.get("shards"), align=self._align))
        return options

    # ------------------------------------------------------------ arrays that are there

    def _plan_existing(self, array: Array, variable: Variable, *, has_encoding: bool) -> None:
        if has_encoding:
            raise ConfigurationError(
                f"{array!r} exists; its encoding cannot be changed by mode={self._mode!r}"
            )
        grows = self._append_dim is not None and self._append_dim in variable.dims
        if self._mode == "a-" and self._append_dim is not None and not grows:
            return
        encoded = self._like_stored(array, variable)
        region, growth = self._place(array, encoded, grows=grows)
        strict = self._mode == "r+" and bool(self._region)
        values = chunking.aligned(encoded, array, region, align=self._align, partial=not strict)
        self.plan.targets.append(Target(values, array.path, region, growth, self._write_empty))

    def _like_stored(self, array: Array, variable: Variable) -> Variable:
        """A variable encoded as the array in the store is; raises `AssignmentError` where that cannot be done exactly."""
        raw = as_variable(array)
        decoded = conventions.decode_cf_variable(array.basename, raw)
        if set(decoded.dims) != set(variable.dims):
            raise AssignmentError(
                f"{array!r} has the dimensions {decoded.dims}, the variable {variable.dims}"
            )
        new = variable.copy(deep=False)
        new.encoding = _like(array, decoded, variable)
        encoded = _encoded(new, array.basename).transpose(*decoded.dims)
        _check_dtype(array, encoded)
        is_time = _is_time(decoded) or variable.dtype.kind in "mM"
        for name in CONVENTIONS:
            is_plain = name == "units" and not is_time  # a physical unit, which is not ours to judge
            if not is_plain and not _means_same(encoded.attrs.get(name), raw.attrs.get(name)):
                raise AssignmentError(
                    f"the values cannot be encoded as those of {array!r}: {name} would be "
                    f"{encoded.attrs.get(name)!r} instead of {raw.attrs.get(name)!r}"
                )
        return encoded

    def _place(
        self, array: Array, encoded: Variable, *, grows: bool
    ) -> tuple[tuple[slice, ...], tuple[int, int, int] | None]:
        """The part of the array that is written, and how it has to grow for that."""
        parts: list[slice] = []
        growth = None
        for axis, (dim, length, there) in enumerate(
            zip(encoded.dims, encoded.shape, array.shape, strict=True)
        ):
            if grows and dim == self._append_dim:
                growth = (axis, there, there + length)
                parts.append(slice(there, there + length))
                continue
            part = self._region.get(dim, slice(0, there))
            if part.stop - part.start != length:
                raise AssignmentError(
                    f"{array!r} has {part.stop - part.start} places along {dim!r}, the variable {length}; "
                    "append_dim adds to the end of a dimension, region writes to a part"
                )
            parts.append(part)
        return tuple(parts), growth


def _encoded(variable: Variable, name: str) -> Variable:
    """A variable by CF conventions, as xarray's own engine stores it."""
    if variable.dtype.kind == "T":
        return conventions.encode_cf_variable(variable, name=name)
    encoded: Variable = encode_zarr_variable(variable, name=name)
    return encoded


def _like(array: Array, decoded: Variable, variable: Variable) -> dict[str, Any]:
    """The encoding for new values of an array that exists.

    The stored dtype is only in it where the conventions need it: they cast to it without a look at what is lost.
    """
    found = {k: v for k, v in decoded.encoding.items() if k not in OPTIONS | {"preferred_chunks", "dtype"}}
    if array.dtype.kind in "iu" and decoded.dtype.kind not in "iu":  # scaled, masked, or times
        is_wide = variable.chunks is None and array.dtype != np.uint64
        found["dtype"] = np.dtype("i8") if is_wide else array.dtype  # values in memory are checked afterwards
    elif _is_time(decoded):
        found["dtype"] = array.dtype
    return found


def _is_time(decoded: Variable) -> bool:
    return decoded.dtype.kind in "mM" or "units" in decoded.encoding


def _means_same(a: Any, b: Any) -> bool:
    """Whether two attributes say the same about stored numbers."""
    if a is None or b is None:
        return a is b
    if isinstance(a, str) and isinstance(b, str) and " since " in a and " since " in b:
        (unit, start), (other, begin) = a.split(" since ", 1), b.split(" since ", 1)
        try:
            return unit == other and pd.Timestamp(start) == pd.Timestamp(begin)
        except (TypeError, ValueError):  # a calendar that pandas does not know
            return a == b
    return bool(np.array_equal(a, b) or (_is_nan(a) and _is_nan(b)))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float | complex | np.inexact) and bool(np.isnan(value))


def _check_dtype(array: Array, encoded: Variable) -> None:
    """Raise `AssignmentError` for values that the array's dtype would change: cut texts, other signs, lost digits."""
    new, there = encoded.dtype, array.dtype
    if new == there or np.can_cast(new, there, "safe"):
        return
    if new.kind == there.kind == "f":
        return  # rounded to what the store holds
    if new.kind in "UTO" and there.kind in "TO":
        return
    if new.kind in "iu" and there.kind in "iu" and encoded.chunks is None:
        values = np.asarray(encoded.data)
        limits = np.iinfo(there)
        if not values.size or (values.min() >= limits.min and values.max() <= limits.max):
            return
    raise AssignmentError(
        f"values of {new} cannot be stored in {array!r} without loss; convert them first: variable.astype({str(there)!r})"
    )


def _reaching(lengths: Any, extent: int) -> Any:
    """Lengths of chunks that are listed, of a shorter array perhaps: the last one again as often as it takes."""
    if not isinstance(lengths, list | tuple) or not lengths:
        return lengths
    missing = max(0, extent - sum(lengths))
    return (*lengths, *repeat(lengths[-1], -(-missing // lengths[-1])))
