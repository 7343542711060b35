"""What the AWS command line has in its files, read as Amazon's own libraries do; object_store knows the environment only."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from configparser import Error, RawConfigParser
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from zarrv3.errors import ConfigurationError

_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
_BEFORE = ("role_arn", "sso_session", "sso_start_url", "web_identity_token_file")
_AFTER = ("credential_process", "login_session")
"""The settings by which credentials are fetched: those that go before keys in the file, and those that come after."""
_ENVIRONMENT = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
"""Variables by which object_store finds credentials; they win over a profile that no option names."""
_TTL = timedelta(minutes=5)


def from_profile(name: str | None, *, credentials: bool) -> dict[str, Any]:
    """The options of object_store that a profile has: keys or a function that fetches them, region, server.

    Args:
        name: the profile's name; `None`: what `AWS_PROFILE` says, else `default`.
        credentials: whether keys are wanted; otherwise the files are asked for region and server only.
    """
    wanted = name or os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    profile = wanted or "default"
    keys = _read("AWS_SHARED_CREDENTIALS_FILE", "credentials").get(profile, {})
    file = _read("AWS_CONFIG_FILE", "config")
    settings = file.get("default" if profile == "default" else f"profile {profile}", {})
    if wanted and not keys and not settings:
        raise ConfigurationError(f"there is no profile {wanted!r} in the files of the AWS command line")
    found: dict[str, Any] = {}
    if region := settings.get("region"):
        found["region"] = region
    services = file.get(f"services {settings.get('services')}", {})
    endpoint = _nested(services.get("s3", "")).get("endpoint_url") or settings.get("endpoint_url")
    if endpoint and os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() != "true":
        found["endpoint"] = endpoint
    if credentials and (name or not any(os.environ.get(variable) for variable in _ENVIRONMENT)):
        found |= _credentials(profile, keys, settings)
    return found


def _credentials(profile: str, keys: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, Any]:
    both = {**settings, **keys}
    fetched = [word for word in (*_BEFORE, *_AFTER) if word in both]
    if any(word in both for word in _BEFORE) or (fetched and "aws_access_key_id" not in keys):
        return {"credential_provider": _provider(profile, fetched[0])}
    section = keys if "aws_access_key_id" in keys else settings
    return {ours: section[theirs] for theirs, ours in _KEYS.items() if theirs in section}


def _provider(profile: str, word: str) -> Callable[[], dict[str, Any]]:
    """A function that gives the credentials of a profile, fetched by botocore, which renews them too."""
    try:
        from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]
        from botocore.session import Session  # type: ignore[import-untyped]
    except ImportError as error:
        raise ConfigurationError(
            f"the credentials of the profile {profile!r} have to be fetched ({word}), which needs: "
            'pip install "zarrv3-store-obstore[aws]"'
        ) from error
    try:
        found = Session(profile=profile).get_credentials()
    except BotoCoreError as error:
        raise ConfigurationError(f"the profile {profile!r} gives no credentials: {error}") from error
    if found is None:
        raise ConfigurationError(f"the profile {profile!r} gives no credentials")

    def provide() -> dict[str, Any]:
        frozen = found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _TTL,
        }

    return provide


def _read(variable: str, name: str) -> Mapping[str, Mapping[str, str]]:
    """The sections of a file that a variable names, else of one in `~/.aws`; none where it cannot be read."""
    path = Path(os.environ.get(variable) or f"~/.aws/{name}")
    parser = RawConfigParser(default_section="", strict=False)
    try:
        parser.read(path.expanduser(), encoding="utf-8")
    except (Error, OSError, RuntimeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {type(error).__name__}") from None
    return {section: dict(parser[section]) for section in parser.sections()}


def _nested(text: str) -> dict[str, str]:
    """The indented settings below one that has no value of its own."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}
