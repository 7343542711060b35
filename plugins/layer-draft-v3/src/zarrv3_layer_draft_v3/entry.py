"""The entry point of a draft hierarchy, by which it is recognised. Imports little, since the hook looks at many stores."""

from zarrv3.errors import MetadataError
from zarrv3.format.documents import load_document
from zarrv3.store.contract import Buffer

ENTRY = "zarr.json"
"""The key of the entry point; in the final format that of a node's document."""

_URIS = ("zarr/spec/protocol/core/3.0", "zarr/spec/core/3.0")


def draft_suffix(document: Buffer) -> str | None:
    """The suffix of documents according to the entry point; `None` if it is not a draft's."""
    try:
        entry = load_document(document, source=ENTRY)
    except MetadataError:
        return None
    version, suffix = entry.get("zarr_format"), entry.get("metadata_key_suffix")
    is_draft = isinstance(version, str) and any(uri in version for uri in _URIS)
    return suffix if is_draft and isinstance(suffix, str) else None
