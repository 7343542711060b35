"""The extension definition of the specification: how a document names a data type, codec, grid, … .

An extension is a name with an optional configuration, written as `"name"` or as an object with the members `name`,
`configuration` and `must_understand` (core specification, "Extension definition").
"""

import operator
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self, TypeVar

from zarrv3.errors import MetadataError, RegistryError, UnknownExtensionError, ZarrError
from zarrv3.options.redaction import redact
from zarrv3.registry import NOUN, Kind, load, owner
from zarrv3.store.contract import JSON

T = TypeVar("T")

_MEMBERS = frozenset({"name", "configuration", "must_understand"})


@dataclass(frozen=True)
class NamedConfig:
    """An extension as a document spells it, not yet looked up."""

    name: str
    configuration: Mapping[str, JSON] = field(default_factory=dict)
    must_understand: bool = True

    @classmethod
    def parse(cls, value: JSON, member: str) -> Self:
        """Read an extension definition; `member` is where it stands in the document, for errors (`"codecs[1]"`)."""
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, dict | Mapping):
            raise MetadataError(f"{member} must be a name or an object with a name, not {shown(value)}")
        if unknown := sorted(str(name) for name in value if name not in _MEMBERS):
            raise MetadataError(f"{member} has unknown members: {', '.join(unknown)}")
        name = value.get("name")
        if not isinstance(name, str) or not name:
            raise MetadataError(f"{member}.name must be a non-empty string, not {shown(name)}")
        configuration = value.get("configuration", {})
        if not isinstance(configuration, dict | Mapping):
            raise MetadataError(f"{member}.configuration must be an object, not {shown(configuration)}")
        must_understand = value.get("must_understand", True)
        if must_understand is not True:
            boolean(f"{member}.must_understand", must_understand)
        return cls(name, dict(configuration), must_understand)

    def to_json(self) -> JSON:
        """The object form; members with their implied value are left out."""
        document: dict[str, JSON] = {"name": self.name}
        if self.configuration:
            document["configuration"] = dict(self.configuration)
        if not self.must_understand:
            document["must_understand"] = False
        return document

    def __str__(self) -> str:
        """The name, with the configuration in brackets."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.configuration.items())
        return f"{self.name}({options})" if options else self.name

    def find(self, kind: Kind) -> Any:
        """The class that the name stands for.

        Raises `UnknownExtensionError` with the registry's advice (the `pip install` line or a did-you-mean).
        """
        try:
            return load(kind, self.name)
        except RegistryError as error:
            raise UnknownExtensionError(str(error)) from error

    def is_ignored(self, kind: Kind) -> bool:
        """Whether the name is unknown, and its writer allows readers to ignore it."""
        if self.must_understand:
            return False
        try:
            self.find(kind)
        except UnknownExtensionError:
            return True
        return False

    def resolve(self, kind: Kind, base: type[T], member: str) -> T:
        """The object that name and configuration stand for: `class.from_json(name, configuration)`, which must be a `base`.

        Raises `UnknownExtensionError` for a name that is not known, `MetadataError` for a configuration that makes no sense.
        """
        try:
            found = self.find(kind).from_json(self.name, self.configuration)
        except MetadataError as error:
            raise type(error)(f"{member}: {error}") from error
        except Exception as error:
            blame(kind, self.name, member, error)
            raise
        if base in type(found).__mro__:  # no call of Python, unlike `isinstance` of an ABC
            return found  # type: ignore[no-any-return]
        raise RegistryError(
            f"{NOUN[kind]} {self.name!r} of {owner(kind, self.name)} is broken: {type(found).__name__} is not a subclass "
            f"of zarrv3's {base.__name__}"
        )


def resolve(kind: Kind, base: type[T], value: JSON, member: str) -> T:
    """Parse an extension definition that must be understood, and build its object."""
    named = NamedConfig.parse(value, member)
    if not named.must_understand:
        raise MetadataError(f"{member}: must_understand=false is not possible for a {NOUN[kind]}")
    return named.resolve(kind, base, member)


class Reading(NamedTuple):
    """A block that parses a document: every error becomes a `MetadataError` that names its source.

    So a parser may trust that members have the right types where a wrong one raises anyway.
    """

    source: str

    def __enter__(self) -> None:
        """Nothing is to be done."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Name the source of an error."""
        if error is None:
            return
        if isinstance(error, MetadataError):
            raise type(error)(f"{self.source}: {error}") from error
        if isinstance(error, RecursionError):
            raise MetadataError(f"{self.source}: the document is nested too deep") from None
        if isinstance(error, Exception) and not isinstance(error, PASSED):
            told = redact(f"{type(error).__name__}: {error}")
            raise MetadataError(f"{self.source}: a member is not what the format says ({told})") from error


