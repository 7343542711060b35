"""Keeping passwords out of everything that people read: reprs, errors, logs, specs that are shown."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

HIDDEN = "***"

SECRET_NAME = re.compile(
    r"passw|passphrase|pwd|secret|token|credential|(api|access|account|private|shared)[-_]?key|signature|^key$|^sig$|^auth",
    re.IGNORECASE,
)
"""Names of options whose values are never shown."""

# The password reaches to the last `@` before the path (it may hold an `@`), else to the first one (it may hold a `/`).
_USER_INFO = re.compile(r"(?<=://)([^/@\s:|]*):([^/?#\s|]*|[^@\s|]*)@")
_QUERY = re.compile(r"([?&;])([^=&;#|\s]+)=([^&;#|\s]*)")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without the passwords of URLs in it and without the given secrets."""
    text = _USER_INFO.sub(rf"\1:{HIDDEN}@", text)
    text = _QUERY.sub(lambda m: f"{m[1]}{m[2]}={HIDDEN}" if SECRET_NAME.search(m[2]) else m[0], text)
    for secret in sorted(
        filter(None, secrets), key=len, reverse=True
    ):  # a secret may be the beginning of another
        text = text.replace(secret, HIDDEN)
    return text


def redact_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they may be shown: values of secret names hidden, URLs redacted, at any depth."""
    return {name: HIDDEN if _is_secret(name, value) else _shown(value) for name, value in options.items()}


def secrets_of(options: Mapping[str, Any]) -> list[str]:
    """The secret texts among options: what must not appear in an error that a backend's library words.

    Of a URL they are given as written and decoded, since libraries show either.
    """
    return [
        text
        for name, value in options.items()
        for text in _secret_texts(value, secret=_is_secret(name, value))
    ]


def _secret_texts(value: Any, *, secret: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _secret_texts(item, secret=secret or _is_secret(name, item))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secret_texts(item, secret=secret)
    elif isinstance(value, bytes | bytearray):
        yield from _secret_texts(value.decode(errors="replace"), secret=secret)
    elif isinstance(value, str):
        found = [value] if secret else []
        found += [match[2] for match in _USER_INFO.finditer(value)]
        found += [match[3] for match in _QUERY.finditer(value) if SECRET_NAME.search(match[2])]
        for text in filter(None, found):
            from urllib.parse import quote, unquote

            yield from {text: None, unquote(text): None, quote(text, safe=""): None}
    elif secret and value is not None:
        yield str(value)


def _is_secret(name: object, value: object) -> bool:
    return (
        isinstance(name, str)
        and bool(SECRET_NAME.search(name))
        and value is not None
        and not isinstance(value, bool)
    )


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return redact_options(value)
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    return value
