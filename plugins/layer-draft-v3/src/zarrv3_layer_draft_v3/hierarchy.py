"""The nodes of a draft hierarchy: finding and translating their documents, in batches."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from zarrv3.errors import MetadataError
from zarrv3.format.documents import load_document
from zarrv3.format.extensions import shown
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, whole
from zarrv3.store.helpers import BATCH, chunked
from zarrv3_layer_draft_v3 import keys
from zarrv3_layer_draft_v3.documents import (
    EMPTY_GROUP,
    DraftArray,
    Note,
    Options,
    draft_array,
    draft_group,
)
from zarrv3_layer_draft_v3.entry import ENTRY, draft_suffix
from zarrv3_layer_zarr2.unreadable import unreadable


@dataclass(frozen=True, kw_only=True)
class DraftGroup:
    """A group of the draft."""

    kind: ClassVar[str] = "group"

    document: bytes
    explicit: bool = True
    notes: tuple[Note, ...] = field(default=(), compare=False)


@dataclass(frozen=True, kw_only=True)
class BrokenNode:
    """A node whose document cannot be translated: its final document raises that error."""

    document: bytes
    error: MetadataError
    kind: str
    """`array` or `group`."""


Found = DraftArray | DraftGroup | BrokenNode

NOTHING: Mapping[str, Found | None] = MappingProxyType({})


class Listed(NamedTuple):
    """A node, known from the names of keys."""

    path: str
    kind: str
    """`array`, `group`, or `implicit` for a group without document."""


class Hierarchy:
    """Reads the documents of a draft hierarchy in a store. Thread-safe.

    The entry point is read once. Arrays are remembered as they were when their document was last read.

    Args:
        store: where the draft lies.
        options: the user's options for the array at a path.
    """

    def __init__(self, store: BaseStore, options: Callable[[str], Options]) -> None:
        self.store = store
        self._options = options
        self._suffix: str | None = None
        self._arrays: dict[str, DraftArray] = {}

    @property
    def suffix(self) -> str:
        """The suffix of documents; raises `MetadataError` when the store holds something else."""
        if self._suffix is not None:
            return self._suffix
        document = self.store.get_many(whole([ENTRY]))[0]
        if document is None:
            return ".json"  # as without a draft, and as in one that lost its entry point
        suffix = draft_suffix(document)
        if suffix is None:
            raise MetadataError(self._not_a_draft(document))
        self._suffix = suffix
        return suffix

    def _not_a_draft(self, document: Buffer) -> str:
        name = f"{ENTRY!r} in {self.store.describe()}"
        entry = load_document(document, source=name)
        version = entry.get("zarr_format")
        if version == 3:
            return f"{name} is of the final Zarr V3 format; open it without '|draft-v3:'"
        return f"{name} is not the entry point of a draft V3 hierarchy: zarr_format is {shown(version)}"

    # ------------------------------------------------------------ documents

    def arrays(
        self, paths: Collection[str], fresh: Mapping[str, Found | None] = NOTHING
    ) -> dict[str, DraftArray]:
        """The arrays at some paths: those in `fresh`, otherwise as they were when last read.

        Those not read yet are read in one call.
        """
        known = {path: fresh[path] if path in fresh else self._arrays.get(path) for path in paths}
        unknown = [path for path, node in known.items() if node is None and path not in fresh]
        if unknown:
            known |= self.look(unknown, implicit=False)
        return {path: node for path, node in known.items() if isinstance(node, DraftArray)}

    def look(self, paths: Collection[str], *, implicit: bool = True) -> dict[str, Found | None]:
        """The nodes at some paths: one call for all documents, and a listing for each path that has none.

        Without `implicit`, groups without documents are not looked for.
        """
        suffix = self.suffix
        wanted = list(dict.fromkeys(paths))
        names = [keys.draft_document(path, kind, suffix) for path in wanted for kind in ("array", "group")]
        values = self.store.get_many(whole(names)) if names else []
        nodes: dict[str, Found | None] = dict.fromkeys(paths)
        for index, path in enumerate(wanted):
            array, group = values[2 * index], values[2 * index + 1]
            if array is not None:
                nodes[path] = self._array(path, array, names[2 * index])
                continue
            self._arrays.pop(path, None)
            if group is not None:
                nodes[path] = self._group(group, names[2 * index + 1])
            elif implicit and self._has_members(path):
                nodes[path] = DraftGroup(document=EMPTY_GROUP, explicit=False)
        if keys.CONSOLIDATED in nodes and self._is_side_effect(nodes[keys.CONSOLIDATED]):
            nodes[keys.CONSOLIDATED] = None
        return nodes

    def _array(self, path: str, value: Buffer, key: str) -> Found:
        try:
            array = draft_array(value, self._location(key), self._options(path))
        except MetadataError as error:
            self._arrays.pop(path, None)
            return BrokenNode(document=unreadable(error), error=error, kind="array")
        self._arrays[path] = array
        return array

    def _group(self, value: Buffer, key: str) -> Found:
        try:
            document, notes = draft_group(value, self._location(key))
        except MetadataError as error:
            return BrokenNode(document=unreadable(error), error=error, kind="group")
        return DraftGroup(document=document, notes=notes)

    def _location(self, key: str) -> str:
        return f"{key!r} in {self.store.describe()}"

    def _has_members(self, path: str) -> bool:
        """Whether a group exists without a document: a key lies below its name; the root, if there is an entry point."""
        if not path and self._suffix is not None:
            return True
        folder = f"{keys.meta_name(path)}/"
        return self.store.capabilities.list and next(iter(self.store.list_prefix(folder)), None) is not None

    def _is_side_effect(self, group: Found | None) -> bool:
        """Whether the group `consolidated` exists only because metadata were consolidated."""
        if not isinstance(group, DraftGroup) or group.document != EMPTY_GROUP:
            return False
        if not self.store.capabilities.list:
            return False
        names = [*self.store.list_dir(f"{keys.meta_name(keys.CONSOLIDATED)}/")]
        nodes = [name for name in names if name.endswith("/") or keys.split_document(name, self.suffix)]
        return bool(names) and not nodes

    def _hides_consolidated(self, names: Collection[str]) -> bool:
        return keys.CONSOLIDATED in names and self.look([keys.CONSOLIDATED])[keys.CONSOLIDATED] is None

    # ------------------------------------------------------------ names

    def members(self, path: str) -> list[str]:
        """The names of the nodes directly below a path, sorted; one listing."""
        folder = f"{keys.meta_name(path)}/"
        names = set()
        for name in self.store.list_dir(folder):
            if name.endswith("/"):
                names.add(name[len(folder) : -1])
            elif (split := keys.split_document(name, self.suffix)) is not None:
                names.add(split[0].rpartition("/")[2])
        if not path and self._hides_consolidated(names):
            names.discard(keys.CONSOLIDATED)
        return sorted(name for name in names if name)

    def below(self, path: str) -> list[Listed]:
        """All nodes below a path, not itself, sorted: one listing."""
        folder = f"{keys.meta_name(path)}/"
        kinds: dict[str, str] = {}
        for key in self.store.list_prefix(folder):
            split = keys.split_document(key, self.suffix)
            if split is not None and (split[1] == "array" or kinds.get(split[0]) != "array"):
                kinds[split[0]] = split[1]
            above = key.rpartition("/")[0].removeprefix(keys.META).strip("/")
            while above and above != path and above not in kinds:
                kinds[above] = "implicit"
                above = above.rpartition("/")[0]
        kinds.pop(path, None)
        if not path and self._hides_consolidated(kinds):
            del kinds[keys.CONSOLIDATED]
        return [Listed(name, kinds[name]) for name in sorted(kinds)]

    def nodes(self, path: str) -> Iterator[tuple[str, Found]]:
        """A node and all below it, translated; documents are read in batches."""
        own = self.look([path])[path]
        if own is not None:
            yield path, own
        for part in chunked(self.below(path), BATCH):
            read = self.look([name for name, kind in part if kind != "implicit"])
            for name, kind in part:
                found = read.get(name)
                if kind == "implicit":
                    yield name, DraftGroup(document=EMPTY_GROUP, explicit=False)
                elif found is not None:
                    yield name, found
