"""The hook that recognises a database or an archive that was taken for a folder."""

from zarrv3.opening.hooks import hookimpl
from zarrv3.store.base import BaseStore
from zarrv3_store_directory.signatures import url_of


@hookimpl
def zarrv3_recognise(store: BaseStore) -> str | None:
    """The URL that opens the file which a store takes for its folder, or LMDB's file in that folder."""
    place = store.address("")
    return url_of(place.file) if place.file and place.key is None else None
