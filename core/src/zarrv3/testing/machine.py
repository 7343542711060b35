"""A hypothesis state machine: whatever a store is asked in whatever order, it answers like a dict."""

from collections.abc import Callable

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
from zarrv3.store.contract import Buffer, ByteRange
from zarrv3.store.wrapping import wrap
from zarrv3.testing.checks.table import Opener
from zarrv3.testing.rules import (
    LIST_DIR,
    LIST_PREFIX,
    ORDER,
    PERSISTENT,
    RENAME,
    SIZES,
    SWAP,
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
    st.sampled_from([b"0123456789", b"", b"x" * 3000, bytes(range(256))]), st.binary(max_size=12)
)
edges = st.integers(-14, 14)
ranges = st.one_of(st.none(), st.builds(ByteRange, edges, st.one_of(st.none(), edges)))


def check_like_a_dict(
    opener: Opener, examples: int = 30, steps: int = 30, *, repeatable: bool = True, shrink: bool = True
) -> None:
    """Run the machine; raises `ConformanceError` with the shortest sequence of calls that goes wrong."""
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
        if self.can.erase:
            first.erase_prefix("")
        else:
            self.open = lambda: Prefix(wrap(opener()), folder)
        first.close()
        self.store = self.open()
        self.model: dict[str, bytes] = {}

    def teardown(self) -> None:
        """Compare everything at the end."""
        try:
            found = self.store.get_many([(key, None) for key in KEYS])
            same(
                [None if v is None else bytes(v) for v in found],
                [self.model.get(k) for k in KEYS],
                ORDER,
                "in the end",
            )
            if self.can.list:
                same(sorted(self.store.list_prefix("")), sorted(self.model), LIST_PREFIX, "in the end")
        finally:
            self.store.close()

    # ------------------------------------------------------------ writing

    @initialize(items=st.dictionaries(keys, contents, min_size=3))
    def fill(self, items: dict[str, bytes]) -> None:
        """Begin with something."""
        self.set_many(items)

    @rule(items=st.dictionaries(keys, contents, max_size=6))
    def set_many(self, items: dict[str, bytes]) -> None:
        """Store a batch."""
        self.store.set_many(items)
        self.model.update(items)

    @precondition(lambda self: self.can.erase)
    @rule(some=st.lists(keys, max_size=4))
    def erase_many(self, some: list[str]) -> None:
        """Erase a batch."""
        self.store.erase_many(some)
        for key in some:
            self.model.pop(key, None)

    @precondition(lambda self: self.can.erase)
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

    @precondition(lambda self: self.can.atomic_swap and self.can.atomic_create)
    @rule(
        key=keys,
        guess=st.one_of(st.none(), contents),
        right=st.booleans(),
        new=st.one_of(st.none(), contents),
    )
    def compare_and_set(self, key: str, guess: bytes | None, right: bool, new: bytes | None) -> None:
        """Swap with a right or any guess of the old value."""
        old: Buffer | None = self.model.get(key) if right else guess
        if new is None and not self.can.erase:
            return
        done = self.store.compare_and_set(key, old, new)
        same(done, old == self.model.get(key), SWAP, f"compare_and_set({key!r}, {old!r}, …)")
        if done and new is None:
            self.model.pop(key, None)
        elif done and new is not None:
            self.model[key] = new

    @precondition(lambda self: self.can.transactions)
    @rule(changes=st.dictionaries(keys, st.one_of(st.none(), contents), max_size=6))
    def apply_many(self, changes: dict[str, bytes | None]) -> None:
        """Set and erase at once."""
        self.store.apply_many(changes)
        for key, value in changes.items():
            if value is None:
                self.model.pop(key, None)
            else:
                self.model[key] = value

    # ------------------------------------------------------------ reading

    @rule(requests=st.lists(st.tuples(keys, ranges), min_size=4, max_size=16))
    def get_many(self, requests: list[tuple[str, ByteRange | None]]) -> None:
        """Read a batch of ranges."""
        found = [None if value is None else bytes(value) for value in self.store.get_many(requests)]
        expected = []
        for key, wanted in requests:
            whole = self.model.get(key)
            expected.append(whole if whole is None or wanted is None else whole[wanted.start : wanted.stop])
        same(found, expected, ORDER, f"get_many({requests})")

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
        below = [key for key in self.model if key.startswith(folder)]
        direct = sorted(key for key in below if "/" not in key[len(folder) :])
        inside = sorted(
            {key[: key.index("/", len(folder)) + 1] for key in below if "/" in key[len(folder) :]}
        )
        found = self.store.list_dir(folder)
        same(([*found[0]], [*found[1]]), (direct, inside), LIST_DIR, f"list_dir({folder!r})")

    @rule(where=st.one_of(keys, folders))
    def sizes(self, where: str) -> None:
        """Ask for sizes of a key or a folder."""
        if where and not where.endswith("/"):
            expected = [where] if where in self.model else []
        elif self.can.list:
            expected = sorted(key for key in self.model if key.startswith(where))
        else:
            return
        same(sorted(key for key, _ in self.store.sizes(where)), expected, SIZES, f"sizes({where!r})")

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
        found = self.store.get_many([(key, None) for key in KEYS])
        expected = [self.model.get(key) for key in KEYS]
        same(
            [None if value is None else bytes(value) for value in found], expected, PERSISTENT, "opened again"
        )
