"""The options of a class, declared once: by the signature of its constructor.

    def __init__(
        self,
        path: Annotated[str | os.PathLike[str], Option("the folder that is the root of the hierarchy")],
        fsync: Annotated[bool, Option("return from a write only when it is on the disk")] = False,
    ) -> None:

Name, type and default stand in the signature, everything else in `Option`. A plain annotation declares an option too; it
only lacks the help. The table of a class is made when it is first asked for, and kept.
"""

from __future__ import annotations

import collections.abc
import inspect
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, Union

from zarrv3.errors import ConfigurationError, ZarrError
from zarrv3.options.environment import Template, as_templates, expand
from zarrv3.options.redaction import SECRET_NAME, redact, redact_url, secrets_of
from zarrv3.options.urls import Url, boolean
from zarrv3.registry import nearest

_MISSING: Any = inspect.Parameter.empty
_ABSENT: Any = object()
"""The default of an option that is passed on only when it is given."""
_NO = object()


@dataclass(frozen=True)
class Option:
    """What an option's annotation says beside its type: `Annotated[int, Option("seconds to wait", check=…)]`."""

    help: str = ""
    """One line for the README, the command line and errors."""
    secret: bool | None = None
    """Whether the value is never shown; `None`: by the option's name."""
    live: bool = False
    """Whether it holds an object of this process: with one there is no spec, and no URL can give it."""
    convert: Callable[[str], Any] | None = None
    """How text becomes the value, where the type does not say: `byte_size`."""
    check: Callable[[Any], object] | None = None
    """Returns `False` or raises for a value of the right type that is not allowed; it is given the converted value."""
    takes: str = ""
    """What it takes, for errors and tables, where the type does not say: "a whole number from 1 on"."""
    show: Callable[[Any], str] = repr
    """How its default is written for people."""
    known: type | None = None
    """Of `**options` that are passed on: a `TypedDict` with the types of those that a URL may give too."""


@dataclass(eq=False)
class Declared:
    """One option of a class."""

    name: str
    kind: str
    """The kind of the store or layer, for errors."""
    hint: Any
    """The type, without the `Option`."""
    option: Option
    default: Any = _MISSING

    def __post_init__(self) -> None:
        """Work out how values are checked."""
        self._alternatives = _alternatives(self.hint)
        self._coercions = [*map(_coercion, self._alternatives)]
        self._is_text = any(map(_takes_text, self._alternatives))

    @property
    def secret(self) -> bool:
        """Whether its value is never shown."""
        return bool(re.search(SECRET_NAME, self.name)) if self.option.secret is None else self.option.secret

    @property
    def takes(self) -> str:
        """What it takes, in words."""
        return self.option.takes or " or ".join(dict.fromkeys(map(_in_words, self._alternatives)))

    def checked(self, value: Any) -> Any:
        """A value that was given, as it is kept: converted if it is text and the option is not, else checked.

        What takes its value from the environment is kept as it is, and checked when it is used.
        """
        if isinstance(value, Template) and not self.option.live:
            return value
        return self._allowed(self._coerced(value, value), value)

    def from_text(self, text: str) -> Any:
        """The value that text in a URL stands for."""
        kept = as_templates(text)
        return kept if isinstance(kept, Template) else self._allowed(self._converted(text, text), text)

    def used(self, value: Any) -> Any:
        """A kept value as it is used: with what the environment has for `${NAME}`, then converted."""
        expanded = expand(value)
        if not isinstance(value, Template):
            return expanded
        return self._allowed(self._converted(expanded, value), value)

    def _coerced(self, value: Any, given: object) -> Any:
        for coercion in self._coercions:
            found = coercion(value)
            if found is not _NO:
                return found
        if isinstance(value, str):
            return self._converted(value, given)
        raise self._refused(given)

    def _converted(self, text: str, given: object) -> Any:
        try:
            if self.option.convert is not None:
                return self.option.convert(text)
            found = text if self._is_text else _from_text(self._alternatives, text)
        except ValueError as error:
            raise self._refused(given, str(error)) from None
        if found is _NO:
            raise self._refused(given)
        return found

    def _allowed(self, value: Any, given: object) -> Any:
        if self.option.check is None or value is self.default:
            return value
        try:
            allowed = self.option.check(value)
        except (ZarrError, ValueError) as error:
            is_of_value = isinstance(error, ZarrError) and not isinstance(error, ConfigurationError)
            if is_of_value and not self.secret and not isinstance(given, Template):
                raise
            raise self._refused(given, str(error)) from None
        if allowed is False:
            raise self._refused(given)
        return value

    def _refused(self, given: object, reason: str = "") -> ConfigurationError:
        subject = f"option {self.name!r} of {self.kind!r}"
        takes = f"{subject} takes {self.takes.replace('`', '')}"
        if isinstance(given, Template):
            return ConfigurationError(f"{takes}; what the environment has is not that")
        if self.secret:
            return ConfigurationError(f"{takes}; the {type(given).__name__} given is not that")
        if reason:
            return ConfigurationError(f"{subject}: {redact(reason)}")
        plain = given is None or isinstance(given, str | int | float)
        shown = redact_url(repr(given)) if plain else type(given).__name__
        return ConfigurationError(f"{takes}, not {shown}")


