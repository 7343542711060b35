"""The final keys of a draft hierarchy, from listings of its documents and of its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from zarrv3_layer_draft_v3 import keys
from zarrv3_layer_draft_v3.documents import DraftArray
from zarrv3_layer_draft_v3.hierarchy import Hierarchy
from zarrv3_layer_draft_v3.repair import Repaired


class Listing:
    """Lists keys; holds the names and grids of the arrays below a folder, but no values.

    Args:
        hierarchy: the documents.
        repaired: how to read an array that lost its transformer, `None` for others.
    """

    def __init__(self, hierarchy: Hierarchy, repaired: Callable[[str, DraftArray], Repaired | None]) -> None:
        self._hierarchy = hierarchy
        self._repaired = repaired

    def below(self, folder: str, prefix: str, *, sized: bool) -> Iterator[tuple[str, int]]:
        """The keys of a folder that start with a prefix, with their sizes if these are asked for (else 0)."""
        path = folder[:-1]
        arrays: dict[str, DraftArray] = {}
        for name, node in self._hierarchy.nodes(path):
            if isinstance(node, DraftArray):
                arrays[name] = node
            key = keys.final_document(name)
            if key.startswith(prefix):
                yield key, len(node.document) if sized else 0
        above = self._array_above(path)
        if above is not None:
            arrays[above[0]] = above[1]
        for key, size in self._chunks(path if above is None else above[0], arrays, sized=sized):
            if key.startswith(prefix):
                yield key, size

    def chunks_below(self, folder: str) -> Iterator[str]:
        """The chunk keys in a folder that belong to the array there, or above if it is a folder of chunks."""
        path = folder[:-1]
        arrays = self._hierarchy.arrays({path})
        above = self._array_above(path)
        if above is not None:
            arrays[above[0]] = above[1]
        for name, array in arrays.items():
            for key, _ in self._chunks(name, {name: array}, sized=False):
                if key.startswith(folder):
                    yield key

    def _array_above(self, path: str) -> tuple[str, DraftArray] | None:
        """The array whose chunks lie in a folder such as `a/c` or `a/c/0`."""
        chunk = keys.split_final(path)
        if chunk is None or chunk.separator == ".":
            return None
        node = self._hierarchy.look([chunk.path], implicit=False)[chunk.path]
        is_above = isinstance(node, DraftArray) and node.grid.separator == "/"
        return (chunk.path, node) if is_above and isinstance(node, DraftArray) else None

    def _chunks(self, path: str, arrays: dict[str, DraftArray], *, sized: bool) -> Iterator[tuple[str, int]]:
        """The chunk keys of some arrays at or below a path: one listing, and the values of repaired arrays."""
        if not arrays:
            return
        repairs = {name: self._repaired(name, array) for name, array in arrays.items()}
        repaired = {name: repair for name, repair in repairs.items() if repair is not None}
        for name, repair in repaired.items():
            separator = arrays[name].grid.separator
            for coords, size in repair.stored():
                yield keys.final_chunk(name, coords, separator), size
        store = self._hierarchy.store
        folder = keys.DATA + (f"{path}/" if path else "")
        listed = store.list_sizes(folder) if sized else ((key, 0) for key in store.list_prefix(folder))
        single: set[str] = set()
        for key, size in listed:
            chunk = keys.split_draft(key.removeprefix(keys.DATA))
            array = None if chunk is None or chunk.path in repaired else arrays.get(chunk.path)
            if chunk is None or array is None:
                continue
            place = keys.coords_in(chunk, array.grid)
            if place is None or (not place and chunk.path in single):
                continue
            if not place:
                single.add(chunk.path)
            yield keys.final_chunk(chunk.path, place, array.grid.separator), size
