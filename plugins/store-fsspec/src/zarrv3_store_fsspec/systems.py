"""From options to a file system: packages, time-outs, copies after a fork or for an asynchronous owner."""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import unquote, unquote_plus

import fsspec  # type: ignore[import-untyped]
from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem  # type: ignore[import-untyped]
from fsspec.config import apply_config  # type: ignore[import-untyped]
from fsspec.core import split_protocol, url_to_fs  # type: ignore[import-untyped]
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper  # type: ignore[import-untyped]
from fsspec.implementations.dirfs import DirFileSystem  # type: ignore[import-untyped]

from zarrv3.errors import ConfigurationError
from zarrv3.options.declared import unknown_option
from zarrv3.options.environment import Template, as_templates
from zarrv3.options.redaction import SECRET_NAME, redact
from zarrv3.options.urls import boolean

CONNECT = 5
"""Seconds for one attempt to connect to S3; botocore makes `ATTEMPTS`, so that an unreachable server costs ten."""
ATTEMPTS = 2
"""How often botocore tries; when no answer comes, s3fs repeats that as often."""
PATIENCE = 10
"""Seconds to connect to other servers."""
ANSWER = 30
"""Seconds to wait for bytes."""

_UNLISTED = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "ftp"}
"""Protocols whose file systems can be told not to remember listings."""

_OF_S3 = {
    "region": ("client_kwargs", "region_name"),
    "connect_timeout": ("config_kwargs", "connect_timeout"),
    "read_timeout": ("config_kwargs", "read_timeout"),
}
"""Options by which region and time-outs are given as for `zarrv3-store-obstore`, and where s3fs has them."""

_TEXTS = re.compile(r"user|name|account|project|_id$", re.IGNORECASE)  # text, though it may consist of digits

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, "null": None}
_WORDS |= {word.title(): value for word, value in _WORDS.items()}
"""What is meant for an option whose type nobody says."""

_LIVE = {
    "asynchronous",
    "loop",
    "fs",
    "session",
    "get_client",
    "sock",
    "pkey",
    "transport_factory",
    "auth_strategy",
}
"""Options that take objects of this process, which no URL can hold."""

_READ_ONLY = {
    "http",
    "https",
    "ftp",
    "github",
    "git",
    "data",
    "reference",
    "libarchive",
    "tar",
    "zip",
    "generic",
}
"""Protocols that are only read: they cannot be written, or not value by value."""

_OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"}
"""Protocols of object stores, which may move objects in their own way too."""

_TIMED = {"ftp", "sftp", "ssh"}
"""Protocols that take the seconds to wait for a server as `timeout`."""

_LOGINS = {"ftp", "sftp", "ssh", "smb", "webhdfs", "hdfs"}
"""Protocols whose URLs have a user and a password."""


def protocol_of(fs: Any) -> str:
    """The first name of a file system."""
    protocol = fs.protocol
    return str(protocol if isinstance(protocol, str) else protocol[0])


def is_read_only(fs: Any) -> bool:
    """Whether a file system is only read, as a cache of another one is: its copies may be older than what is written."""
    return protocol_of(fs) in _READ_ONLY or isinstance(getattr(fs, "fs", None), AbstractFileSystem)


def is_object_store(fs: Any) -> bool:
    """Whether objects are replaced at once: so in the asynchronous file systems, unless they can move files as SSH does."""
    is_async = isinstance(fs, AsyncFileSystem) and fs.async_impl
    return is_async and (protocol_of(fs) in _OBJECTS or not is_movable(fs))


def is_movable(fs: Any) -> bool:
    """Whether a file system moves files itself: fsspec's own way is to copy and erase."""
    return any(
        getattr(type(fs), name, None) is not getattr(AbstractFileSystem, name, None)
        for name in ("mv", "mv_file")
    )


def unwrapped(fs: Any, path: str) -> tuple[Any, str]:
    """The file system and path below wrappers that keep nothing: a folder as the root, coroutines around plain calls."""
    while isinstance(fs, DirFileSystem | AsyncFileSystemWrapper):
        fs, path = (
            (fs.fs, "/".join(filter(None, (fs.path, path))))
            if isinstance(fs, DirFileSystem)
            else (fs.sync_fs, path)
        )
    return fs, path


