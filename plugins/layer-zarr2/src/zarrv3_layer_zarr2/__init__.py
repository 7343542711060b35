"""A layer that shows Zarr version 2 as final Zarr V3.

layer        `Zarr2`: the store
keys         names of documents in both formats, pure text
documents    documents of version 2 → final documents
consolidated `.zmetadata` → consolidated metadata of the final format
changes      changed final documents → documents of version 2
dtypes       data types and fill values; `objects`: arrays of objects
compression  filters and compressors → codecs; `categories`: one that the final format lacks
members      members that need no more than checking
unreadable   what replaces a document that cannot be translated
hooks        recognising version 2

The layer of the draft translates dtypes, fill values and codecs with these modules too. The hook is imported with
every store that is opened, so the rest is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zarrv3_layer_zarr2.layer import Zarr2

__all__ = ["Zarr2"]


def __getattr__(name: str) -> Any:
    """The public name, imported when it is asked for."""
    if name == "Zarr2":
        from zarrv3_layer_zarr2 import layer

        return layer.Zarr2
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
