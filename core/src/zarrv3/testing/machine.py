"""A hypothesis state machine: whatever a store is asked in whatever order, it answers like a dict."""

from collections.abc import Callable, Mapping

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from zarrv3.layers.prefix import Prefix
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import ByteRange, Request, Version
from zarrv3.store.helpers import cut
from zarrv3.store.wrapping import wrap
from zarrv3.testing.checks.listing import directly_below
from zarrv3.testing.checks.table import Opener, answers, listed, values_of
from zarrv3.testing.rules import (
    LIST_DIR,
    LIST_PREFIX,
    ORDER,
    PERSISTENT,
    RENAME,
    SIZES,
    SWAP,
    VERSIONS,
    same,
)

KEYS = (
    "zarr.json", "a/zarr.json", "a/c/0/0", "a/c/0/1", "a/c/1/0", "a/b/c/0", "ab/zarr.json", "a_b/x", "aXb/x", "a%/x",
    "a b/é", "a.b",
)  # fmt: skip
FOLDERS = ("", "a/", "a/c/", "a/c/0/", "a/b/", "ab/", "a_b/", "a%/", "a b/", "none/", "n/e/w/", "a/n/")
PREFIXES = (*FOLDERS, "a", "a/c/0/1", "a_", "z", "a/z")

keys = st.sampled_from(KEYS)
folders = st.sampled_from(FOLDERS)
contents = st.one_of(
    st.sampled_from([b"0123456789", b"9876543210", b"", b"x" * 3000, bytes(range(256))]),
    st.binary(max_size=12),
)
edges = st.integers(-14, 14)
ranges = st.one_of(st.none(), st.builds(ByteRange, edges, st.one_of(st.none(), edges)))


def check_like_a_dict(
    opener: Opener, examples: int = 30, steps: int = 30, *, repeatable: bool = True, shrink: bool = True
) -> None:
    """Run the machine; raises `ConformanceError` with the shortest sequence of calls that fails."""
    count = iter(range(1 << 30))

    def make() -> StoreMachine:
        return StoreMachine(opener, f"example{next(count)}")

    run_state_machine_as_test(
        make,  # type: ignore[arg-type]  # any function that makes one will do
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=repeatable,
            database=None,
            deadline=None,
            phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
            suppress_health_check=[*HealthCheck],
        ),
    )