@dataclass(frozen=True, eq=False)
class Table:
    """The options of a class."""

    kind: str
    options: Mapping[str, Declared]
    """Those with a name, in the order of the signature, then those that `known` of the others lists."""
    others: Declared | None
    """What all others are, where the constructor takes any: its `**options`."""
    closed: bool = False
    """Whether `**options` of the constructor are those of a `TypedDict` and no others."""

    def get(self, name: str) -> Declared | None:
        """What is declared for a name."""
        return self.options.get(name) or self.others

    @property
    def live(self) -> list[str]:
        """The names of the options that hold objects of this process."""
        return [name for name, one in self.options.items() if one.option.live]

    @property
    def in_urls(self) -> list[str]:
        """The names of the options that a URL can give."""
        return [name for name, one in self.options.items() if not one.option.live]

    @property
    def secrets(self) -> dict[str, bool]:
        """Of the options that say so, whether their values are never shown."""
        return {n: o.option.secret for n, o in self.options.items() if o.option.secret is not None}

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """For people: of each option its name, what it takes, its default, and what it means; in Markdown."""
        for name, one in self.options.items():
            none = one.default is _MISSING or one.default is _ABSENT
            default = "" if none else f"`{one.option.show(one.default)}`"
            yield f"`{name}`", one.takes, default, one.option.help
        if self.others is not None:
            yield "any other", self.others.takes, "", self.others.option.help

    def check_names(self, options: Mapping[str, Any]) -> None:
        """Raise `ConfigurationError` for an option that there is not, with those that look like it, or one that is missing."""
        if self.others is None:
            for name in options:
                if name not in self.options:
                    raise unknown_option(self.kind, name, self.options)
        for name, one in self.options.items():
            if one.default is _MISSING and name not in options:
                meaning = f": {one.option.help}" if one.option.help else ""
                raise ConfigurationError(f"{self.kind!r} needs the option {name!r}{meaning}")

    def check(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options that a constructor was given, each as it is kept; changes the dict."""
        known = self.options
        for name, value in options.items():
            one = known.get(name)
            if one is None:
                if self.closed:
                    raise unknown_option(self.kind, name, known)
            elif value is not one.default:
                options[name] = one.checked(value)
        return options

    def taken(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Named options, names and values checked, before a constructor sees them."""
        self.check_names(options)
        return self.check(dict(options))

    def use(self, name: str, value: Any) -> Any:
        """The kept value of an option as it is used."""
        one = self.get(name)
        return expand(value) if one is None else one.used(value)

    def from_query(self, query: Mapping[str, str]) -> dict[str, Any]:
        """The options of a URL as values; one that a URL cannot give is an error with those that look like it."""
        found = {}
        for name, text in query.items():
            one = self.options.get(name)
            if one is None and self.others is not None and self.others.option.convert is not None:
                one = self.others
            if one is None or one.option.live:
                raise unknown_option(self.kind, name, self.in_urls, "URL option")
            found[name] = one.from_text(text)
        return found

    def from_url(self, cls: Any, url: Url, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The options that a URL stands for: those of its path and host, and those of its query.

        `query` are the options that are the class's, if not all of them are.
        """
        try:
            located: dict[str, Any] = as_templates(cls.location(url))
        except ZarrError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a plugin does with what a user wrote
            reason = redact(f"{type(error).__name__}: {error}", secrets_of({"url": url.text}))
            raise ConfigurationError(
                f"{redact_url(url.text)!r} is not a URL that {self.kind!r} understands: {reason}"
            ) from None
        found = self.from_query(url.query if query is None else query)
        for name in located:
            if name in found:
                raise ConfigurationError(
                    f"option {name!r} of {self.kind!r} is what stands before the '?'; give it once"
                )
        return {**located, **found}


def unknown_option(kind: str, name: str, known: Iterable[str], what: str = "option") -> ConfigurationError:
    """The error about an option that a kind of store or layer does not have, with the known ones that look like it."""
    return ConfigurationError(f"{kind!r} has no {what} {name!r}; {nearest(name, known, f'its {what}s are')}")


@cache
def declared(cls: Any) -> Table:
    """The options of a store or layer class, from its constructor's signature."""
    function = cls.__init__
    _, *parameters = inspect.signature(function).parameters.values()
    if cls.takes_store:
        parameters = parameters[1:]
    hints = _hints(cls, function)
    kind = getattr(cls, "kind", cls.__name__)
    options: dict[str, Declared] = {}
    others, closed = None, False
    for parameter in parameters:
        hint, option = _taken_apart(hints.get(parameter.name, _MISSING), parameter.default)
        if parameter.kind is parameter.VAR_KEYWORD:
            closed = typing.get_origin(hint) is typing.Unpack
            known = typing.get_args(hint)[0] if closed else option.known
            if known is not None:
                options.update(table_of(kind, known).options)
            others = None if closed else Declared(parameter.name, kind, hint, option)
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            options[parameter.name] = Declared(parameter.name, kind, hint, option, parameter.default)
    return Table(kind, MappingProxyType(options), others, closed=closed)


@cache
def table_of(kind: str, known: type) -> Table:
    """The options that a `TypedDict` declares: those that a class passes on to a library."""
    hints = typing.get_type_hints(known, include_extras=True)
    parts = {name: _taken_apart(hint, _ABSENT) for name, hint in hints.items()}
    options = {name: Declared(name, kind, *part, default=_ABSENT) for name, part in parts.items()}
    return Table(kind, MappingProxyType(options), None)


def markdown(cls: Any) -> str:
    """The options of a class as a table of Markdown."""
    lines = ["| option | takes | default | meaning |", "|---|---|---|---|"]
    rows = [[cell.replace("|", r"\|") for cell in row] for row in declared(cls).rows()]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- types


def _hints(cls: Any, function: Any) -> dict[str, Any]:
    """The annotations as types. One that cannot be evaluated counts as none, unless it declares an `Option`."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - one by one: what is imported for type checkers only is not there
        found = {}
        space = getattr(inspect.unwrap(function), "__globals__", {})
        for name, annotation in function.__annotations__.items():
            holder = type("_", (), {"__annotations__": {name: annotation}})
            try:
                found.update(typing.get_type_hints(holder, space, include_extras=True))
            except Exception as error:
                if "Option(" in str(annotation):
                    raise TypeError(
                        f"the option {name!r} of {cls.__qualname__} is declared with a type that is not there when the "
                        f"program runs: {error}"
                    ) from error
        return found


def _taken_apart(hint: Any, default: Any) -> tuple[Any, Option]:
    """The type and the `Option` of an annotation; without one, what the default's type tells."""
    if hint is _MISSING:
        return {bool: bool, int: float | int, float: float}.get(type(default), Any), Option()
    option = Option()
    if typing.get_origin(hint) in {typing.Required, typing.NotRequired}:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is typing.Annotated:
        hint, *metadata = typing.get_args(hint)
        option = next((one for one in metadata if isinstance(one, Option)), option)
    if default is None and type(None) not in _alternatives(hint) and hint is not Any:
        hint = hint | None
    return hint, option


def _alternatives(hint: Any) -> list[Any]:
    """The members of a union; any other type alone."""
    if typing.get_origin(hint) in {Union, types.UnionType}:
        return [one for member in typing.get_args(hint) for one in _alternatives(member)]
    if typing.get_origin(hint) is typing.Annotated:
        return _alternatives(typing.get_args(hint)[0])
    if hasattr(hint, "__value__"):  # type X = …
        return _alternatives(hint.__value__)
    return [hint]


def _class_of(hint: Any) -> Any:
    """The class that a type is about: of `Mapping[str, Any]` it is `Mapping`."""
    return type(None) if hint is None else typing.get_origin(hint) or hint


def _coercion(hint: Any) -> Callable[[Any], Any]:
    """A function from a value to the value as it is kept, or `_NO` where it is of another type."""
    cls = _class_of(hint)
    if cls is Literal:
        choices = typing.get_args(hint)
        return lambda value: next((c for c in choices if type(c) is type(value) and c == value), _NO)
    if cls in _COERCIONS:
        return _COERCIONS[cls]
    if not isinstance(cls, type) or cls is Any or _is_bare_protocol(cls):
        return lambda value: value
    text = cls in _LIKE_TEXT
    return lambda value: value if isinstance(value, cls) and not (text and isinstance(value, str)) else _NO


# Text is one of each, but never meant as one.
_LIKE_TEXT = {collections.abc.Sequence, collections.abc.Collection, collections.abc.Iterable}


def _is_bare_protocol(cls: Any) -> bool:
    return getattr(cls, "_is_protocol", False) and not getattr(cls, "_is_runtime_protocol", False)


def _whole(value: Any) -> Any:
    return int(value) if hasattr(value, "__index__") and not isinstance(value, bool | type) else _NO


def _real(value: Any) -> Any:
    if isinstance(value, bool | str | bytes) or not hasattr(value, "__float__"):
        return _NO
    return float(value) if getattr(value, "ndim", 0) == 0 else _NO


def _flag(value: Any) -> Any:
    return bool(value) if type(value).__name__ in {"bool", "bool_"} else _NO


_COERCIONS: dict[Any, Callable[[Any], Any]] = {bool: _flag, int: _whole, float: _real}


def _from_text(alternatives: list[Any], text: str) -> Any:
    """What text means to the first of some types that can read it; `_NO` where none can."""
    for hint in alternatives:
        with suppress(ValueError):
            if (found := _read(hint, text)) is not _NO:
                return found
    return _NO


def _takes_text(hint: Any) -> bool:
    """Whether text is a value of a type, of those too that take anything."""
    cls = _class_of(hint)
    return cls in {str, os.PathLike, Any, object} or not (isinstance(cls, type) or cls is Literal)


def _read(hint: Any, text: str) -> Any:
    cls = _class_of(hint)
    if cls is Literal:
        return next((choice for choice in typing.get_args(hint) if str(choice) == text), _NO)
    if cls is type(None):
        return None if text.lower() in {"none", "null"} else _NO
    if cls is bool:
        return boolean(text)
    if cls in {int, float}:
        return cls(text)
    if issubclass(cls, collections.abc.Mapping | collections.abc.Sequence | collections.abc.Set):
        import json

        found = json.loads(text)
        wanted = dict if issubclass(cls, collections.abc.Mapping) else list
        return (found if isinstance(found, cls) else cls(found)) if isinstance(found, wanted) else _NO
    return _NO


_WORDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "`None`",
    os.PathLike: "a path",
    collections.abc.Mapping: "a mapping",
    collections.abc.MutableMapping: "a mutable mapping",
    dict: "a mapping",
    collections.abc.Sequence: "a sequence",
    list: "a list",
    tuple: "a sequence",
    collections.abc.Callable: "a function",
    type: "a class",
}


def _in_words(hint: Any) -> str:
    cls = _class_of(hint)
    if cls is Literal:
        return " or ".join(f"`{choice!r}`" for choice in typing.get_args(hint))
    if cls in _WORDS:
        return _WORDS[cls]
    return f"a `{cls.__name__}`" if isinstance(cls, type) and cls not in {Any, object} else "anything"
