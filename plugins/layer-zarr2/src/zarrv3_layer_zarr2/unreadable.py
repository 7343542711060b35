"""Replaces a document that cannot be translated: reading it raises the reason, its neighbours stay readable."""

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from zarrv3.errors import MetadataError, NotPortableError
from zarrv3.format.data_types import DataType
from zarrv3.format.documents import dump_document
from zarrv3.store.contract import JSON

_LONGEST = 2000


def unreadable(error: MetadataError) -> bytes:
    """A final document that raises the same error when it is parsed.

    A store hands over bytes, and one bad document must not keep a group's other members from being listed.
    """
    configuration = {"reason": str(error)[:_LONGEST]}
    return dump_document(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [],
            "data_type": {"name": "zarr2.unreadable", "configuration": configuration},
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": []}},
            "chunk_key_encoding": {"name": "default"},
            "fill_value": None,
            "codecs": ["bytes"],
        }
    )


class Unreadable(DataType):
    """`zarr2.unreadable`, which only translated documents contain: reading it raises."""

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> NoReturn:  # noqa: ARG003 - the plugin interface
        """Raise the reason; copies of the node are refused with the same."""
        raise NotPortableError(str(configuration.get("reason")))

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> None:
        """No dtype is of this type."""
