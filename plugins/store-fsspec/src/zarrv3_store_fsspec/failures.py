"""What the exceptions of the libraries below fsspec mean, known by their names: none of them is imported for it."""

import builtins
import errno
from collections.abc import Iterable
from typing import Any

from zarrv3.errors import ConfigurationError

_BY_NAME: dict[str, type[OSError]] = {
    "botocore.exceptions.ConnectTimeoutError": TimeoutError,
    "botocore.exceptions.ReadTimeoutError": TimeoutError,
    "botocore.exceptions.ConnectionError": ConnectionError,
    "botocore.exceptions.HTTPClientError": ConnectionError,
    "botocore.exceptions.BotoCoreError": OSError,
    "botocore.exceptions.ClientError": OSError,
    "aiohttp.client_exceptions.ServerTimeoutError": TimeoutError,
    "aiohttp.client_exceptions.ClientConnectionError": ConnectionError,
    "aiohttp.client_exceptions.ClientPayloadError": ConnectionError,
    "aiohttp.client_exceptions.ClientError": OSError,
    "azure.core.exceptions.ServiceRequestError": ConnectionError,
    "azure.core.exceptions.ServiceResponseError": ConnectionError,
    "azure.core.exceptions.AzureError": OSError,
    "gcsfs.retry.HttpError": OSError,
    "google.auth.exceptions.TransportError": ConnectionError,
    "google.auth.exceptions.GoogleAuthError": OSError,
    "paramiko.ssh_exception.AuthenticationException": PermissionError,
    "paramiko.ssh_exception.SSHException": ConnectionError,
    "ftplib.error_temp": ConnectionError,
    "ftplib.Error": OSError,
}

_BUSY = {errno.EBUSY, getattr(errno, "EREMOTEIO", errno.EBUSY)}
"""The errors that s3fs raises for 500, 503 and SlowDown."""


def plain(error: Exception, time_outs: str) -> Exception:
    """The Python exception equivalent to a library's; the message names the time-outs in force."""
    kind: type[Exception] | None = next((_BY_NAME[name] for name in _names(error) if name in _BY_NAME), None)
    if isinstance(error, OSError) and error.errno in _BUSY:
        kind = ConnectionError
    if kind is None and _is_foreign(error):
        return OSError(f"{type(error).__name__}: {error}")
    if kind is None and not isinstance(error, TimeoutError):
        return error
    kind = kind or TimeoutError
    text = str(error) or type(error).__name__
    return kind(f"{text}{time_outs}" if issubclass(kind, TimeoutError) else text)


def names_of(exceptions: str | Iterable[str | type[BaseException]] | None) -> Any:
    """Exceptions as text, their names separated by commas; unchanged if not all are Python's."""
    if exceptions is None or isinstance(exceptions, str):
        return exceptions
    given = (*exceptions,)
    names = [one if isinstance(one, str) else getattr(one, "__name__", "") for one in given]
    known = all(one in {name, getattr(builtins, name, None)} for one, name in zip(given, names, strict=True))
    return ",".join(names) if known else given


def classes_of(exceptions: str | Iterable[Any] | None) -> tuple[type[BaseException], ...]:
    """The exceptions that `names_of` wrote; `ConfigurationError` for anything else."""
    names = exceptions.split(",") if isinstance(exceptions, str) else exceptions or ()
    classes: list[Any] = [
        getattr(builtins, one.strip(), one) if isinstance(one, str) else one for one in names
    ]
    for one in classes:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise ConfigurationError(f"{one!r} is not a Python exception")
    return tuple(classes)


def _is_foreign(error: Exception) -> bool:
    """Whether an exception is a library's own, or the generic one that adlfs and others raise for any failure."""
    own = type(error).__module__ != "builtins" and not isinstance(error, OSError | NotImplementedError)
    return own or type(error) is ValueError


def _names(error: Exception) -> list[str]:
    return [f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__]
