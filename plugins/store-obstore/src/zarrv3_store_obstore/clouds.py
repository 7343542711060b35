"""From options to an object store of obstore.

Options have the names that fsspec's file systems give them, so that a URL means the same to both; whatever else
object_store knows can be given by the name it has there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from zarrv3.errors import ConfigurationError
from zarrv3.options.redaction import redact_url
from zarrv3_store_obstore.failures import is_kind
from zarrv3_store_obstore.library import store_class

_S3 = {
    "key": "access_key_id",
    "secret": "secret_access_key",
    "token": "session_token",
    "anon": "skip_signature",
    "endpoint_url": "endpoint",
    "requester_pays": "request_payer",
}
_GCS = {"token": "application_credentials", "anon": "skip_signature", "endpoint_url": "base_url"}
_AZURE = {
    "sas_token": "sas_key",
    "anon": "skip_signature",
    "endpoint_url": "endpoint",
}


class Cloud(NamedTuple):
    """What is particular to one kind of object store."""

    cls: str
    """obstore's class."""
    names: Mapping[str, str]
    """Our options under the names that object_store has for them."""
    hosts: tuple[str, ...] = ()
    """How the provider's own hosts end; these are known to write on a condition."""
    unfit: re.Pattern[str] = re.compile(r"[\x00-\x1f\x7f]")
    """What no name can have: object_store refuses control characters."""
    suffixes: bool = True
    """Whether it can be asked for the last bytes of an object."""
    bulk: bool = False
    """Whether it erases many objects with one request, also such as do not exist."""
    lists: bool = True
    writes: bool = True


CLOUDS: Mapping[str, Cloud] = {
    **dict.fromkeys(("s3", "s3a"), Cloud("S3Store", _S3, (".amazonaws.com", ".amazonaws.com.cn"), bulk=True)),
    **dict.fromkeys(("gs", "gcs"), Cloud("GCSStore", _GCS, (".googleapis.com",))),
    **dict.fromkeys(
        ("az", "abfs", "abfss"),
        Cloud(
            "AzureStore",
            _AZURE,
            (".windows.net", ".azure.com", ".chinacloudapi.cn"),
            # Azure makes a slash of a backslash, and may drop dots at the end of a part
            re.compile(r"[\x00-\x1f\x7f\\]|\.(?=/|$)"),
            suffixes=False,
        ),
    ),
    **dict.fromkeys(("http", "https"), Cloud("HTTPStore", {}, lists=False, writes=False)),
}