PASSED = (ZarrError, MemoryError)
"""What an extension may raise: our errors, and what says nothing about the extension."""


class Guard(NamedTuple):
    """A block that calls an extension, an object or a name: what that should not have raised becomes a `MetadataError`."""

    kind: Kind
    extension: Any
    member: str
    """Where it stands in the document."""

    def __enter__(self) -> None:
        """Nothing is to be done."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Name the extension that has failed."""
        if isinstance(error, Exception):
            blame(*self, error)


def blame(kind: Kind, extension: Any, member: str, error: Exception) -> None:
    """Raise a `MetadataError` that names the extension, unless it may raise what it has raised.

    It may also raise what says that a document is nested too deep: its reader tells that.
    """
    if not isinstance(error, (*PASSED, RecursionError)):
        raise MetadataError(broken(kind, extension, member, error)) from error


def broken(kind: Kind, extension: Any, member: str, error: Exception) -> str:
    """What to say of an exception that an extension should not have raised."""
    name = extension
    if not isinstance(name, str):
        try:
            name = NamedConfig.parse(extension.to_json(), member).name
        except Exception:  # noqa: BLE001 - it is broken
            name = type(extension).__name__
    told = redact(f"{type(error).__name__}: {error}")
    return (
        f"{member}: {NOUN[kind]} {name!r} of {owner(kind, name) or type(extension).__module__} failed: {told}"
    )


def check_members(
    owner: str,
    configuration: Mapping[str, JSON],
    required: Collection[str] = (),
    optional: Collection[str] = (),
) -> None:
    """Raise `MetadataError` when a configuration lacks a member or has one that is not known."""
    if missing := [name for name in required if name not in configuration]:
        raise MetadataError(f"{owner}: the configuration lacks {', '.join(missing)}")
    if unknown := [name for name in configuration if name not in required and name not in optional]:
        known = ", ".join([*required, *optional]) or "none"
        raise MetadataError(f"{owner}: unknown configuration: {', '.join(map(str, unknown))}; known: {known}")


def integer(owner: str, value: Any, low: int, high: int) -> int:
    """`value` as an `int`: it must be an integer of any class in `[low, high]`, but not a boolean."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not low <= number <= high:
        raise MetadataError(f"{owner} must be an integer from {low} to {high}, not {shown(value)}")
    return number


def integers(owner: str, values: Any, low: int, high: int) -> tuple[int, ...]:
    """`values`, which must be a list of such integers, or an array or range of them, as a tuple."""
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping):
        raise MetadataError(f"{owner} must be a list of integers, not {shown(values)}")
    return tuple([integer(f"{owner}[{index}]", value, low, high) for index, value in enumerate(values)])


def choice(owner: str, value: JSON, allowed: Collection[str]) -> str:
    """`value`, which must be one of the `allowed` texts."""
    if not isinstance(value, str) or value not in allowed:
        raise MetadataError(f"{owner} must be one of {', '.join(map(repr, allowed))}, not {shown(value)}")
    return str(value)  # of no subclass


def boolean(owner: str, value: JSON) -> bool:
    """`value`, which must be true or false."""
    if not isinstance(value, bool):
        raise MetadataError(f"{owner} must be true or false, not {shown(value)}")
    return value


def shown(value: Any) -> str:
    """A value as it appears in an error: its repr, cut after 80 characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of 5000 digits, a list that is nested too deep
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
