"""The conformance kit through an overlay, over bases that have something of their own below what is tested."""

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, run_state_machine_as_test

import zarrv3
from zarrv3.store.base import BaseStore
from zarrv3.store.memory import MemoryStore
from zarrv3.testing import InterruptConformance, LayerConformance
from zarrv3.testing.checks import Opener
from zarrv3.testing.machine import KEYS, StoreMachine
from zarrv3_layer_overlay import OverlayLayer

LayerMaker = Callable[[BaseStore], BaseStore]


class TestEmptyBase(LayerConformance):
    """Over a base that has nothing."""

    examples = 10

    @pytest.fixture
    def layer(self) -> LayerMaker:
        """Another store in memory as the base."""
        return partial(OverlayLayer, base=MemoryStore(name="overlay-nothing"))


class TestErasedBase(InterruptConformance, LayerConformance):
    """Over a base with all kinds of keys, all of which are erased: nothing of it may be seen."""

    @pytest.fixture
    def base(self) -> MemoryStore:
        """Keys as the kit has them, and others."""
        names = [
            *KEYS,
            "k",
            "a",
            "f/a",
            "f/b",
            "f/k",
            "f/g/a",
            "h/a",
            "top",
            "deep/er/lock",
            "f/count",
            "f/other",
        ]
        names += [f"race/{i}" for i in range(8)]
        return MemoryStore(dict.fromkeys(names, b"of the base"))

    @pytest.fixture
    def inner(self) -> Iterator[Opener]:
        """A store in which everything is erased."""
        name = f"overlay-{uuid.uuid4()}"
        store = MemoryStore(name=name)
        OverlayLayer(store, base={"k": b""}).erase_prefix("")
        yield partial(MemoryStore, name=name)
        store.clear()

    @pytest.fixture
    def layer(self, base: MemoryStore) -> LayerMaker:
        """The base below."""
        return partial(OverlayLayer, base=base)


class TestFolders(LayerConformance):
    """A folder over a folder, by URLs, as any number of processes use them."""

    examples = 5

    @pytest.fixture
    def inner(self, tmp_path: Path) -> Opener:
        """A folder."""
        return partial(zarrv3.open_store, str(tmp_path / "mine"))

    @pytest.fixture
    def layer(self, tmp_path: Path) -> LayerMaker:
        """Another folder."""
        (tmp_path / "published").mkdir()
        return partial(OverlayLayer, base=str(tmp_path / "published"))


class TestTablesOverFolders(LayerConformance):
    """A SQLite file over a folder that has documents and chunks, which are erased."""

    examples = 5

    @pytest.fixture
    def inner(self, tmp_path: Path) -> Opener:
        """A file in which everything is erased."""
        path = str(tmp_path / "mine.sqlite")
        zarrv3.open_store(str(tmp_path / "published")).update(
            dict.fromkeys(("f/a", "f/k", "top"), b"of the base")
        )
        with zarrv3.open_store(f"sqlite://{path}") as store, OverlayLayer(store, base={"k": b""}) as overlay:
            overlay.erase_prefix("")
        return partial(zarrv3.open_store, f"sqlite://{path}")

    @pytest.fixture
    def layer(self, tmp_path: Path) -> LayerMaker:
        """The folder below."""
        return partial(OverlayLayer, base=str(tmp_path / "published"))


class OverlayMachine(StoreMachine):
    """The machine of the kit over a base that it finds full."""

    def __init__(self) -> None:
        self.base = MemoryStore()
        self.top = MemoryStore()
        super().__init__(lambda: OverlayLayer(MemoryStore(), base=self.base), "")
        self.store = OverlayLayer(self.top, base=self.base)
        self.content: dict[str, bytes] = {}

    @initialize(
        items=st.dictionaries(
            st.sampled_from(KEYS), st.sampled_from([b"base", b"", b"x" * 51, bytes(range(200))]), min_size=4
        )
    )
    def publish(self, items: dict[str, bytes]) -> None:
        """Put something into the base, which is not on top."""
        self.base.write_many(items)
        self.content = dict(items)
        self.model = {**items, **self.model}

    def teardown(self) -> None:
        """Compare everything at the end, and see that the base is as it was."""
        assert dict(self.base.items()) == self.content
        changed = {
            key: (before, now) for key, before, now in OverlayLayer(self.top, base=self.base).changes()
        }
        for key in {*self.model, *self.content}:
            before, now = self.content.get(key), self.model.get(key)
            sizes = None if before is None else len(before), None if now is None else len(now)
            assert changed.get(key, sizes) == sizes
            assert before == now or key in changed
        super().teardown()


@pytest.mark.parametrize("examples", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_like_a_dict_over_a_full_base(examples: int) -> None:
    """Whatever is asked in whatever order over a base that has values, the overlay answers like a dict (hypothesis)."""
    run_state_machine_as_test(
        OverlayMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=[*HealthCheck],
        ),
    )