ENDPOINTS = {
    "S3Store": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "GCSStore": ("GOOGLE_BASE_URL", "STORAGE_EMULATOR_HOST"),
    "AzureStore": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
"""Variables by which object_store is told of another server."""


class Place(NamedTuple):
    """Where a URL points to."""

    scheme: str
    container: str
    """The bucket or container; of a web address the host."""
    prefix: str
    """What stands before every key: `""`, or it does not end in `/`."""
    account: str = ""
    """Azure's storage account, where the URL says it."""


def place_of(url: str) -> Place:
    """Where a URL without options points to; `ConfigurationError` for one that is none of ours."""
    parts = urlsplit(url)
    if parts.scheme not in CLOUDS:
        known = ", ".join(f"{scheme}://" for scheme in CLOUDS)
        raise ConfigurationError(f"{redact_url(url)!r}: obstore opens {known}, not {parts.scheme or 'this'}")
    prefix = unquote(parts.path).strip("/")
    if not parts.netloc:
        what = "host" if parts.scheme in {"http", "https"} else "bucket or container"
        raise ConfigurationError(
            f"{redact_url(url)!r} lacks the name of a {what}: {parts.scheme}://name/path"
        )
    container, at, host = parts.netloc.rpartition("@")
    if at and parts.scheme in {"az", "abfs", "abfss"}:
        return Place(parts.scheme, container, prefix, host.partition(".")[0])
    return Place(parts.scheme, parts.netloc, prefix)


def endpoint(place: Place, options: Mapping[str, Any]) -> str | None:
    """The server that is used instead of the provider's own, as options and environment have it."""
    return options.get("endpoint_url") or _from_environment(CLOUDS[place.scheme].cls)


def _from_environment(cls: str) -> str | None:
    return next((os.environ[name] for name in ENDPOINTS.get(cls, ()) if os.environ.get(name)), None)


def writes_on_condition(place: Place, options: Mapping[str, Any]) -> bool:
    """Whether objects lie at the provider itself, whose storage is known to write on a condition."""
    server = endpoint(place, options)
    hosts = CLOUDS[place.scheme].hosts
    return bool(hosts) and (server is None or f".{urlsplit(server).hostname}".endswith(hosts))


def make(
    library: Any, url: str, options: Mapping[str, Any], *, times: Mapping[str, float], repeat: bool
) -> Any:
    """An object store of obstore. Nothing is sent.

    Args:
        library: obstore of this process.
        url: the place, without options.
        options: ours, and object_store's own; those that are `None` count as not given.
        times: `connect_timeout`, `read_timeout` in seconds, and `retries`.
        repeat: whether requests that fail for a reason that may pass are sent again.
    """
    place = place_of(url)
    cloud = CLOUDS[place.scheme]
    given = {name: value for name, value in options.items() if value is not None}
    client: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=times["connect_timeout"]),
        "read_timeout": timedelta(seconds=times["read_timeout"]),
        "timeout": timedelta(days=1),  # a large value may take its time, as long as bytes arrive
    }
    if headers := given.pop("headers", None):
        client["default_headers"] = dict(headers)
    retry = {
        "max_retries": int(times["retries"]) if repeat else 0,
        "retry_timeout": timedelta(seconds=10 * times["read_timeout"]),
        "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2},
    }
    server = endpoint(place, given)
    if place.scheme == "http" or (server or "").startswith("http://"):
        client["allow_http"] = True
    config = {cloud.names.get(name, name): value for name, value in given.items()}
    common = {"client_options": client, "retry_config": retry}
    try:
        if cloud.cls == "HTTPStore":
            return store_class(library, cloud.cls)(url, **common, **config)
        own = {"S3Store": _s3, "GCSStore": _gcs, "AzureStore": _azure}[cloud.cls](place, config)
        return store_class(library, cloud.cls)(place.container, prefix=place.prefix or None, **common, **own)
    except Exception as error:
        if is_kind(error, "UnknownConfigurationKeyError", "GenericError", "TypeError", "ValueError"):
            text = str(error).partition("\n\nDebug source")[0]
            raise ConfigurationError(
                f"{redact_url(url)!r} and its options do not fit together: {text}"
            ) from None
        raise


def _s3(_: Place, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        **config,
    }


def _gcs(_: Place, config: dict[str, Any]) -> dict[str, Any]:
    if config.get("application_credentials") == "anon":  # as gcsfs spells it
        del config["application_credentials"]
        config["skip_signature"] = True
    server = config.pop("base_url", None) or _from_environment("GCSStore")
    if server and config.pop(
        "skip_signature", False
    ):  # the one way to write without credentials, as to an emulator
        nobody = {"client_email": "", "private_key": "", "private_key_id": "", "disable_oauth": True}
        return {**config, "service_account_key": json.dumps({**nobody, "gcs_base_url": server})}
    return {**config, "base_url": server} if server else config


def _azure(place: Place, config: dict[str, Any]) -> dict[str, Any]:
    text = config.pop("connection_string", None)
    if text:
        config = {**_connection(text), **config}
    return {"account_name": place.account, **config} if place.account else config


def _connection(text: str) -> dict[str, str]:
    """The options in one of Azure's connection strings: `AccountName=…;AccountKey=…;BlobEndpoint=…`."""
    names = {
        "AccountName": "account_name",
        "AccountKey": "account_key",
        "SharedAccessSignature": "sas_key",
        "BlobEndpoint": "endpoint",
    }
    pairs = (pair.partition("=") for pair in text.split(";") if pair)
    return {names[name]: value for name, _, value in pairs if name in names}
