"""The engine `zarrv3` of xarray."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from xarray import Dataset, DataTree
from xarray.backends import BackendEntrypoint, StoreBackendEntrypoint

from zarrv3 import Group, registry
from zarrv3.errors import ConfigurationError
from zarrv3.options.urls import parse_pipeline
from zarrv3.store.base import BaseStore
from zarrv3_bridge_xarray.groups import GroupStore, closed, open_group, open_groups, place_of

ELSEWHERE = frozenset({"file", "directory", "zip", "http", "https"})
"""Schemes that others open too, so that nothing is guessed from them; besides those that come from fsspec."""


class ZarrV3Backend(BackendEntrypoint):
    """`xr.open_dataset(store, engine="zarrv3")` for anything that `zarrv3.open_store` takes, and for open groups.

    Elements are read when they are asked for. Datasets pickle by the store's configuration.
    """

    description: ClassVar[str] = "Open Zarr V3 groups in any store of zarrv3, by URL"
    supports_groups: ClassVar[bool] = True

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether this can be meant for zarrv3: a store, a group, a URL that nobody else reads, or a folder with a hierarchy.

        xarray asks netCDF4 and, by the alphabet, zarr first.
        """
        if isinstance(filename_or_obj, BaseStore | Group):
            return True
        if not isinstance(filename_or_obj, str | PathLike):
            return False
        path = Path(filename_or_obj)
        return path.suffix == ".zarr" or (path / "zarr.json").is_file() or _is_our_url(str(filename_or_obj))

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        mask_and_scale: bool = True,
        decode_times: bool = True,
        concat_characters: bool = True,
        decode_coords: bool = True,
        drop_variables: str | Iterable[str] | None = None,
        use_cftime: bool | None = None,
        decode_timedelta: bool | None = None,
        group: str | None = None,
        consolidated: bool | None = None,
        use_consolidated: bool | None = None,
        storage_options: Mapping[str, Any] | None = None,
        use_zarr_fill_value_as_mask: bool | None = None,
        mode: str = "r",
        zarr_format: int | None = None,
    ) -> Dataset:
        """The group at a path as a dataset.

        Args:
            filename_or_obj: anything that `zarrv3.open_store` takes, or a `zarrv3.Group`; a URL may end in `|zarr3:path`.
            mask_and_scale: as in `xarray.open_dataset`, like the next five.
            decode_times: see there.
            concat_characters: see there.
            decode_coords: see there.
            drop_variables: see there; these arrays are not even looked at.
            use_cftime: see there.
            decode_timedelta: see there.
            group: the path of the group.
            consolidated: `True` reads consolidated metadata, which must be there, `False` does not. By default they are
                read only where the store cannot list its keys: they may be stale.
            use_consolidated: the same, as zarr-python calls it.
            storage_options: options of the store.
            use_zarr_fill_value_as_mask: take arrays' fill values for missing values.
            mode: `r`.
            zarr_format: 3; data in version 2 are opened by the layer `|zarr2:`.
        """
        _check(mode, zarr_format)
        place = place_of(filename_or_obj, group, storage_options)
        drop = _names(drop_variables)
        with closed(place, keep=True):
            opened = open_group(
                place,
                consolidated=_either(consolidated, use_consolidated),
                drop=drop,
                masks=bool(use_zarr_fill_value_as_mask),
            )
            return _decoded(
                opened,
                mask_and_scale=mask_and_scale,
                decode_times=decode_times,
                concat_characters=concat_characters,
                decode_coords=decode_coords,
                drop_variables=drop,
                use_cftime=use_cftime,
                decode_timedelta=decode_timedelta,
            )

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
        consolidated: bool | None = None,
        use_consolidated: bool | None = None,
        storage_options: Mapping[str, Any] | None = None,
        use_zarr_fill_value_as_mask: bool | None = None,
        mode: str = "r",
        zarr_format: int | None = None,
        **decoding: Any,
    ) -> dict[str, Dataset]:
        """The group at a path as `"/"`, and every group below it as `"/a/b"`; see `open_dataset`."""
        _check(mode, zarr_format)
        place = place_of(filename_or_obj, group, storage_options)
        drop = _names(drop_variables)
        with closed(place, keep=True):
            return {
                path: _decoded(opened, drop_variables=drop, **decoding)
                for path, opened in open_groups(
                    place,
                    consolidated=_either(consolidated, use_consolidated),
                    drop=drop,
                    masks=bool(use_zarr_fill_value_as_mask),
                )
            }

    def open_datatree(self, filename_or_obj: Any, **options: Any) -> DataTree:
        """The group at a path with every group below it as a tree; see `open_groups_as_dict`."""
        groups = self.open_groups_as_dict(filename_or_obj, **options)
        try:
            tree = DataTree.from_dict(groups)
        except Exception:
            groups["/"].close()
            raise
        tree.set_close(groups["/"]._close)
        return tree


def _decoded(store: GroupStore, **decoding: Any) -> Dataset:
    return StoreBackendEntrypoint().open_dataset(store, **decoding)


def _check(mode: str, zarr_format: int | None) -> None:
    if mode != "r" or zarr_format not in {None, 3}:
        raise ConfigurationError(
            f"datasets are opened with mode='r' and zarr_format=3, not {mode!r} and {zarr_format!r}; "
            "add '|zarr2:' to the URL of data in version 2"
        )


def _names(drop: str | Iterable[str] | None) -> frozenset[str]:
    return frozenset([drop] if isinstance(drop, str) else drop or ())


def _either(consolidated: bool | None, use_consolidated: bool | None) -> bool | None:
    if None not in {consolidated, use_consolidated} and consolidated != use_consolidated:
        raise ConfigurationError("consolidated and use_consolidated say different things; give one")
    return use_consolidated if consolidated is None else consolidated


def _is_our_url(text: str) -> bool:
    """Whether a text is a URL of a kind that only zarrv3 knows; asks no store and imports no plugin."""
    try:
        root, *adapters = parse_pipeline(text)
    except ConfigurationError:
        return False
    if adapters:
        known = {plugin.name for plugin in registry.plugins("layers")} | {"zarr3", "zip"}
        return all(adapter.scheme in known for adapter in adapters)
    stores = registry.plugins("stores")
    others = {plugin.name for plugin in stores if plugin.distribution == "zarrv3-store-fsspec"}
    schemes = {"store", *(plugin.name for plugin in stores)} - others - ELSEWHERE
    return "://" in text and root.scheme in schemes
