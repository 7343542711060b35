"""Keeping passwords out of everything that people read: reprs, errors, logs, specs that are shown."""

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

HIDDEN = "***"

SECRET_NAME = (  # a pattern, as all of these: they are compiled when they are first used
    r"(?i)passw|passphrase|pwd|secret|token|credential"  # noqa: S105 - a pattern
    r"|(api|access|account|private|shared)[-_]?key|signature|^key$|^sig$|^auth"
)
"""Names of options whose values are never shown."""

# None of these looks at a character more often than a few times, however long and odd the text is: users of a URL are looked
# for only before an `@` (up to the last one of `_LOGINS` or of the text), and a name in a query need not have a value.
_LOGINS = r"(?<![^\s|])[^\s|]*@"
# The password reaches to the last `@` before the path (it may hold an `@`), else to the first one (it may hold a `/`).
_USER_INFO = r"(?<=://)([^/@\s:|]*):([^/?#\s|]*|[^@\s|]*)@"
# Of a text that is one URL: to its last `@`, whatever stands before it, since libraries take blanks, `@`, `?`, `#` and more.
_WHOLE_URL = r"(?s)(?<![A-Za-z0-9+._-])([A-Za-z][A-Za-z0-9+._-]+:/{0,3})([^/@:|]*):(.*)@"
_SCHEME = r"['\"\[ ]*[A-Za-z][A-Za-z0-9+._-]+:"
# Of one without a scheme, such as the name of a store in memory.
_NO_SCHEME = r"((?:['\"\[ ]*/+)?[^/@:|]*):(?!/)[^|]*@"
_TOKEN_URL = r"(?<![\w.+-])(?:[\w.+-]+\+)?(https?://)()([^/@:|?#]+)@"  # noqa: S105 - a pattern
_QUERY = r"([?&;])([^=&;#|\s]+)(?:=([^&;|\s]*))?"
# Of a text that is one URL: whatever the value holds, to the next option.
_WHOLE_QUERY = r"([?&;])([^=&;#|\s]+)(?:=([^&]*))?"


_CUTS = r"[@:/?#&=|\s]"
_NONE: Mapping[str, bool] = MappingProxyType({})


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without the passwords of URLs in it and without the given secrets."""
    # most texts are paths, for which no pattern is needed
    if "@" in text:
        text = re.sub(_LOGINS, lambda match: re.sub(_USER_INFO, rf"\1:{HIDDEN}@", match[0]), text)
    if "=" in text and ("?" in text or "&" in text or ";" in text):
        text = re.sub(_QUERY, _hidden, text)
    # a secret may be the beginning of another
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _without_scheme(text: str) -> str:
    match = re.match(_NO_SCHEME, text)
    return text if match is None else f"{match[1]}:{HIDDEN}@{text[match.end() :]}"


def _hidden(match: re.Match[str]) -> str:
    is_secret = match[3] is not None and re.search(SECRET_NAME, match[2])
    return f"{match[1]}{match[2]}={HIDDEN}" if is_secret else match[0]


def redact_url(text: str) -> str:
    """A text that is one URL, without its password."""
    if "@" not in text and "=" not in text:
        return text
    shown = text if re.match(_SCHEME, text) else _without_scheme(text)
    end = shown.rfind("@") + 1
    shown = re.sub(_WHOLE_URL, rf"\1\2:{HIDDEN}@", shown[:end], count=1) + shown[end:]
    if shown == text:
        shown = _without_scheme(text)
    shown = re.sub(_WHOLE_QUERY, _hidden, shown)
    return redact(re.sub(_TOKEN_URL, rf"\1{HIDDEN}@", shown, count=1))


def tells(error: BaseException, secrets: Iterable[str]) -> bool:
    """Whether a secret stands in the text or notes of an exception or of one that it came from; also if it has no text."""
    known = [*secrets]
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and not any(one is other for other in seen):
            seen.append(one)
            waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    texts = [text for one in seen for text in (text_of(one), *getattr(one, "__notes__", ()))]
    return any(text == MUTE or redact(text, known) != text for text in texts)


MUTE = "an error without a readable text"


def text_of(error: BaseException) -> str:
    """The text of an exception, also of one that fails to tell."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - whatever a plugin's exception does
        return MUTE


def raise_alone(error: Exception) -> NoReturn:
    """Raise an error without the one that is being handled, in which a secret stands."""
    try:
        raise error from None
    finally:
        error.__context__ = None


def redact_options(options: Mapping[str, Any], declared: Mapping[str, bool] = _NONE) -> dict[str, Any]:
    """Options as they may be shown: values of secret names hidden, URLs redacted, at any depth.

    `declared` says of some of the options whether they are secret; of the others, and of what is in them, the name tells.
    """
    return {
        name: HIDDEN if _is_secret(name, value, declared) else _shown(value)
        for name, value in options.items()
    }


def secrets_of(options: Mapping[str, Any], declared: Mapping[str, bool] = _NONE) -> list[str]:
    """The secret texts among options: what must not appear in an error that a backend's library words.

    Of a URL they are given as written and decoded, since libraries show either. `declared` as in `redact_options`.
    """
    return [*_secret_texts(options, secret=False, declared=declared)]


def _secret_texts(value: Any, *, secret: bool, declared: Mapping[str, bool] = _NONE) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _secret_texts(item, secret=secret or _is_secret(name, item, declared))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secret_texts(item, secret=secret)
    elif isinstance(value, bytes | bytearray):
        yield from _secret_texts(value.decode(errors="replace"), secret=secret)
    elif isinstance(value, str):
        yield from _secrets_in(value, [value] if secret else [])
    elif secret and value is not None:
        yield str(value)


def _secrets_in(value: str, found: list[str]) -> Iterator[str]:
    """Those found and the passwords of URLs in a text, each as written, decoded and encoded."""
    found += [
        match[2]
        for part in re.finditer(_LOGINS, value)
        for match in re.compile(_USER_INFO).finditer(value, *part.span())
    ]
    urls = (re.match(_WHOLE_URL, value), re.match(_TOKEN_URL, value))
    options = (match for match in re.finditer(_WHOLE_QUERY, value) if re.search(SECRET_NAME, match[2]))
    for match in filter(None, (*urls, *options)):
        if match[3]:
            # with its pieces: a library may have cut it where a piece looks like a host or a query
            found += [match[3], *(piece for piece in re.split(_CUTS, match[3]) if len(piece) > 3)]
    for text in filter(None, found):
        from urllib.parse import quote, unquote

        yield from {text: None, unquote(text): None, quote(text, safe=""): None}


def _is_secret(name: object, value: object, declared: Mapping[str, bool] = _NONE) -> bool:
    if name in declared:
        return declared[str(name)] and value is not None
    if value is None or isinstance(value, bool):
        return False
    return isinstance(name, str) and bool(re.search(SECRET_NAME, name))


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return redact_url(value)
    if isinstance(value, Mapping):
        return redact_options(value)
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    return value
