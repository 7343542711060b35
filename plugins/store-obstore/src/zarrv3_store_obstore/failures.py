"""What obstore's exceptions mean, known by their names: a forked child has classes of its own."""

import re

_CLASSES: dict[str, type[Exception]] = {
    "NotFoundError": FileNotFoundError,
    "FileNotFoundError": FileNotFoundError,
    "PermissionDeniedError": PermissionError,
    "UnauthenticatedError": PermissionError,
    "NotSupportedError": NotImplementedError,
    "AlreadyExistsError": FileExistsError,
    "PreconditionError": FileExistsError,
}

_TIME = re.compile(r"kind: Timeout\b|\bTimedOut\b|timed out|RequestTimeout")
_ELSEWHERE = re.compile(r"https?://\S+|<.*", re.DOTALL)  # addresses and documents have any words in them
_LINE = re.compile(
    r"error sending request|connect|dns|connection|body|reset|broken pipe|((?!501)5\d\d|429|408) ",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"status.{0,12}\b40[13]\b|credential|InvalidAccessKey|SignatureDoesNotMatch", re.IGNORECASE
)

_CODE = re.compile(r"<Code>(\w*)")
_DENIED = {"AccessDenied", "AllAccessDisabled", ""}
"""Codes for what this user may not see, or what is not there; others say that the user is not who it claims to be."""


def plain(error: Exception) -> Exception:
    """The Python exception equivalent to one of obstore's, with the first lines of its text."""
    detail = str(error)
    text, debug, _ = detail.partition("\n\nDebug source")  # Python's own FileNotFoundError has it too
    if not (debug or type(error).__module__.endswith("obstore.exceptions") or is_kind(error, "GenericError")):
        return error
    text = text.strip()
    found = _CLASSES.get(type(error).__name__)
    if found is None:
        found = (
            PermissionError
            if _REFUSED.search(text)
            else TimeoutError
            if _TIME.search(detail)
            else ConnectionError
            if _LINE.search(_ELSEWHERE.sub("", text))
            else OSError
        )
    return found(text)


def is_kind(error: object, *names: str) -> bool:
    """Whether an exception is one of obstore's with such a name."""
    return type(error).__name__ in names


def is_denied(error: object) -> bool:
    """Whether a known user may not see an object; a server may say so of a missing one, and never by a refused login."""
    code = _CODE.search(str(error))
    return is_kind(error, "PermissionDeniedError") and (code is None or code[1] in _DENIED)
