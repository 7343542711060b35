"""The text of a store URL, taken apart: `root://…|adapter:…|adapter:?option=value`. Pure text, no look-ups.

A pipeline is a root followed by adapters, joined by `|`, as in ZEP 8 and TensorStore. A root without a scheme is the path
of a folder, taken literally. In everything else `%7C` stands for `|`, and `%3F` for a `?` that starts no options.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from zarrv3.errors import ConfigurationError
from zarrv3.options.redaction import raise_alone, redact_url

_SCHEME = r"([A-Za-z][A-Za-z0-9+._-]+):(?!\\)"
_LIKE_A_SCHEME = r"(?![A-Za-z]:)[^/\\]+:/"
"""What looks like a URL and is not: ` redis://…`. It is not taken for a path, which might have a password in it."""


# Up to where a host and port end. A path may have such characters: only of what is a host a '/' counts.
_PASSWORD = r"(?s)/{0,3}[^/?#@\[:]*:([^/?#@:]*)[?#].*@|//[^/?#@\[:]+:([^/?#@:]+)/.*@|//[^/?#]*[?#][^=&]*@"  # noqa: S105 - a pattern


class Url(NamedTuple):
    """One part of a pipeline."""

    scheme: str
    """The name of the store or layer, in lower case; `""` for a bare path."""
    authority: str | None
    """What stands between `//` and the next `/`, as written; `None` without `//`."""
    path: str
    """The path with percent signs decoded, its leading `/` included."""
    query: dict[str, str]
    """The options after `?`, decoded."""
    text: str
    """The part as it was written."""

    @property
    def host(self) -> str | None:
        """The host, decoded and without the brackets of an IPv6 address; `None` where there is none."""
        return _decoded(self._host_and_port[0].removeprefix("[").removesuffix("]"), self.text) or None

    @property
    def port(self) -> int | None:
        """The port; `None` where there is none. Raises `ConfigurationError` for what is not a port."""
        text = self._host_and_port[1]
        if not text:
            return None
        if not (text.isascii() and text.isdecimal() and int(text) < 1 << 16):
            raise _wrong(self.text, ": after the host's ':' comes a port, 0 to 65535")
        return int(text)

    @property
    def user(self) -> str | None:
        """The user's name, decoded; `None` where there is none."""
        return _decoded(self._user_info.partition(":")[0], self.text) or None

    @property
    def password(self) -> str | None:
        """The password, decoded; `None` where there is none."""
        return _decoded(self._user_info.partition(":")[2], self.text) or None

    @property
    def _user_info(self) -> str:
        return (self.authority or "").rpartition("@")[0]

    @property
    def _host_and_port(self) -> tuple[str, str]:
        place = (self.authority or "").rpartition("@")[2]
        host, colon, port = place.rpartition(":")
        return (host, port) if colon and not place.endswith("]") else (place, "")


def parse_pipeline(text: str) -> list[Url]:
    """The root and the adapters of a URL; raises `ConfigurationError` for anything else."""
    root, *adapters = text.split("|")
    if not root:
        raise ConfigurationError("a store URL must not be empty; give a path, a URL or 'memory://'")
    found = [parse_part(root)]
    for adapter in adapters:
        if not re.match(_SCHEME, adapter):  # it may be a piece of a password with an unquoted '|'
            shown = repr(adapter) if "@" not in text and redact_url(text) == text else "what follows '|'"
            raise ConfigurationError(
                f"{shown} is not an adapter; after '|' comes 'name:', as in '|zip:' or '|read-only:'; "
                "a '|' that belongs to a name or password is written %7C"
            )
        found.append(parse_part(adapter))
    return found


def parse_part(text: str) -> Url:
    """One part of a pipeline."""
    match = re.match(_SCHEME, text)
    if not match:
        if re.match(_LIKE_A_SCHEME, text):
            what = " is not a URL: a scheme is letters, digits, '+', '-' and '.'; a path with a colon may begin with './'"
            raise _wrong(text, what)
        return Url("", None, text, {}, text)
    rest = text[match.end() :]
    if _is_cut(rest):
        raise _wrong(text, ": a password with '/', '?' or '#' is written with %2F, %3F or %23")
    rest = rest.partition("#")[0]
    rest, _, query = rest.partition("?")
    authority = None
    if rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
    return Url(match[1].lower(), authority, _decoded(rest, text), _options(query, text), text)


