"""What is one-to-many: functions that any number of plugins may provide, called through pluggy.

A plugin's module is named by an entry point of the group `zarrv3.hooks`; its functions carry the marker `hookimpl`. A
hook that fails is reported as a `HookWarning` with its plugin's name, and everything goes on without it.
"""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zarrv3 import registry
from zarrv3.forks import Lock, at_forks
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON

if TYPE_CHECKING:
    import pluggy


class HookWarning(UserWarning):
    """A plugin's hook could not be loaded or failed; what it would have done was left out."""


class HookSpecs:
    """The hooks there are."""

    def zarrv3_wrap_store(self, store: BaseStore) -> BaseStore | None:
        """Called with every store that `open_store` has opened: return a store around it, or `None` to leave it.

        Observing is done by wrapping in a layer. Plugins are called in turn, each with what the one before returned.
        A store that was opened from the spec of a wrapped one has the layer already, if the layer has a spec.
        """

    def zarrv3_recognise(self, store: BaseStore, path: str) -> str | None:
        """Called when there is no node at a path: return the adapter that opens what is there (`"draft-v3:"`).

        Where what is there is not below this store, return the whole URL of the store to open.
        """

    def zarrv3_conformance(self) -> "dict[str, Callable[..., Any]]":  # type: ignore[empty-body]
        """Backends for the conformance run: names with functions that take a new folder and return an opener."""

    def zarrv3_describe_codec(self, codec: Any) -> JSON | None:
        """Called with a codec that is an object of another library: return what a document calls it, or `None`.

        That is a name or `{"name": …, "configuration": …}`. The first plugin that knows the object is believed.
        """

    def zarrv3_commands(self, app: Any) -> None:
        """Add commands to the command line application, a `typer.Typer`."""


def hookimpl(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a plugin's function as a hook: pluggy's marker for this project."""
    import pluggy

    return pluggy.HookimplMarker("zarrv3")(function)


_lock = Lock()
_manager: "pluggy.PluginManager | None" = None
_is_complete = False


def manager() -> "pluggy.PluginManager":
    """The plugin manager of pluggy with all installed hooks, made on first use."""
    global _manager, _is_complete  # noqa: PLW0603 - one per process, like the registry
    with _lock.taken:
        if _manager is None:
            import pluggy

            made = pluggy.PluginManager("zarrv3")
            marker = pluggy.HookspecMarker("zarrv3")
            for name, function in vars(HookSpecs).items():
                if name.startswith("zarrv3_"):
                    marker(function)
            made.add_hookspecs(HookSpecs)
            # already now: a hook's module may open a store while it is imported
            _manager, _is_complete = made, False
            for point in registry.hooks():
                name = f"{point.name} of {registry.origin(point)}"
                try:
                    made.register(point.load(), name=name)
                except Exception as error:  # noqa: BLE001 - whatever a plugin does wrong must not stop the others
                    _report(name, "cannot be loaded", error)
            _is_complete = True
        return _manager


def register(plugin: object, name: str) -> None:
    """Add hooks from code: a module or object whose functions carry `hookimpl`."""
    manager().register(plugin, name=name)


def unregister(name: str) -> None:
    """Take hooks away that were added from code; nothing happens when there are none of that name."""
    if manager().has_plugin(name):
        manager().unregister(name=name)


def reset() -> None:
    """Forget all hooks; the installed ones are found again on the next use."""
    global _manager  # noqa: PLW0603
    with _lock.taken:
        _manager = None


def _renew() -> None:
    """In a forked child: what another thread was making will not be completed."""
    if not _is_complete:
        reset()


at_forks(in_child=_renew)


def call_each(hook: str, **arguments: Any) -> list[Any]:
    """Call every plugin's function for a hook and return the results that are not `None`."""
    results = (call_one(function, **arguments) for function in functions(hook))
    return [result for result in results if result is not None]


def functions(hook: str) -> list[tuple[str, Callable[..., Any]]]:
    """The plugins' functions for a hook, each with the name of its plugin, in calling order."""
    caller = getattr(manager().hook, hook)
    return [
        (implementation.plugin_name, _accepting(implementation))
        for implementation in reversed(caller.get_hookimpls())
    ]


def call_one(function: tuple[str, Callable[..., Any]], **arguments: Any) -> Any:
    """Call one plugin's function; when it fails that is reported and the result is `None`."""
    name, call = function
    try:
        return call(**arguments)
    except Exception as error:  # noqa: BLE001 - a hook must never take the application down
        _report(name, "failed", error)
        return None


def wrapped(store: BaseStore) -> BaseStore:
    """The store with everything around it that plugins want there."""
    for function in functions("zarrv3_wrap_store"):
        result = call_one(function, store=store)
        if isinstance(result, BaseStore):
            store = result
        elif result is not None:
            error = TypeError(f"zarrv3_wrap_store returned a {type(result).__name__}, not a store")
            _report(function[0], "failed", error)
    return store


def _accepting(implementation: Any) -> Callable[..., Any]:
    """A plugin's function that takes only the arguments it names, as pluggy has it."""
    names = implementation.argnames

    def call(**arguments: Any) -> Any:
        return implementation.function(**{name: arguments[name] for name in names})

    return call


def _report(plugin: str, what: str, error: Exception) -> None:
    warnings.warn(f"zarrv3 hook {plugin} {what}: {type(error).__name__}: {error}", HookWarning, stacklevel=4)
