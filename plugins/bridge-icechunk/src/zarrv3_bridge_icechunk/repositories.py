"""From a URL and options to a repository of Icechunk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from zarrv3.errors import ConfigurationError, UnsupportedError
from zarrv3.forks import at_forks
from zarrv3.options.redaction import redact_url
from zarrv3.options.urls import local_path, parse_part
from zarrv3_bridge_icechunk.library import is_missing_repository, library

SCHEMES = ("file", "memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https")

_memories: dict[str, Any] = {}
"""The storages in the memory of this process by name."""
_inherited: dict[str, Any] = {}
"""Those of the parents of a forked child, whose library it does not use."""


class Location(NamedTuple):
    """Where a URL without options points to."""

    scheme: str
    container: str
    """The bucket or container; of a web address the host."""
    prefix: str
    account: str = ""
    """Azure's storage account, where the URL says it."""


def location_of(url: str) -> Location:
    """Where a URL points to; `ConfigurationError` for one that is not ours."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"icechunk+{scheme}:" for scheme in SCHEMES)
        raise ConfigurationError(f"{redact_url(url)!r}: repositories are opened by {known}")
    if parts.scheme == "file":
        return Location("file", "", os.path.abspath(local_path(parse_part(url))))  # noqa: PTH100 - a text is wanted
    prefix = unquote(parts.path).strip("/")
    if parts.scheme == "memory":
        return Location("memory", "", "/".join(filter(None, (parts.netloc, prefix))))
    if not parts.netloc:
        raise ConfigurationError(
            f"{redact_url(url)!r} lacks the name of a bucket, container or host: icechunk+{parts.scheme}://name/path"
        )
    container, at, host = parts.netloc.rpartition("@")
    if at and parts.scheme in {"az", "abfs", "abfss"}:
        return Location(parts.scheme, container, prefix, host.partition(".")[0])
    return Location(parts.scheme, parts.netloc, prefix)


class Wanted(NamedTuple):
    """Which version of a repository is wanted: one of these."""

    branch: str | None
    tag: str | None = None
    snapshot: str | None = None

    def __str__(self) -> str:
        return next(f"{kind} {name!r}" for kind, name in self._asdict().items() if name is not None)


class Place:
    """Where a repository is, or is going to be.

    Args:
        url: the place, without options.
        options: those of its storage, which are not `None`.
        virtual: where chunks outside the repository may be read, with credentials.
    """

    def __init__(self, url: str, options: Mapping[str, Any], virtual: Mapping[str, Any] | None) -> None:
        self.url = url
        self.location = location_of(url)
        self._options = options
        self._virtual = virtual or {}

    def find(self) -> Any:
        """The repository that is there; `None` where there is none. Nothing is created."""
        location = self.location
        if location.scheme == "file" and not os.path.isdir(location.prefix):  # noqa: PTH112
            return None  # a storage of icechunk 1 would create the folder
        try:
            return library().Repository.open(self._storage(), **self._authorized())
        except Exception as error:
            if is_missing_repository(error):
                return None
            raise

    def make(self) -> Any:
        """The repository that is there, created if need be; of several who do so at once, all get the same one."""
        if self.location.scheme == "file":
            os.makedirs(self.location.prefix, exist_ok=True)  # noqa: PTH103
        with self.locked():
            found = self.find()
            if found is not None:
                return found
            try:
                return library().Repository.create(self._storage(), **self._authorized())
            except Exception:
                found = self.find()  # somebody else was faster
                if found is None:
                    raise
                return found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A block that only one of those who commit to a folder enters at a time: icechunk itself does not notice two at once.

        The folder itself is locked: no file is made for it. Elsewhere the storage writes on a condition.
        """
        if self.location.scheme != "file" or os.name != "posix":
            yield
            return
        import fcntl

        folder = os.open(self.location.prefix, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(OSError):  # of a file system that does not lock folders
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _authorized(self) -> dict[str, Any]:
        if not self._virtual:
            return {}
        credentials = {prefix: _credentials(prefix, given) for prefix, given in self._virtual.items()}
        return {"authorize_virtual_chunk_access": library().containers_credentials(credentials)}

    def _storage(self) -> Any:
        icechunk, (scheme, container, prefix, account) = library(), self.location
        options = dict(self._options)
        if scheme == "memory" and prefix in _inherited:
            raise UnsupportedError(
                f"the repository in memory {prefix!r} is that of the process from which this one was forked"
            )
        if scheme == "memory":
            if prefix not in _memories:
                _memories.setdefault(prefix, icechunk.in_memory_storage())
            return _memories[prefix]
        if scheme == "file":
            return icechunk.local_filesystem_storage(prefix)
        if scheme in {"http", "https"}:
            if not hasattr(icechunk, "http_storage"):
                raise UnsupportedError(
                    "icechunk reads repositories behind web servers from 2.0 on (Python 3.12); "
                    f"{icechunk.__version__} is installed"
                )
            headers = options.pop("headers", None)
            return icechunk.http_storage(self.url, opts=_texts(options), headers=headers)
        try:
            if scheme in {"s3", "s3a"}:
                return icechunk.s3_storage(bucket=container, prefix=prefix, **_s3(options))
            if scheme in {"gs", "gcs"}:
                return icechunk.gcs_storage(bucket=container, prefix=prefix, **_gcs(options))
            return icechunk.azure_storage(container=container, prefix=prefix, **_azure(account, options))
        except TypeError as error:
            raise ConfigurationError(
                f"{redact_url(self.url)!r} and its options do not fit together: {error}"
            ) from None


def _leave_parent() -> None:
    _inherited.update(_memories)
    _memories.clear()


at_forks(in_child=_leave_parent)


def _s3(options: dict[str, Any]) -> dict[str, Any]:
    names = {
        "key": "access_key_id",
        "secret": "secret_access_key",
        "token": "session_token",
        "anon": "anonymous",
    }
    found = {names.get(name, name): value for name, value in options.items()}
    server = (
        found.get("endpoint_url")
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
    )
    if server:
        found = {
            "endpoint_url": server,
            "allow_http": server.startswith("http://"),
            "force_path_style": True,
            "region": "us-east-1",
            **found,
        }
    if not {"access_key_id", "anonymous"} & {*found}:
        found["from_env"] = True
    return found


def _gcs(options: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    token, server = options.pop("token", None), options.pop("endpoint_url", None)
    if options.pop("anon", False) or token == "anon":  # noqa: S105 - as gcsfs spells it
        found["anonymous"] = True
    elif token is not None:
        found["application_credentials"] = token
    else:
        found["from_env"] = True
    if server:
        options["base_url"] = server
    return {**found, "config": _texts(options)} if options else found


def _azure(account: str, options: dict[str, Any]) -> dict[str, Any]:
    names = {"account_name": "account", "account_key": "access_key", "anon": "anonymous"}
    found = {names.get(name, name): value for name, value in options.items()}
    server = found.pop("endpoint_url", None)
    found.setdefault("account", account or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", ""))
    own = {name: found.pop(name) for name in [*found] if name not in _AZURE}
    if server:
        own["endpoint"] = server
        own.setdefault("allow_http", str(server.startswith("http://")).lower())
    if not {"access_key", "sas_token", "bearer_token", "anonymous"} & {*found}:
        found["from_env"] = True
    return {**found, "config": _texts(own)} if own else found


_AZURE = {"account", "access_key", "sas_token", "bearer_token", "anonymous"}


def _texts(options: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in options.items()
    }


def _credentials(prefix: str, given: Any) -> Any:
    """The credentials for chunks at a place: an object of icechunk as it is, or made of `"anon"` or `"env"`."""
    if given not in (None, "anon", "env"):
        return given
    module = library().credentials
    scheme = prefix.partition("://")[0]
    if scheme in {"s3", "s3a", "tigris"}:
        return module.s3_anonymous_credentials() if given == "anon" else module.s3_from_env_credentials()
    if scheme in {"gs", "gcs"}:
        if given == "anon":
            return library().GcsCredentials.Anonymous()
        return module.gcs_from_env_credentials()
    if scheme in {"az", "azure", "abfs"}:
        return module.azure_from_env_credentials()
    name = {"file": "LocalFileSystemAccess", "http": "HttpAccess", "https": "HttpAccess"}.get(scheme, "")
    return getattr(module, name, None)  # icechunk 1 has none of these: no credentials are needed
