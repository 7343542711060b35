"""Options: what a store was made with can be written down, in a configuration and in a URL."""

import inspect
import json
from collections.abc import Iterator

from zarrv3 import registry
from zarrv3.chunks.transformers import StorageTransformer
from zarrv3.errors import ConfigurationError, ZarrError
from zarrv3.opening.stores import open_store
from zarrv3.store.base import BaseStore
from zarrv3.testing.checks.table import Opener, check, opened
from zarrv3.testing.rules import OPTIONS, SECRETS, ConformanceError, NotApplicableError, require, same


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
def check_declared_options(opener: Opener) -> None:
    """Every option is declared, and written as text, as in a URL, it means the same; so does a variable with that text."""
    with opened(opener) as store:
        for part in _parts(store):
            cls = type(part)
            if isinstance(part, StorageTransformer):
                continue  # metadata opens it
            table = cls.declared()
            for name in table.options.keys() & inspect.signature(cls).parameters.keys():
                try:
                    part.option(name)
                except KeyError:
                    said = f"{cls.__name__}() does not give its option {name!r} to super().__init__()"
                    raise ConformanceError(OPTIONS, said) from None
            for name, value in part.changed_options().items():
                declared = table.get(name)
                require(
                    declared is not None,
                    OPTIONS,
                    f"the option {name!r} of {cls.__name__} is not in its signature",
                )
                if declared is None or declared.option.live or type(value) not in {str, int, float, bool}:
                    continue
                call = f"the option {name!r} of {cls.__name__}, given as the text {str(value)!r}"
                same(declared.from_text(str(value)), value, OPTIONS, call)


@check()
def check_secrets(opener: Opener) -> None:
    """No description of a store shows the value of a secret option."""
    with opened(opener) as store:
        for part in _parts(store):
            for words, text in {"repr": repr(part), "describe()": part.describe()}.items():
                shown = any(secret in text for secret in part.secrets())
                require(
                    not shown, SECRETS, f"{words} of {type(part).__name__} shows the value of a secret option"
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
        plugin.value.partition(":")[2] == cls.__name__ and registry.load_plugin(plugin) is cls
        for kind in ("stores", "layers")
        for plugin in registry.plugins(kind)
    )
