"""From whatever a user names a store by to the store: URL, path, configuration, mapping or store object."""

import os
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NoReturn, TypeAlias, TypeVar

from zarrv3 import registry
from zarrv3.errors import ConfigurationError, RegistryError, ZarrError
from zarrv3.layers.base import Layer
from zarrv3.layers.prefix import Prefix
from zarrv3.layers.read_only import ReadOnly
from zarrv3.opening import hooks
from zarrv3.options.environment import as_templates, values_of
from zarrv3.options.redaction import (
    raise_alone,
    redact,
    redact_options,
    redact_url,
    secrets_of,
    tells,
    text_of,
)
from zarrv3.options.settings import config
from zarrv3.options.urls import Url, parse_pipeline
from zarrv3.store.base import BaseStore
from zarrv3.store.memory import MemoryStore
from zarrv3.store.wrapping import wrap

T = TypeVar("T")

_NOTHING: Mapping[str, str] = MappingProxyType({})

StoreLike: TypeAlias = Any
"""A URL, a path, a configuration dict, a store object, a mutable mapping, anything with the contract's methods, `None`."""


def open_store(store: StoreLike = None, /, *, read_only: bool = False, **options: Any) -> BaseStore:
    """Open a store.

    Args:
        store: a URL (`"file:///data/a.zip|zip:|lru-cache:?max_size=256MiB"`), the path of a folder, a configuration as
            `store.spec()` returns it, `"store:NAME"` for a named store of the configuration file, a store object, a
            mutable mapping, a `UPath`, or `None` for a new one in memory.
        read_only: refuse every write.
        options: options of the root store, added to those in the URL or configuration.

    Raises `RegistryError` for an unknown or broken plugin and `ConfigurationError` for an unknown option or a text that
    is not a URL. Nothing is created by opening: a folder, file or table comes with the first write.
    """
    opened = hooks.wrapped(_made(store, options))
    return ReadOnly(opened) if read_only and not opened.refuses_writes else opened


def recognised(store: BaseStore, path: str) -> tuple[BaseStore, str]:
    """The store in the layer that a plugin knows what it holds by, and the path within; both as they are if none does."""
    for place in dict.fromkeys(("", path)):
        below = Prefix(store, place) if place else store
        for text in hooks.call_each("zarrv3_recognise", store=below, path=""):
            if "://" in text:
                there = open_store(text)
                return (there, path) if there == below else recognised(there, "" if place else path)
            opened: BaseStore = below
            for adapter in parse_pipeline(f"memory:|{text}")[1:]:
                opened = _adapter(adapter, opened)
            return opened, "" if place else path
    return store, path


def as_store(store: StoreLike, options: Mapping[str, Any] | None = None) -> BaseStore:
    """A store object as it is, anything else opened with the options; they are refused for a store object."""
    return store if isinstance(store, BaseStore) and not options else open_store(store, **(options or {}))


def _made(store: StoreLike, options: Mapping[str, Any]) -> BaseStore:
    if store is None:
        return MemoryStore.from_options(options)
    if isinstance(store, str):
        return _from_url(store, options)
    if hasattr(store, "storage_options") and hasattr(store, "protocol"):  # a UPath
        try:
            return _store_class("fsspec")(url=store, **options)  # type: ignore[call-arg]
        except Exception as error:  # noqa: BLE001 - raised again
            _raise({"url": str(store), **options}, error)
    if isinstance(store, os.PathLike) and not isinstance(store, BaseStore):
        path = os.fspath(store)
        scheme, colon, rest = str(path).partition(":")
        if colon and rest[:1] == "/" and _is_store(scheme):
            raise ConfigurationError(
                f"{redact_url(path)!r} was a URL: pathlib has dropped a slash of it; give it as text"
            )
        return _store_class("directory").from_options({"path": path, **options})
    if isinstance(store, dict) and _is_spec(store):
        return _from_spec(store, options)
    if options:
        raise ConfigurationError(
            f"options ({', '.join(options)}) go with a URL or configuration, not with a store object"
        )
    return wrap(store)


def _from_url(text: str, options: Mapping[str, Any], query: Mapping[str, str] = _NOTHING) -> BaseStore:
    try:
        root, *adapters = parse_pipeline(text)
        opened = _root(root._replace(query={**root.query, **query}), options)
        for adapter in adapters:
            opened = _adapter(adapter, opened)
    except Exception as error:  # noqa: BLE001 - raised again
        _raise({"url": text, **options}, error)
    return opened


def _raise(given: Mapping[str, Any], error: Exception) -> NoReturn:
    """Raise what came of what a user wrote: as one of our errors, in which none of its secrets stands."""
    if isinstance(error, (ImportError, MemoryError)):
        raise error
    try:
        secrets = [*secrets_of(given), *values_of(as_templates(given))]
        is_secret, told = tells(error, secrets), redact(text_of(error), secrets)
        shown = redact_options(given)
    except RecursionError:
        raise_alone(ConfigurationError("the configuration of a store is nested too deep"))
    ours = error
    if is_secret and isinstance(error, ZarrError):
        ours = type(error)(told)
    elif not isinstance(error, ZarrError):
        ours = ConfigurationError(f"{shown} names no store: {type(error).__name__}: {told}")
    if is_secret:
        raise_alone(ours)
    if ours is error:
        raise error
    raise ours from error


