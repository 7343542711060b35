"""The hook that recognises a draft hierarchy."""

from zarrv3.errors import InvalidKeyError, StoreAccessError, StoreUnavailableError
from zarrv3.opening.hooks import hookimpl
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import whole
from zarrv3_layer_draft_v3.entry import ENTRY, draft_suffix


@hookimpl
def zarrv3_recognise(store: BaseStore, path: str) -> str | None:
    """The adapter for a draft hierarchy at the root of a store, or at a path of it."""
    places = dict.fromkeys(("", path))
    try:
        documents = store.get_many(whole(f"{place}/{ENTRY}" if place else ENTRY for place in places))
    except StoreUnavailableError:
        raise
    except (InvalidKeyError, StoreAccessError):  # a store that refuses such keys has none
        return None
    for place, document in zip(places, documents, strict=True):
        if document is not None and draft_suffix(document) is not None:
            return f"prefix:{place}|draft-v3:" if place else "draft-v3:"
    return None