def opened(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """The file system of a URL and the path in it."""
    protocol = "" if "::" in url else split_protocol(url)[0] or ""
    place = options.get("fo") if protocol == "reference" else None
    where = repr(redact(place if isinstance(place, str) else url))
    try:
        if protocol:
            options = configured(protocol, options)
            options = _spelled(protocol, options)
            options = {**options, **_defaults(protocol, options)}
        if protocol in _LOGINS:
            url, login = _login(protocol, url)
            options = {**login, **options}
        fs, path = url_to_fs(url, **options)
    except ImportError as error:
        raise ConfigurationError(f"{where} needs a package that is not installed: {error}") from error
    except AttributeError as error:
        if place is None:
            raise
        raise ConfigurationError(f"{where} does not hold references: {redact(str(error))}") from error
    except ValueError as error:
        raise ConfigurationError(f"{where}: {redact(str(error))}") from None
    except KeyError as error:  # fsspec looks at each group of a table as if it were an array
        raise ConfigurationError(
            f"{where}: no {error} among the references; say where they lead to by remote_protocol=file, s3 or https"
        ) from None
    except TypeError as error:
        raise ConfigurationError(
            f"{where} and its options do not fit together: {redact(str(error))}"
        ) from None
    if protocol in {"s3", "s3a"}:
        fs.retries = ATTEMPTS
    return fs, path


def configured(protocol: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The given options, and those of fsspec's own configuration."""
    found: Mapping[str, Any] = apply_config(fsspec.get_filesystem_class(protocol), options)
    return found


def _spelled(protocol: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as s3fs has them, of S3: those that `zarrv3-store-obstore` has by name are put into the mapping that has them."""
    found = dict(options)
    for name, (mapping, its) in _OF_S3.items() if protocol in {"s3", "s3a"} else ():
        if name in found:
            found[mapping] = {its: found.pop(name), **(found.get(mapping) or {})}
    return found


def _login(protocol: str, url: str) -> tuple[str, dict[str, str]]:
    """A URL without user and password, and these as options: fsspec would leave their percent signs as they are."""
    given = fsspec.get_filesystem_class(protocol)._get_kwargs_from_urls(url)
    login = {name: unquote(given[name]) for name in ("username", "user", "password") if given.get(name)}
    return re.sub("//[^/]*@", "//", url, count=1), login


def again(fs: Any, owner: int) -> Any:
    """A file system given by the user, or a copy where it cannot be used as it is.

    That is so after a fork, where its connections belong to the process `owner`, and when it was made for
    another event loop.
    """
    if owner == os.getpid() and not getattr(fs, "asynchronous", False):
        return fs
    options = {**fs.storage_options, "skip_instance_cache": True}
    if getattr(fs, "async_impl", False):
        options |= {"asynchronous": False, "loop": None}
    return type(fs)(*fs.storage_args, **options)


def time_outs(protocol: str, options: Mapping[str, Any]) -> str:
    """What an error says about the time-outs in force."""
    if protocol in {"s3", "s3a"}:
        config = _s3_config(options)
        return (
            f" (time-outs: connect_timeout={config['connect_timeout']} s, read_timeout={config['read_timeout']} s, "
            f"{ATTEMPTS * ATTEMPTS} attempts; option config_kwargs)"
        )
    if protocol in {"http", "https"} and "timeout" not in options.get("client_kwargs", {}):
        return f" (time-outs: {PATIENCE} s to connect, {ANSWER} s to answer; option client_kwargs={{'timeout': …}})"
    if protocol in _TIMED:
        return f" (time-out: {options.get('timeout', PATIENCE)} s; option timeout)"
    return ""


def from_text(url: str, query: Mapping[str, str], ours: Iterable[str] = ()) -> dict[str, Any]:
    """The options of a file system in a URL, as values: of the type of its default, else JSON where it is JSON, else text.

    In a chained URL, those of the file systems behind the first one are JSON under their names, `s3={"anon":true}`.
    Raises `ConfigurationError` for one that the file system does not have, with those of its own and of `ours` that look
    like it.
    """
    if not query:
        return {}
    protocol, *behind = (split_protocol(part)[0] or part for part in url.split("::"))
    known = {**options_of(protocol), **{name: _plain(name) for name in behind}}
    unknown = sorted(set(query) - set(known))
    if unknown:
        raise unknown_option(protocol, unknown[0], [*known, *ours], "URL option")
    return {name: _value(known[name], text) for name, text in query.items()}


def address_query(protocol: str, query: str, ours: Collection[str]) -> str:
    """What belongs to the address of each file among the options of a web URL: what neither we nor fsspec know."""
    known = {*ours, *options_of(protocol)}
    return "&".join(pair for pair in query.split("&") if unquote_plus(pair.partition("=")[0]) not in known)


def options_of(protocol: str) -> dict[str, inspect.Parameter]:
    """The options of a file system: its own, and those that it passes on to the classes above it or to its library."""
    try:
        classes = fsspec.get_filesystem_class(protocol).__mro__
    except ImportError as error:
        raise ConfigurationError(f"{protocol}:// needs a package that is not installed: {error}") from error
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    constructors = [vars(cls)["__init__"] for cls in classes if "__init__" in vars(cls)]
    if protocol in {"sftp", "ssh"}:
        from paramiko import SSHClient  # type: ignore[import-untyped,unused-ignore]

        constructors.append(SSHClient.connect)
    found = {name: _plain(name) for name in (["headers"] if protocol in {"http", "https"} else [])}
    for constructor in constructors:
        parameters = [*inspect.signature(constructor).parameters.values()][1:]
        named = {p.name: p for p in parameters if p.kind in {p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY}}
        found = {**found, **named, **found}
        if len(named) == len(parameters):  # it passes nothing on
            break
    if protocol in {"s3", "s3a"}:
        found |= {name: _plain(name) for name in _OF_S3}
    return {name: found[name] for name in found if name not in _LIVE}


def _plain(name: str) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY)


def _value(option: inspect.Parameter, text: str) -> Any:
    kept = as_templates(text)
    if (
        isinstance(kept, Template)
        or isinstance(option.default, str)
        or _TEXTS.search(option.name)
        or re.search(SECRET_NAME, option.name)
    ):
        return kept
    if isinstance(option.default, bool) or "bool" in str(option.annotation):
        return boolean(text)
    if text in _WORDS or text[:1] in {"{", "["}:
        try:
            return _WORDS[text] if text in _WORDS else json.loads(text)
        except ValueError as error:
            raise ConfigurationError(f"{redact(text)!r} is not JSON: {error}") from None
    if "timeout" in option.name and re.fullmatch(r"[0-9]*\.[0-9]+", text):
        return float(text)
    return int(text) if re.fullmatch("0|[1-9][0-9]*", text) else text


def _defaults(protocol: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults beyond the given options; options that are dicts are added to."""
    defaults: dict[str, Any] = {}
    if protocol in _UNLISTED:
        defaults["use_listings_cache"] = False
    if protocol in {"s3", "s3a"}:
        defaults["config_kwargs"] = _s3_config(options)
        if options.get("requester_pays"):  # s3fs says so in some requests only
            payer = {"RequestPayer": "requester"}
            defaults["s3_additional_kwargs"] = {**payer, **(options.get("s3_additional_kwargs") or {})}
    elif protocol in {"http", "https"}:
        from aiohttp import ClientTimeout

        limit = ClientTimeout(total=None, sock_connect=PATIENCE, sock_read=ANSWER)
        defaults["client_kwargs"] = {"timeout": limit, **options.get("client_kwargs", {})}
    elif protocol in _TIMED:
        defaults["timeout"] = options.get("timeout", PATIENCE)
    return defaults


def _s3_config(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "connect_timeout": CONNECT,
        "read_timeout": ANSWER,
        "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
        "max_pool_connections": 64,
        **options.get("config_kwargs", {}),
    }
