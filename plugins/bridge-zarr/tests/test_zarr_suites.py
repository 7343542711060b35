"""zarr-python's own suites for third-party stores, over every backend."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from zarr.core.buffer import Buffer, cpu
from zarr.testing.stateful import ZarrHierarchyStateMachine, ZarrStoreStateMachine
from zarr.testing.store import StoreTests

from zarrv3 import BaseStore
from zarrv3_bridge_zarr import ZarrStore

Opener = Callable[[], BaseStore]


@pytest.mark.filterwarnings("ignore:.*MongoClient:ResourceWarning")  # the suite leaves copies open
class TestStores(StoreTests[ZarrStore, cpu.Buffer]):
    """`zarr.testing.store.StoreTests`, complete, for every backend."""

    store_cls = ZarrStore
    buffer_cls = cpu.Buffer

    async def set(self, store: ZarrStore, key: str, value: Buffer) -> None:
        """Store a value past the bridge."""
        store.store.write_many({key: value.to_bytes()})

    async def get(self, store: ZarrStore, key: str) -> Buffer:
        """Read a value past the bridge."""
        return self.buffer_cls.from_bytes(store.store[key])

    @pytest.fixture
    def store_kwargs(self, opener: Opener) -> Iterator[dict[str, Any]]:
        """What the stores are made from."""
        with opener() as store:
            yield {"store": store}

    @pytest.fixture
    def store(self, store_kwargs: dict[str, Any]) -> ZarrStore:
        """An open store."""
        store = ZarrStore(**store_kwargs)
        store._is_open = True
        return store

    @pytest.fixture
    def store_not_open(self, store_kwargs: dict[str, Any]) -> ZarrStore:
        """A store that is not open."""
        return ZarrStore(**store_kwargs)

    def test_store_repr(self, store: ZarrStore) -> None:
        """The text names the store below."""
        assert repr(store) == f"ZarrStore({store.store.describe()})"
        assert str(store) == store.store.describe()

    def test_store_supports_writes(self, store: ZarrStore) -> None:
        """Every backend is writable."""
        assert store.supports_writes

    def test_store_supports_listing(self, store: ZarrStore) -> None:
        """Every backend can list."""
        assert store.supports_listing

    def test_store_supports_partial_writes(self, store: ZarrStore) -> None:
        """No value is written in parts."""
        assert not store.supports_partial_writes


QUICK = ("memory", "directory", "sqlite")
MACHINES = {"store": ZarrStoreStateMachine, "hierarchy": ZarrHierarchyStateMachine}


@pytest.mark.filterwarnings("ignore")  # what zarr-python warns of in names and data types it tries
@pytest.mark.parametrize("machine", MACHINES)
class TestMachines:
    """The state machines of `zarr.testing.stateful`."""

    @pytest.mark.parametrize("name", QUICK)
    def test_quick(self, machine: str, name: str, opener_of: Callable[[str], Opener]) -> None:
        """Whatever is asked in whatever order, the answers are those of zarr-python's model."""
        play(MACHINES[machine], opener_of(name), examples=3, steps=10)

    @pytest.mark.slow
    def test_long(self, machine: str, opener: Opener) -> None:
        """Every backend, at length."""
        play(MACHINES[machine], opener, examples=60, steps=40)


def play(machine: type[RuleBasedStateMachine], opener: Opener, examples: int, steps: int) -> None:
    """Run a state machine over a store; each example begins by emptying it."""
    with opener() as store:
        bounds = settings(
            settings.get_profile("default"),
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=True,
            database=None,
        )
        run_state_machine_as_test(lambda: machine(ZarrStore(store)), settings=bounds)  # type: ignore[no-untyped-call]
