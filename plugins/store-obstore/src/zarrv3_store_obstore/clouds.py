"""From options to an object store of obstore.

Options have the names that fsspec's file systems give them, so that a URL means the same to both; whatever else
object_store knows can be given by the name it has there. What is not given is looked up where the cloud's own programs do.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import Request, urlopen

from zarrv3.errors import ConfigurationError
from zarrv3.options.declared import unknown_option
from zarrv3.options.redaction import redact_url
from zarrv3_store_obstore.failures import is_kind
from zarrv3_store_obstore.library import library, store_class
from zarrv3_store_obstore.profiles import from_profile

Config = dict[str, Any]
"""Options by object_store's names; `endpoint` is the server that is used instead of the provider's own."""

_ANY = {"headers": "headers", "anon": "skip_signature", "endpoint_url": "endpoint"}
_S3 = {
    **_ANY,
    "key": "access_key_id",
    "secret": "secret_access_key",
    "token": "session_token",
    "region": "region",
    "requester_pays": "request_payer",
    "profile": "profile",
}
_GCS = {**_ANY, "token": "application_credentials"}
_AZURE = {
    **_ANY,
    "account_name": "account_name",
    "account_key": "account_key",
    "sas_token": "sas_key",
    "connection_string": "connection_string",
}

ELSEWHERE = {"cache", "browser"}
"""Values of `token` by which gcsfs asks the user to log in."""

AMAZON = "https://s3.amazonaws.com"
"""Who is asked for the region of a bucket."""


class Cloud(NamedTuple):
    """What is particular to one kind of object store."""

    cls: str
    """obstore's class."""
    names: Mapping[str, str]
    """Those of our options that make sense here, under the names that object_store has for them."""
    complete: Callable[[Place, Config], Config]
    """Adds what the environment and files have."""
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


def _first(*variables: str) -> str | None:
    """What the first of some environment variables says that is set."""
    return next((os.environ[name] for name in variables if os.environ.get(name)), None)


def s3(_: Place, config: Config) -> Config:
    """Options, then the environment, then the files of the AWS command line."""
    profile = config.pop("profile", None)
    is_given = config.get("skip_signature") or "access_key_id" in config
    found = {**from_profile(profile, credentials=not is_given), **config}
    server = _first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    region = _first("AWS_REGION", "AWS_DEFAULT_REGION")
    if server and "endpoint" not in config:
        found["endpoint"] = server
    if region and "region" not in config:
        found["region"] = region
    if "access_key_id" in found and "session_token" not in found and _first("AWS_SESSION_TOKEN", "AWS_TOKEN"):
        keys = {name: found.pop(name, "") for name in ("access_key_id", "secret_access_key")}
        found["credential_provider"] = lambda: {
            **keys,
            "token": None,
            "expires_at": None,
        }  # not those of somebody else
    return found


def gcs(_: Place, config: Config) -> Config:
    """Options, then the environment; object_store finds credentials itself, those of `gcloud` too."""
    server = config.get("endpoint") or _first("GOOGLE_BASE_URL", "STORAGE_EMULATOR_HOST")
    token = config.pop("application_credentials", None)
    found = {**config, "endpoint": server} if server else {**config}
    if token == "anon":  # noqa: S105 - as gcsfs spells it
        found["skip_signature"] = True
    elif token and token not in {"google_default", "cloud"}:
        found["application_credentials"] = token
    return found