def _is_cut(rest: str) -> bool:
    """Whether what follows a scheme has a password in which the host or path seems to end already."""
    match = re.match(_PASSWORD, rest) if "@" in rest else None
    return match is not None and not (match[1] or match[2] or "").isdecimal()


def has_scheme(text: str) -> bool:
    """Whether a text starts like a URL rather than like a path."""
    return bool(re.match(_SCHEME, text))


def local_path(url: Url) -> str:
    """The path of a URL that names something on this machine: `file:///abs`, `file://localhost/abs`, `lmdb:rel`."""
    if url.authority not in {None, "", "localhost"}:
        raise _wrong(url.text, f" names a host; write {url.scheme}:///absolute/path with three slashes")
    if not url.path:
        raise ConfigurationError(f"{url.scheme}: needs a path, as in {url.scheme}:///absolute/path")
    if os.name == "nt":  # file:///C:/data
        return re.sub(r"^/(?=[A-Za-z]:)", "", url.path)
    return url.path


# ---------------------------------------------------------------- option types


def boolean(text: str) -> bool:
    """`true`, `yes`, `1`, `on`, or their opposites."""
    lowered = text.lower()
    if lowered in {"true", "yes", "1", "on", ""}:
        return True
    if lowered in {"false", "no", "0", "off"}:
        return False
    raise ConfigurationError(f"{text!r} is neither true nor false")


_UNITS = {"": 1, "b": 1}
_UNITS |= {f"{letter}{ending}": 1000 ** (i + 1) for i, letter in enumerate("kmgt") for ending in ("", "b")}
_UNITS |= {f"{letter}ib": 1024 ** (i + 1) for i, letter in enumerate("kmgt")}


def byte_size(given: int | str) -> int:
    """A number of bytes such as `1000`, `64KiB`, `1.5GB`; powers of 1024 with an `i`, of 1000 without.

    Raises `ConfigurationError` for what is not one.
    """
    if type(given) is int and given >= 0:
        return given
    text = given if isinstance(given, str) else ""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].lower() not in _UNITS:
        raise ConfigurationError(f"{given!r} is not a size; write it like 1000, '64KiB' or '1.5GB'")
    from fractions import Fraction

    return int(Fraction(match[1]) * _UNITS[match[2].lower()])


def short_size(size: int) -> str:
    """A number of bytes as people read it: `1.5 MiB`."""
    power = min((size.bit_length() - 1) // 10, 6)
    return f"{size} B" if power < 1 else f"{size / 1024**power:.1f} {'KMGTPE'[power - 1]}iB"


def size_text(size: int | None) -> str:
    """A number of bytes as `byte_size` reads it: `256MiB`."""
    for exponent, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size and size % (1 << exponent) == 0:
            return f"{size >> exponent}{unit}"
    return str(size)


def _decoded(part: str, text: str) -> str:
    """A part of a URL without percent signs."""
    if "%" not in part:
        return part
    from urllib.parse import unquote

    with _only_utf8(text):
        return unquote(part, errors="strict")


def _options(query: str, text: str) -> dict[str, str]:
    if not query:
        return {}
    from urllib.parse import parse_qsl

    with _only_utf8(text):
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    options = dict(pairs)
    if len(options) != len(pairs):
        raise ConfigurationError("an option occurs twice in a URL; an '&' within a value is written %26")
    return options


@contextmanager
def _only_utf8(text: str) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:
        raise_alone(_wrong(text, ": its percent signs do not stand for UTF-8"))


def _wrong(text: str, what: str) -> ConfigurationError:
    """The error about a URL, whose password it does not show."""
    return ConfigurationError(f"{redact_url(text)!r}{what}")
