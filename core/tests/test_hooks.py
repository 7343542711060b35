"""Hooks: any number of plugins around every store, none of which can take the application down."""

import itertools
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zarrv3 import registry
from zarrv3.layers import Counting, Prefix, ReadOnly
from zarrv3.opening import hooks
from zarrv3.opening.hooks import HookWarning, hookimpl
from zarrv3.opening.stores import as_store, open_store
from zarrv3.store.base import BaseStore
from zarrv3.store.memory import MemoryStore

_numbers = itertools.count()

Install = Callable[[str, str], str]


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """No hooks left from or for other tests."""
    hooks.reset()
    registry.reset()
    yield
    hooks.reset()
    registry.reset()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution with one module of hooks; returns the module's name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def installer(distribution: str, code: str) -> str:
        module = f"throw_away_hooks_{next(_numbers)}"
        made.append(module)
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(code))
        info = tmp_path / f"{distribution}-3.4.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 3.4\n")
        (info / "entry_points.txt").write_text(f"[zarrv3.hooks]\n{distribution}-hooks = {module}\n")
        return module

    yield installer
    for module in made:
        sys.modules.pop(module, None)


def wrapper(layer: Callable[[BaseStore], Any]) -> SimpleNamespace:
    """A plugin that wraps every store."""

    @hookimpl
    def zarrv3_wrap_store(store: BaseStore) -> Any:
        return layer(store)

    return SimpleNamespace(zarrv3_wrap_store=zarrv3_wrap_store)


def fail(_: BaseStore) -> None:
    """What a broken hook does."""
    raise ZeroDivisionError("oh")


# ---------------------------------------------------------------- wrapping


def wrappers() -> list[str]:
    """Who wraps stores, in calling order, but for packages of this repository that are installed."""
    return [name for name, _ in hooks.functions("zarrv3_wrap_store") if " of zarrv3-" not in name]


def test_no_hooks() -> None:
    """Without plugins a store is what was asked for."""
    assert type(open_store("memory:")) is MemoryStore


def test_wrapping_in_order() -> None:
    """The hook registered last is called first, as pluggy has it, and each gets what the one before returned."""
    hooks.register(wrapper(Counting), "first")
    hooks.register(wrapper(lambda store: Prefix(store, "p")), "second")
    store = open_store("memory:")
    assert [type(store), type(store.inner)] == [Counting, Prefix]  # type: ignore[attr-defined]
    assert wrappers() == ["second", "first"]


def test_none_leaves_the_store() -> None:
    """A hook that returns nothing has only looked."""
    seen = []
    hooks.register(wrapper(seen.append), "observer")
    store = open_store("memory:")
    assert seen == [store]
    assert type(store) is MemoryStore


def test_read_only_is_outermost() -> None:
    """No hook can make a store writable that was opened read-only."""
    hooks.register(wrapper(Counting), "counter")
    assert type(open_store("memory:", read_only=True)) is ReadOnly


def test_store_object_is_not_wrapped_again() -> None:
    """Where a store object is as good as a URL it is used as it is."""
    hooks.register(wrapper(Counting), "counter")
    store = open_store("memory:")
    assert as_store(store) is store


# ---------------------------------------------------------------- failures


def test_failing_hook_is_reported_and_left_out() -> None:
    """A hook that raises is a warning with its plugin's name and the reason; the others are called all the same."""
    hooks.register(wrapper(Counting), "before")
    hooks.register(wrapper(fail), "the-broken-one")
    hooks.register(wrapper(lambda store: Prefix(store, "p")), "after")
    with pytest.warns(HookWarning, match=r"the-broken-one failed: ZeroDivisionError: oh") as caught:
        store = open_store("memory:")
    assert len(caught) == 1
    assert [type(store), type(store.inner)] == [Counting, Prefix]  # type: ignore[attr-defined]


@pytest.mark.parametrize("result", [3, "memory:", {}, Counting])
def test_hook_that_returns_no_store(result: object) -> None:
    """A hook that returns something else is reported and its result ignored."""
    hooks.register(wrapper(lambda _: result), "confused")
    with pytest.warns(HookWarning, match="confused failed: .*returned a"):
        assert type(open_store("memory:")) is MemoryStore


def test_call_each() -> None:
    """All results that are not `None`, in calling order, without the one that failed."""

    def plugin(result: Callable[[], Any]) -> SimpleNamespace:
        @hookimpl
        def zarrv3_recognise(path: str) -> Any:
            return path and result()

        return SimpleNamespace(zarrv3_recognise=zarrv3_recognise)

    hooks.register(plugin(lambda: "a:"), "a")
    hooks.register(plugin(lambda: None), "b")
    hooks.register(plugin(lambda: 1 / 0), "c")
    hooks.register(plugin(lambda: "d:"), "d")
    with pytest.warns(HookWarning, match="c failed"):
        assert hooks.call_each("zarrv3_recognise", store=MemoryStore(), path="x") == ["d:", "a:"]


