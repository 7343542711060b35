"""Groups and their metadata, as zarr-python's documentation makes them."""

from collections.abc import Mapping

from zarrv3.format import metadata
from zarrv3.hierarchy.group import Group
from zarrv3.store.contract import JSON

__all__ = ["Group", "GroupMetadata"]


def GroupMetadata(attributes: Mapping[str, JSON] | None = None) -> metadata.GroupMetadata:  # noqa: N802 - theirs
    """The metadata of a new group."""
    return metadata.GroupMetadata.create(attributes)