def _root(url: Url, options: Mapping[str, Any]) -> BaseStore:
    if url.scheme == "store":
        return _named((url.authority or "") + url.path, url.query, options)
    return _opened(url.scheme or "directory", lambda cls: cls.from_url(url, **options))


def _named(name: str, query: Mapping[str, str], options: Mapping[str, Any]) -> BaseStore:
    named = config.named_store(name)
    text = named if isinstance(named, str) else named.get("url", "") if isinstance(named, Mapping) else ""
    if str(text).lower().startswith("store:"):
        raise ConfigurationError(f"the named store {name!r} must not name another one ({text!r})")
    if isinstance(named, str):
        return _from_url(named, options, query)
    if not isinstance(named, Mapping) or not ("store" in named or "url" in named):
        raise ConfigurationError(f"the named store {name!r} needs a 'url' or a 'store' with its options")
    return _from_spec(named, options, query)


def _adapter(url: Url, inner: BaseStore) -> BaseStore:
    cls = _layer_class(url.scheme)
    return cls.around(inner, cls.url_options(url))


def _from_spec(
    spec: Mapping[str, Any], options: Mapping[str, Any], query: Mapping[str, str] = _NOTHING
) -> BaseStore:
    try:
        return _built(dict(spec), options, query)
    except Exception as error:  # noqa: BLE001 - raised again
        _raise({**spec, **options}, error)


def _built(own: dict[str, Any], options: Mapping[str, Any], query: Mapping[str, str]) -> BaseStore:
    layers = own.pop("layers", [])
    if not isinstance(layers, list):
        raise ConfigurationError("'layers' of a store configuration is a list of tables, each with a 'layer'")
    member = "store" if "store" in own else "url"
    named = own.pop(member)
    if not isinstance(named, str):
        raise ConfigurationError(f"{member!r} of a store configuration is text, not {type(named).__name__}")
    if member == "store":
        own = as_templates(own)
        opened = _opened(
            named, lambda cls: cls.from_options({**own, **cls.declared().from_query(query), **options})
        )
    else:
        opened = _from_url(named, {**as_templates(own), **options}, query)
    for layer in layers:
        if not isinstance(layer, Mapping) or "layer" not in layer:
            shown = sorted(map(str, layer)) if isinstance(layer, Mapping) else type(layer).__name__
            raise ConfigurationError(f"a layer is a table with the member 'layer', not {shown}")
        rest = {name: value for name, value in layer.items() if name != "layer"}
        opened = _layer_class(str(layer["layer"])).around(opened, as_templates(rest))
    return opened


def _is_store(name: str) -> bool:
    return name.lower() in {plugin.name for plugin in registry.plugins("stores")}


def _is_spec(mapping: dict[str, Any]) -> bool:
    """Whether a dict is a configuration rather than a store's content (keys with bytes)."""
    if any(isinstance(value, bytes | bytearray | memoryview) for value in mapping.values()):
        return False
    if "store" in mapping or "url" in mapping:
        return True
    if any(isinstance(value, str | int | float | list | dict | None) for value in mapping.values()):
        raise ConfigurationError(
            "a dict is either a store's content, keys with bytes, or a configuration with the member 'store' or 'url'; "
            f"this one has {', '.join(sorted(map(repr, mapping)))}"
        )
    return False


def preferred() -> list[str]:
    """The stores that the setting `prefer` names."""
    return [name for name in (config.get("prefer") or "").replace(" ", "").split(",") if name]


def _opened(name: str, make: Callable[[type[BaseStore]], BaseStore]) -> BaseStore:
    """A store of the first class under a name that takes what was given; where none does, the error has what each says."""
    refused = {}
    for cls in _store_classes(name):
        try:
            return make(cls)
        except ConfigurationError as error:
            refused[cls.kind] = error
    if len({*map(str, refused.values())}) == 1:
        raise next(iter(refused.values()))
    raise ConfigurationError("; ".join(f"{kind}: {error}" for kind, error in refused.items()))


def _store_class(name: str) -> type[BaseStore]:
    return next(_store_classes(name))


def _store_classes(name: str) -> Iterator[type[BaseStore]]:
    for found in registry.alternatives("stores", name, preferred):
        yield _checked("stores", name, found, BaseStore)  # type: ignore[type-abstract]


def _layer_class(name: str) -> type[Layer]:
    return _checked("layers", name, registry.load("layers", name), Layer)


def _checked(kind: registry.Kind, name: str, plugin: Any, base: type[T]) -> type[T]:
    if isinstance(plugin, type) and issubclass(plugin, base):
        return plugin
    raise RegistryError(
        f"plugin {name!r} of {registry.owner(kind, name)} is broken: {plugin!r} is not a subclass of zarrv3's {base.__name__}"
    )
