"""Which part of the arrays in a store a dataset is written to."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from xarray import Dataset, Variable, conventions

from zarrv3 import Array
from zarrv3.errors import AssignmentError, ConfigurationError
from zarrv3_bridge_xarray.variables import as_variable, dimensions

Region: TypeAlias = Mapping[str, slice | Literal["auto"]] | Literal["auto"] | None
Slices: TypeAlias = dict[Hashable, slice]


def resolved(dataset: Dataset, region: Region, arrays: Mapping[str, Array]) -> Slices:
    """A region as slices with start and stop; `"auto"` finds the dataset's coordinates among those in the store.

    Raises `ConfigurationError` for a region that makes no sense, `AssignmentError` where coordinates do not fit: those of
    the dataset along a dimension of the region have to be those that the store has there.
    """
    wanted: Mapping[str, Any]
    if isinstance(region, str):
        if region != "auto":
            raise ConfigurationError(
                f"region must be 'auto' or a mapping from dimensions to slices, not {region!r}"
            )
        wanted = {str(dim): "auto" for dim in dataset.dims}
    elif isinstance(region, Mapping):
        wanted = region
    else:
        raise ConfigurationError(
            f"region must be 'auto' or a mapping from dimensions to slices, not {region!r}"
        )
    if unknown := [dim for dim in wanted if dim not in dataset.dims]:
        raise ConfigurationError(
            f"region: the dataset has no dimension {unknown[0]!r}; it has {[*dataset.dims]}"
        )
    lengths = {
        name: n for array in arrays.values() for name, n in zip(dimensions(array), array.shape, strict=True)
    }
    found: Slices = {}
    for dim, part in wanted.items():
        if dim not in lengths:
            raise AssignmentError(f"region: no array in the store has the dimension {dim!r}")
        if part == "auto":
            found[dim] = _detected(dataset, dim, arrays, lengths[dim])
        else:
            found[dim] = _checked(dataset, dim, part, lengths[dim])
            _check_coordinate(dataset, dim, found[dim], arrays)
    for dim in set(map(str, dataset.indexes)) - set(wanted):
        _check_coordinate(dataset, dim, slice(0, lengths.get(dim, 0)), arrays)
    return found


def check_covers(dataset: Dataset, region: Slices) -> None:
    """Raise `ConfigurationError` for variables that have no dimension of the region: they belong to the whole."""
    outside = [
        str(name)
        for name, v in dataset.variables.items()
        if name not in dataset.indexes and not set(region) & set(v.dims)
    ]
    if region and outside:
        raise ConfigurationError(
            f"{outside} have no dimension of the region {sorted(map(str, region))} and are not part of it; "
            f"leave them out: dataset.drop_vars({outside!r})"
        )


def _checked(dataset: Dataset, dim: str, part: Any, length: int) -> slice:
    if not isinstance(part, slice) or part.step not in {None, 1}:
        raise ConfigurationError(f"region[{dim!r}] must be a slice in steps of one or 'auto', not {part!r}")
    start, stop, _ = part.indices(length)
    if max(0, stop - start) != dataset.sizes[dim]:
        raise AssignmentError(
            f"region[{dim!r}] = {start}:{stop} has {max(0, stop - start)} places in the store's {length}, "
            f"the dataset has {dataset.sizes[dim]}"
        )
    return slice(start, stop)


def _detected(dataset: Dataset, dim: str, arrays: Mapping[str, Array], length: int) -> slice:
    """Where the dataset's coordinate stands in the store's; the whole dimension if there is no coordinate."""
    if dim not in dataset.variables:
        return _checked(dataset, dim, slice(0, dataset.sizes[dim]), length)
    if dim not in arrays:
        raise AssignmentError(
            f"region[{dim!r}] = 'auto' needs the coordinate {dim!r} in the store; give a slice"
        )
    index = pd.Index(_stored(dim, arrays[dim]).values)
    if not index.is_unique:
        twice = index[index.duplicated()][0]
        raise AssignmentError(
            f"region[{dim!r}] = 'auto': {twice} occurs more than once among the store's coordinates; give a slice"
        )
    places = index.get_indexer(pd.Index(dataset[dim].values))
    if (places == -1).any():
        raise AssignmentError(
            f"region[{dim!r}] = 'auto': some coordinates of the dataset are not in the store"
        )
    if not places.size or (np.diff(places) != 1).any():
        raise AssignmentError(
            f"region[{dim!r}] = 'auto': the coordinates do not lie side by side in the store"
        )
    return slice(int(places[0]), int(places[-1]) + 1)


def _check_coordinate(dataset: Dataset, dim: str, part: slice, arrays: Mapping[str, Array]) -> None:
    """Raise `AssignmentError` if the store has other coordinates there: the values would get wrong ones."""
    if dim not in dataset.indexes or dim not in arrays or arrays[dim].ndim != 1:
        return
    there = pd.Index(_stored(dim, arrays[dim])[part].values)
    if not there.equals(pd.Index(dataset[dim].values)):
        raise AssignmentError(
            f"region[{dim!r}] = {part.start}:{part.stop}: the coordinates there are others than the dataset's; "
            f"give the right slice or 'auto', or write without them: dataset.drop_vars({dim!r})"
        )


def _stored(name: str, array: Array) -> Variable:
    return conventions.decode_cf_variable(name, as_variable(array))
