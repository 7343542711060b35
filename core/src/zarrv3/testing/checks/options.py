"""Options: what a store was made with can be written down, in a configuration and in a URL."""

import inspect
import json
from collections.abc import Collection, Iterator

from zarrv3 import registry
from zarrv3.chunks.transformers import StorageTransformer
from zarrv3.errors import ConfigurationError, ZarrError
from zarrv3.opening.stores import open_store
from zarrv3.options.urls import Url
from zarrv3.store.base import BaseStore
from zarrv3.testing.checks.table import Opener, check, opened
from zarrv3.testing.rules import OPTIONS, ConformanceError, NotApplicableError, require, same


@check()
def check_spec(opener: Opener) -> None:
    """What `spec()` returns can be written as JSON, and opens an equal store with the same data."""
    with opened(opener) as store:
        try:
            spec = store.spec()
        except ConfigurationError as error:
            raise NotApplicableError(f"made from a live object: {error}") from error
        for part in _parts(store):
            if not _is_installed(type(part)):
                raise NotApplicableError(
                    f"{type(part).__name__} is not installed under its name {part.kind!r}"
                )
        read = json.loads(json.dumps(spec))
        same(read, spec, OPTIONS, "spec() after a round through JSON")
        try:
            copy = open_store(read)
        except ZarrError as error:
            raise ConformanceError(
                OPTIONS, f"{spec} of {store.describe()} cannot be opened: {error}"
            ) from error
        with copy:
            same(type(copy), type(store), OPTIONS, f"the class that {spec} opens")
            same(copy.spec(), spec, OPTIONS, "spec() of the copy")
            require(copy == store, OPTIONS, f"{spec} opens a store that is not equal to the original")
            if store.capabilities.write:
                store["spec/k"] = b"value"
                store.flush()
                same(copy.get("spec/k"), b"value", OPTIONS, "what the copy reads")


@check()
def check_url_options(opener: Opener) -> None:
    """Every option but those that are live objects can be given in a URL, and means the same there."""
    with opened(opener) as store:
        for part in _parts(store):
            cls = type(part)
            types = cls.option_types
            parameters = _parameters(cls)
            if isinstance(part, StorageTransformer):
                continue  # metadata opens it
            if any(parameters[name].default is inspect.Parameter.empty for name in cls.live_options):
                continue  # no URL opens it
            told = {*types, *cls.live_options, *_in_place(cls)}
            for name in parameters:
                require(
                    name in told,
                    OPTIONS,
                    f"the option {name!r} of {cls.__name__} is in none of `option_types`, `live_options` and `location()`",
                )
            for name, value in part._changed_options().items():
                if name in types and type(value) in {str, int, float, bool}:
                    same(
                        types[name](str(value)),
                        value,
                        OPTIONS,
                        f"the option {name!r} of {cls.__name__}, given in a URL as {value}",
                    )


def _parts(store: BaseStore) -> Iterator[BaseStore]:
    """A store and those that it lies on, from the top down."""
    while True:
        yield store
        if not store.takes_store:
            return
        store = store.inner  # type: ignore[attr-defined]  # a layer's


def _is_installed(cls: type[BaseStore]) -> bool:
    """Whether a class can be opened by a name at all; under another one than its `kind`, it is as if it could."""
    return any(
        plugin.value.partition(":")[2] == cls.__name__ and registry.load(kind, plugin.name) is cls
        for kind in ("stores", "layers")
        for plugin in registry.plugins(kind)
    )


def _parameters(cls: type[BaseStore]) -> dict[str, inspect.Parameter]:
    """The options that a class has, by its constructor."""
    _, *parameters = inspect.signature(cls.__init__).parameters.values()
    several = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    return {p.name: p for p in parameters[1 if cls.takes_store else 0 :] if p.kind not in several}


def _in_place(cls: type[BaseStore]) -> Collection[str]:
    """The options that the path and host of a URL stand for; where no common form fits, any may be."""
    found: set[str] = set()
    known = False
    for authority, path in (("host", "/a/b"), (None, "/a/b"), (None, "a/b"), ("name", ""), (None, "")):
        text = f"{cls.kind}:{'' if authority is None else f'//{authority}'}{path}"
        try:
            found |= {*cls.location(Url(cls.kind, authority, path, {}, text))}
        except ZarrError:
            continue
        known = True
    return found if known else _parameters(cls)
