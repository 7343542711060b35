"""The pymongo client that the options of a store ask for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pymongo
from pymongo import MongoClient, common
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri, split_options

from zarrv3.errors import ConfigurationError
from zarrv3.options.declared import unknown_option
from zarrv3.options.environment import Template
from zarrv3.options.redaction import redact
from zarrv3.options.urls import parse_part

DEFAULTS: Mapping[str, Any] = {
    "serverSelectionTimeoutMS": 10_000,
    "connectTimeoutMS": 10_000,
    "socketTimeoutMS": 120_000,
    "appname": "zarrv3",
}
"""Defaults of our clients."""

SCHEMES = ("mongodb", "mongodb+srv")

_OURS = {"document_class", "type_registry", "datetime_conversion", "connect"}
_PLAIN = {"host", "port", "tz_aware"}
_VARIABLE = re.compile(r"\$\{[^}]*\}")
_DATABASE = re.compile(r'[^/\\. "$*<>:|?\0]{1,63}')
_COLLECTION = re.compile(r"(?!system\.)(?!\.)[^$\0]+(?<!\.)")


# ---------------------------------------------------------------- options


def check_options(url: str | None, client: object, options: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` for options that make no sense, alone or together."""
    if client is not None and (url is not None or options):
        raise ConfigurationError("a MongoDBStore has a client, or a URL and options to make one, not both")
    if url is not None and "host" in options:
        raise ConfigurationError("give url= or host=, not both")
    for name, value in options.items():
        _check_option(name, value)
    for text in (url, options.get("host")):
        if isinstance(text, str) and (text is url or "://" in text):
            _check_url(text)


def is_database(name: str) -> bool:
    """Whether MongoDB accepts text as the name of a database."""
    return bool(_DATABASE.fullmatch(name))


def is_collection(name: str) -> bool:
    """Whether MongoDB accepts text as the name of a collection."""
    return bool(_COLLECTION.fullmatch(name))


def database_of(url: str) -> str | None:
    """The database that a URL names, if any; it may be a template."""
    return parse_part(url).path.removeprefix("/") or None


def _check_option(name: str, value: Any) -> None:
    if name in _PLAIN or isinstance(value, Template):
        return
    if name in _OURS:
        raise ConfigurationError(f"{name!r} of MongoClient is set by the store, which needs it as it is")
    _check_name(name)
    try:
        common.validate(name, value)
    except (ValueError, TypeError, PyMongoError) as error:
        raise ConfigurationError(f"option {name!r} of 'mongodb': {redact(str(error))}") from None
    _check_acknowledged(name, value)


def _check_name(name: str) -> None:
    if name.lower() not in common.VALIDATORS:
        theirs = sorted(common.URI_OPTIONS_VALIDATOR_MAP)
        known = ["database", "collection", "dimension_separator", "url", "client", *theirs]
        raise unknown_option("mongodb", name, known)


def _check_url(text: str) -> None:
    url = parse_part(text)
    if url.scheme not in SCHEMES or not url.authority:
        raise ConfigurationError(
            f"{redact(text)!r} is not the URL of a MongoDB server; write mongodb://host:27017/database"
        )
    if own := url.query.keys() & {"database", "collection", "dimension_separator"}:
        raise ConfigurationError(f"url= is for pymongo; give {min(own)!r} as an argument of its own")
    if "@" in url.path:
        raise ConfigurationError(
            f"{redact(text)!r}: '/', '@', ':' and '%' in a user name or password are written %2F, %40, %3A and %25"
        )
    for name in url.query:
        _check_name(name)
    filled = _VARIABLE.sub("1", text)
    try:
        if url.scheme == "mongodb":
            parse_uri(filled)
        split_options(filled.partition("?")[2]) if url.query else None
    except (PyMongoError, ValueError, TypeError) as error:
        secrets = [part for part in re.split("[:@/]", url.authority) if len(part) > 2 and "$" not in part]
        says = str(error) if "option" in str(error).lower() else redact(str(error), secrets)
        raise ConfigurationError(f"{redact(text)!r}: {redact(says)}") from None
    for name, value in url.query.items():
        _check_acknowledged(name, value)


def _check_acknowledged(name: str, value: object) -> None:
    if name.lower() == "w" and str(value) == "0":
        raise ConfigurationError("a store needs its writes acknowledged: w=0 would lose them silently")


# ---------------------------------------------------------------- clients


def make_client(url: str | None, options: Mapping[str, Any]) -> MongoClient[dict[str, Any]]:
    """A client with our time-outs, unless the options have their own; it connects in the background."""
    given = {name.lower() for name in options}
    for text in (url, options.get("host")):
        if isinstance(text, str):
            given |= {name.lower() for name in re.findall(r"[?&]([^=&]+)=", text)}
    asked = {name: value for name, value in DEFAULTS.items() if name.lower() not in given}
    asked |= options
    try:
        return pymongo.MongoClient(asked.pop("host", url), **asked)
    except (TypeError, ValueError, pymongo.errors.InvalidURI) as error:
        raise ConfigurationError(
            f"no connection can be made with these options: {redact(str(error))}"
        ) from None