def azure(place: Place, config: Config) -> Config:
    """Options and the URL, then the environment, by the names that `az` and adlfs have too."""
    found: Config = {}
    if place.account:
        found["account_name"] = place.account
        if not place.host.endswith(".core.windows.net"):  # a cloud of its own
            found["endpoint"] = f"https://{place.host.replace('.dfs.', '.blob.', 1)}"
    text = config.pop("connection_string", None)
    named = {"account_name", "account_key", "sas_key", "skip_signature"} & {*found, *config}
    if not text and not named:
        text = _first("AZURE_STORAGE_CONNECTION_STRING")
    if text:
        found |= _connection(text)
    for name, own, others in (
        ("account_name", "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"),
        ("account_key", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"),
        ("endpoint", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
    ):
        is_other = name == "account_key" and (text or "skip_signature" in config)
        if name not in found and not is_other and (value := _first(own, others)):
            found[name] = value
    found |= config
    if sas := found.pop("sas_key", None):  # a key that the environment has would go before it
        found["credential_provider"] = lambda: {"sas_token": sas, "expires_at": None}
    return found


def web(_: Place, config: Config) -> Config:
    """Options only."""
    return config


CLOUDS: Mapping[str, Cloud] = {
    **dict.fromkeys(
        ("s3", "s3a"), Cloud("S3Store", _S3, s3, (".amazonaws.com", ".amazonaws.com.cn"), bulk=True)
    ),
    **dict.fromkeys(("gs", "gcs"), Cloud("GCSStore", _GCS, gcs, (".googleapis.com",))),
    **dict.fromkeys(
        ("az", "abfs", "abfss"),
        Cloud(
            "AzureStore",
            _AZURE,
            azure,
            (".windows.net", ".azure.com", ".chinacloudapi.cn"),
            # Azure makes a slash of a backslash, and may drop dots at the end of a part
            re.compile(r"[\x00-\x1f\x7f\\]|\.(?=/|$)"),
            suffixes=False,
        ),
    ),
    **dict.fromkeys(
        ("http", "https"), Cloud("HTTPStore", {"headers": "headers"}, web, lists=False, writes=False)
    ),
}


class Place(NamedTuple):
    """Where a URL points to."""

    scheme: str
    container: str
    """The bucket or container; of a web address the host."""
    prefix: str
    """What stands before every key: `""`, or it does not end in `/`."""
    account: str = ""
    """Azure's storage account, where the URL says it."""
    host: str = ""
    """Its host, where the URL says it."""


def place_of(url: str) -> Place:
    """Where a URL without options points to; `ConfigurationError` for one that is not ours."""
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
        return Place(parts.scheme, container, prefix, host.partition(".")[0], host)
    return Place(parts.scheme, parts.netloc, prefix)


class Target(NamedTuple):
    """Where requests go, and as whom: what options, environment and files say together."""

    place: Place
    config: Config

    @property
    def cloud(self) -> Cloud:
        """What is particular there."""
        return CLOUDS[self.place.scheme]

    @property
    def is_the_providers(self) -> bool:
        """Whether objects lie at the provider itself, whose storage is known to write on a condition."""
        server = self.config.get("endpoint")
        hosts = self.cloud.hosts
        return bool(hosts) and (server is None or f".{urlsplit(server).hostname}".endswith(hosts))


def target(url: str, options: Mapping[str, Any]) -> Target:
    """Where a URL points to with these options; those that are `None` count as not given. Nothing is sent."""
    place = place_of(url)
    cloud = CLOUDS[place.scheme]
    config = {cloud.names.get(name, name): value for name, value in options.items() if value is not None}
    return Target(place, cloud.complete(place, config))


def check(url: str, options: Mapping[str, Any], others: Mapping[str, Any], ours: Iterable[str]) -> None:
    """Raise `ConfigurationError` for an option that says nothing there.

    Args:
        url: the place.
        options: those of our options that go to the cloud, if they are given.
        others: options that are not ours; object_store may know them.
        ours: the names of our options that make sense everywhere.
    """
    scheme = urlsplit(url).scheme
    cloud = CLOUDS[scheme]
    unknown = [name for name in options if name not in cloud.names]
    if others and not unknown:
        obstore = library()
        unknown = [name for name in others if not _knows(obstore, cloud, name)]
    if unknown:
        raise unknown_option(scheme, unknown[0], [*cloud.names, *ours], "URL option")
    if scheme in {"gs", "gcs"} and options.get("token") in ELSEWHERE:
        raise ConfigurationError(
            f"'obstore' cannot log in as token={options['token']} says; use fsspec+gs://"
        )


def _knows(obstore: Any, cloud: Cloud, name: str) -> bool:
    """Whether object_store has an option: it is asked with a value that may be wrong."""
    if cloud.cls == "HTTPStore":
        return False
    try:
        store_class(obstore, cloud.cls)("name", **{name: "1"})
    except Exception as error:  # noqa: BLE001 - whatever it has against the value
        return not is_kind(error, "UnknownConfigurationKeyError")
    return True


def make(library: Any, url: str, destination: Target, *, times: Mapping[str, float], repeat: bool) -> Any:
    """An object store of obstore.

    Args:
        library: obstore of this process.
        url: the place, without options.
        destination: where requests go, and as whom.
        times: `connect_timeout`, `read_timeout` in seconds, and `retries`.
        repeat: whether requests that fail for a reason that may pass are sent again.
    """
    place, cloud, config = destination.place, destination.cloud, {**destination.config}
    client: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=times["connect_timeout"]),
        "read_timeout": timedelta(seconds=times["read_timeout"]),
        "timeout": timedelta(days=1),  # a large value may take its time, as long as bytes arrive
    }
    if headers := config.pop("headers", None):
        client["default_headers"] = dict(headers)
    retry = {
        "max_retries": int(times["retries"]) if repeat else 0,
        "retry_timeout": timedelta(seconds=10 * times["read_timeout"]),
        "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2},
    }
    if place.scheme == "http" or str(config.get("endpoint", "")).startswith("http://"):
        client["allow_http"] = True
    if cloud.cls == "GCSStore":
        config = _google(config)
    common = {"client_options": client, "retry_config": retry}
    try:
        if cloud.cls == "HTTPStore":
            return store_class(library, cloud.cls)(url, **common)
        return store_class(library, cloud.cls)(
            place.container, prefix=place.prefix or None, **common, **config
        )
    except Exception as error:
        if is_kind(error, "UnknownConfigurationKeyError", "GenericError", "TypeError", "ValueError"):
            text = str(error).partition("\n\nDebug source")[0]
            raise ConfigurationError(
                f"{redact_url(url)!r} and its options do not fit together: {text}"
            ) from None
        raise


