"""A layer that shows the draft V3 format of zarr-python 2 as final Zarr V3.

layer        `DraftV3`: the store; `listing` has its listings
keys         keys of both formats, pure text
hierarchy    finding the documents of nodes
documents    documents of the draft → final documents
shards       telling shards by their bytes; `repair`: arrays that lost their transformer
report       what is wrong in a hierarchy
hooks        recognising a draft; `entry`: by what

Data types, fill values, filters and compressors are those of Zarr version 2: `zarrv3_layer_zarr2` translates them.
The hook is imported with every store that is opened, so the rest is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zarrv3_layer_draft_v3.layer import DraftV3
    from zarrv3_layer_draft_v3.report import KINDS, Damage

__all__ = ["KINDS", "Damage", "DraftV3"]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are asked for."""
    if name == "DraftV3":
        from zarrv3_layer_draft_v3 import layer

        return layer.DraftV3
    if name in {"KINDS", "Damage"}:
        from zarrv3_layer_draft_v3 import report

        return getattr(report, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