# ---------------------------------------------------------------- registering


def test_unregister() -> None:
    """Hooks that were added can be taken away; taking away what is not there changes nothing."""
    hooks.register(wrapper(Counting), "mine")
    hooks.unregister("somebody else's")
    assert type(open_store("memory:")) is Counting
    hooks.unregister("mine")
    assert type(open_store("memory:")) is MemoryStore
    hooks.unregister("mine")


def test_functions_without_marker_are_no_hooks() -> None:
    """Only functions that carry `hookimpl` are called."""
    hooks.register(SimpleNamespace(zarrv3_wrap_store=fail), "unmarked")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert type(open_store("memory:")) is MemoryStore


def test_methods_are_hooks() -> None:
    """An object with methods is a plugin as well as a module is."""

    class Plugin:
        @hookimpl
        def zarrv3_wrap_store(self, store: BaseStore) -> BaseStore:
            return Counting(store)

    hooks.register(Plugin(), "object")
    assert type(open_store("memory:")) is Counting


def test_wrong_arguments_are_refused() -> None:
    """A hook that asks for an argument that there is not is refused when it is registered."""

    @hookimpl
    def zarrv3_wrap_store(store: BaseStore, colour: str) -> None:
        pass

    with pytest.raises(Exception, match="colour"):
        hooks.register(SimpleNamespace(zarrv3_wrap_store=zarrv3_wrap_store), "wrong")


# ---------------------------------------------------------------- installed hooks


def test_installed_hooks(install: Install) -> None:
    """A distribution's hooks are found by their entry point, on the first use and not before."""
    module = install(
        "acme",
        """
        from zarrv3.opening.hooks import hookimpl
        from zarrv3.layers import Counting

        @hookimpl
        def zarrv3_wrap_store(store):
            return Counting(store)
        """,
    )
    assert module not in sys.modules
    assert type(open_store("memory:")) is Counting
    assert wrappers() == ["acme-hooks of acme 3.4"]


def test_broken_module_of_hooks(install: Install) -> None:
    """A module of hooks that cannot be imported is reported once with its distribution; the others work."""
    install("broken", "import no_such_library")
    install(
        "sound",
        """
        import zarrv3.opening.hooks, zarrv3.layers
        zarrv3_wrap_store = zarrv3.opening.hooks.hookimpl(lambda store: zarrv3.layers.Counting(store))
        """,
    )
    with pytest.warns(
        HookWarning, match=r"broken-hooks of broken 3\.4 cannot be loaded: .*no_such_library"
    ) as caught:
        assert type(open_store("memory:")) is Counting
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_store("memory:")


def test_hook_of_another_age(install: Install) -> None:
    """A hook that asks for what this version does not give is reported and left out."""
    install(
        "aged",
        """
        from zarrv3.opening.hooks import hookimpl

        @hookimpl
        def zarrv3_wrap_store(store, colour):
            return store
        """,
    )
    with pytest.warns(HookWarning, match=r"(?s)aged-hooks of aged 3\.4 cannot be loaded.*colour"):
        assert type(open_store("memory:")) is MemoryStore


def test_module_that_opens_a_store(install: Install) -> None:
    """A module of hooks may open a store while it is imported."""
    install(
        "eager",
        """
        from zarrv3.opening.hooks import hookimpl
        from zarrv3.opening.stores import open_store

        mine = open_store("memory:")

        @hookimpl
        def zarrv3_wrap_store(store):
            store["seen"] = mine.describe().encode()
        """,
    )
    assert open_store("memory:")["seen"].startswith(b"MemoryStore")


def test_reset_finds_installed_hooks_again(install: Install) -> None:
    """After a reset the installed hooks are looked for again."""
    assert type(open_store("memory:")) is MemoryStore
    install(
        "later",
        """
        import zarrv3.opening.hooks, zarrv3.layers
        zarrv3_wrap_store = zarrv3.opening.hooks.hookimpl(lambda store: zarrv3.layers.Counting(store))
        """,
    )
    hooks.reset()
    registry.reset()
    assert type(open_store("memory:")) is Counting


def test_every_hook_is_specified() -> None:
    """Each hook of the table is known to the manager and documented."""
    for name, function in vars(hooks.HookSpecs).items():
        if name.startswith("zarrv3_"):
            assert getattr(hooks.manager().hook, name).spec is not None
            assert function.__doc__