class StoreMachine(RuleBasedStateMachine):
    """The store beside a dict, in a folder of its own where it cannot be emptied."""

    def __init__(self, opener: Opener, folder: str) -> None:
        super().__init__()
        first = wrap(opener())
        self.can = first.capabilities
        self.open: Callable[[], BaseStore] = lambda: wrap(opener())
        if self.can.erase and self.can.list:
            first.erase_prefix("")
        else:
            self.open = lambda: Prefix(wrap(opener()), folder)
        first.close()
        self.store = self.open()
        self.model: dict[str, bytes] = {}
        self.old: dict[str, Version | None] = {}
        self.seen: dict[tuple[str, Version | None], bytes | None] = {}

    def teardown(self) -> None:
        """Compare everything at the end."""
        try:
            same(values_of(self.store, *KEYS), [self.model.get(key) for key in KEYS], ORDER, "in the end")
            if self.can.list:
                same(sorted(self.store.list_prefix("")), sorted(self.model), LIST_PREFIX, "in the end")
        finally:
            self.store.close()

    # ------------------------------------------------------------ writing

    @initialize(items=st.dictionaries(keys, contents, min_size=3))
    def fill(self, items: dict[str, bytes]) -> None:
        """Begin with some keys."""
        self.write_many({**items})

    @rule(changes=st.dictionaries(keys, st.one_of(contents, st.none()), max_size=6))
    def write_many(self, changes: dict[str, bytes | None]) -> None:
        """Store and erase a batch."""
        if not self.can.erase:
            changes = {key: value or b"" for key, value in changes.items()}
        self.store.write_many(changes)
        self._change(changes)

    def _change(self, changes: Mapping[str, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self.model.pop(key, None)
            else:
                self.model[key] = value

    @precondition(lambda self: self.can.erase and self.can.list)
    @rule(folder=folders)
    def erase_prefix(self, folder: str) -> None:
        """Erase a folder."""
        self.store.erase_prefix(folder)
        self.model = {key: value for key, value in self.model.items() if not key.startswith(folder)}

    @precondition(lambda self: self.can.erase and self.can.list)
    @rule(source=folders, place=folders)
    def rename_prefix(self, source: str, place: str) -> None:
        """Move a folder to an empty one."""
        target = place  # hypothesis keeps the name `target` for itself
        if (
            source.startswith(target)
            or target.startswith(source)
            or any(k.startswith(target) for k in self.model)
        ):
            return
        self.store.rename_prefix(source, target)
        moved = {target + k[len(source) :] if k.startswith(source) else k: v for k, v in self.model.items()}
        same(
            sorted(self.store.list_prefix("")),
            sorted(moved),
            RENAME,
            f"rename_prefix({source!r}, {target!r})",
        )
        if moved != self.model:
            self.store.rename_prefix(target, source)  # back: all rules go on with the same keys

    @precondition(lambda self: self.can.swap)
    @rule(
        swaps=st.dictionaries(
            keys,
            st.tuples(st.sampled_from(["now", "remembered", "missing"]), st.one_of(st.none(), contents)),
            max_size=5,
        )
    )
    def swap_many(self, swaps: dict[str, tuple[str, bytes | None]]) -> None:
        """Swap with the versions of now, ones remembered from some time ago, or as if the keys were missing."""
        now = dict(zip(KEYS, self.store.get_versioned(KEYS), strict=True))
        for key, (value, version) in now.items():
            expected = self.model.get(key)
            same(None if value is None else bytes(value), expected, VERSIONS, f"get_versioned of {key!r}")
            same(version is None, value is None, VERSIONS, f"whether {key!r} has no version")
            remembered = self.seen.setdefault((key, version), expected)
            same(remembered, expected, VERSIONS, f"the value that {key!r} had with version {version!r}")
        given: dict[str, tuple[Version | None, bytes | None]] = {}
        for key, (which, new) in swaps.items():
            if new is None and not self.can.swap_erases:
                continue
            old = now[key][1]
            given[key] = (
                None if which == "missing" else self.old.get(key) if which == "remembered" else old,
                new,
            )
        refused = self.store.swap_many(given)
        same(
            sorted(refused),
            sorted(key for key, (version, _) in given.items() if version != now[key][1]),
            SWAP,
            f"what is refused of {given}",
        )
        self._change({key: new for key, (_, new) in given.items() if key not in refused})
        self.old.update({key: version for key, (_, version) in now.items() if key in swaps})

    @precondition(lambda self: self.can.transactions)
    @rule(changes=st.dictionaries(keys, st.one_of(st.none(), contents), max_size=6))
    def apply_many(self, changes: dict[str, bytes | None]) -> None:
        """Set and erase at once."""
        if not self.can.erase:
            changes = {key: value or b"" for key, value in changes.items()}
        self.store.apply_many(changes)
        self._change(changes)

    # ------------------------------------------------------------ reading

    @rule(requests=st.lists(st.builds(Request, keys, ranges), min_size=4, max_size=16))
    def get_many(self, requests: list[Request]) -> None:
        """Read a batch of ranges."""
        expected = [cut(self.model.get(key), wanted) for key, wanted in requests]
        same(answers(self.store, requests), expected, ORDER, f"get_many({requests})")

    @rule(some=st.lists(keys, max_size=6))
    def stat_many(self, some: list[str]) -> None:
        """Ask for sizes of keys."""
        expected = [len(self.model[key]) if key in self.model else None for key in some]
        same([*self.store.stat_many(some)], expected, SIZES, f"stat_many({some})")

    @precondition(lambda self: self.can.list)
    @rule(prefix=st.sampled_from(PREFIXES))
    def list_prefix(self, prefix: str) -> None:
        """List by any text."""
        expected = sorted(key for key in self.model if key.startswith(prefix))
        same(sorted(self.store.list_prefix(prefix)), expected, LIST_PREFIX, f"list_prefix({prefix!r})")

    @precondition(lambda self: self.can.list)
    @rule(folder=folders)
    def list_dir(self, folder: str) -> None:
        """List one folder."""
        expected = directly_below(self.model, folder)
        same(listed(self.store, folder), expected, LIST_DIR, f"list_dir({folder!r})")

    @precondition(lambda self: self.can.list)
    @rule(folder=folders)
    def list_sizes(self, folder: str) -> None:
        """List sizes below a folder."""
        expected = sorted((key, len(value)) for key, value in self.model.items() if key.startswith(folder))
        same(sorted(self.store.list_sizes(folder)), expected, SIZES, f"list_sizes({folder!r})")

    # ------------------------------------------------------------ life

    @rule()
    def flush(self) -> None:
        """Flush."""
        self.store.flush()

    @precondition(lambda self: self.can.persistent)
    @rule()
    def reopen(self) -> None:
        """Close and open again."""
        self.store.close()
        self.store = self.open()
        expected = [self.model.get(key) for key in KEYS]
        same(values_of(self.store, *KEYS), expected, PERSISTENT, "opened again")