def located(destination: Target, seconds: float) -> Target:
    """With the region of the bucket: Amazon is asked, where nobody says it; other servers mostly do not care."""
    place, config = destination.place, destination.config
    if destination.cloud.cls != "S3Store" or "region" in config:
        return destination
    region = None if config.get("endpoint") else region_of(place.container, seconds)
    return destination._replace(config={**config, "region": region or "us-east-1"})


def region_of(bucket: str, seconds: float) -> str | None:
    """The region of a bucket, which Amazon tells everybody; `None` where it cannot be asked."""
    asked = Request(f"{AMAZON}/{quote(bucket, safe='')}", method="HEAD")  # noqa: S310 - the address is ours
    try:
        with urlopen(asked, timeout=seconds) as answer:  # noqa: S310
            headers = answer.headers
    except HTTPError as error:  # whose bucket it is does not matter
        with error:
            headers = error.headers
    except OSError:
        return None
    found: str | None = headers.get("x-amz-bucket-region")
    return found


def _google(config: Config) -> Config:
    """The options by the names that object_store has for Google's storage."""
    server = config.pop("endpoint", None)
    if server and config.pop(
        "skip_signature", False
    ):  # the one way to write without credentials, as to an emulator
        nobody = {"client_email": "", "private_key": "", "private_key_id": "", "disable_oauth": True}
        return {**config, "service_account_key": json.dumps({**nobody, "gcs_base_url": server})}
    return {**config, "base_url": server} if server else config


def _connection(text: str) -> Config:
    """The options in one of Azure's connection strings: `AccountName=…;AccountKey=…;BlobEndpoint=…`."""
    names = {
        "AccountName": "account_name",
        "AccountKey": "account_key",
        "SharedAccessSignature": "sas_key",
        "BlobEndpoint": "endpoint",
    }
    pairs = {name: value for name, _, value in (pair.partition("=") for pair in text.split(";")) if name}
    found = {names[name]: value for name, value in pairs.items() if name in names}
    if pairs.get("UseDevelopmentStorage", "").lower() == "true":
        return {**found, "use_emulator": True, "endpoint": "http://127.0.0.1:10000/devstoreaccount1"}
    suffix = pairs.get("EndpointSuffix", "core.windows.net")
    if "endpoint" not in found and "account_name" in found and suffix != "core.windows.net":
        protocol = pairs.get("DefaultEndpointsProtocol", "https")
        found["endpoint"] = f"{protocol}://{found['account_name']}.blob.{suffix}"
    return found
