"""Passwords, in whatever URL or configuration they are written: no error, repr, warning, log or output shows one."""

import io
import logging
import os
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrv3
from zarrv3 import registry
from zarrv3_cli.running import main

MARK = "Tr0ub4dor"
"""What stands in every secret."""
NOWHERE = "127.0.0.1:1"
SCHEMES = sorted(
    {plugin.name.replace("*", "xyz") for plugin in registry.plugins("stores")}
    - {"abfs", "abfss", "hf", "webhdfs"}  # slow to import, and treated as the others are
    | {"nosuch", "store", "mongodb+srv", "fsspec+s3"}
)
noise = st.sampled_from(
    ["", " ", "@", "?", "#", "%", "/", ":", "|", "::", "a@b", "my ", "%40", "&x=", "=", "\\", "'", '"', "ä", "[", "]", "\n"]
)  # fmt: skip
secrets = st.builds("{}{}{}".format, noise, st.just(MARK), noise)
shapes = st.sampled_from(
    [
        "{0}://u:{1}@{2}/x", "{0}://:{1}@{2}/x", "{0}:/u:{1}@{2}/x", "{0}:u:{1}@{2}/x", "{0}:///u:{1}@{2}/x", " {0}://u:{1}@{2}/x",
        "{0}://u:{1}@host:port/x", "{0}://u:{1}@{2}/x|zip:", "{0}://u:{1}@{2}/x|nosuch:", "{0}://u:{1}@{2}/x?nosuch=1",
        "{0}://{2}/x?password={1}", "{0}://{2}/x?secret={1}&a", "{0}://u:p@{2}/x?token={1}", "{0}:x?api_key={1}",
        "simplecache::{0}://u:{1}@{2}/x", "zip://a.zip::{0}://u:{1}@{2}/x", "fsspec+{0}://u:{1}@{2}/x", "{0}://u:{1}@{2}:99999/x",
        "{0}://u:{1}@{2}/%ff", "memory:|{0}:?password={1}", "memory:|nosuch://u:{1}@{2}", "{0}://u:{1}@{2}",
    ]
)  # fmt: skip
urls = st.builds(
    lambda shape, scheme, secret: shape.format(scheme, secret, NOWHERE),
    shapes,
    st.sampled_from(SCHEMES),
    secrets,
).filter(lambda url: "&x=" not in url.partition("?")[2])  # that is another option


def configurations(secret: str, scheme: str) -> list[Any]:
    """Configurations that hold a secret."""
    url = f"{scheme}://u:{secret}@{NOWHERE}/x"
    return [
        {"store": scheme, "password": secret},
        {"store": scheme, "path": "a", "password": secret},
        {"store": scheme, "host": "h", "password": [secret]},
        {"store": scheme, "url": url},
        {"store": url},
        {"url": url},
        {"url": [url]},
        {"url": url, "layers": [{"layer": "retry", "attempts": url}]},
        {"store": "memory", "layers": [{"layer": "nosuch", "password": secret}]},
        {"store": "memory", "layers": [{"layer": url}]},
        {"store": "memory", "layers": [url]},
        {"store": "memory", "layers": url},
        {
            "store": "fsspec",
            "url": "s3://b/x",
            "secret": secret,
            "client_kwargs": {"password": secret, "nosuch": 1},
        },
        {"store": "fsspec", "url": "nosuch://b/x", "key": secret, "mode": 7},
        {"stroe": "x", "password": secret},
        {"store": "redis", "password": secret, "nosuch": 1},
        {"store": "sql", "url": "postgresql://h/x", "connect_args": {"password": secret}, "timeout": "x"},
    ]


places = st.one_of(
    urls,
    st.builds(configurations, secrets, st.sampled_from(SCHEMES)).flatmap(st.sampled_from),
)


class Shown:
    """What was shown to a user."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def error(self, error: BaseException | None) -> None:
        """Note an error, with its notes and the errors behind it, seen as a user would or looked for."""
        seen: list[BaseException] = []
        waiting = [error]
        while waiting:
            one = waiting.pop()
            if one is not None and one not in seen:
                seen.append(one)
                waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
                self.texts += [str(one), repr(one), *getattr(one, "__notes__", ())]
        if error is not None:
            self.texts += traceback.format_exception_only(error)

    def check(self, place: object) -> None:
        """No text has the mark."""
        found = [text for text in self.texts if MARK in text]
        assert not found, f"{place!r} is shown in {found[0]!r}"


@contextmanager
def watched() -> Iterator[Shown]:
    """A block whose logs, warnings and output are noted."""
    shown, log, out = Shown(), io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(log)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)  # other libraries' own accounts of what they do are theirs
    try:
        with warnings.catch_warnings(record=True) as caught, redirect_stdout(out), redirect_stderr(out):
            warnings.simplefilter("always")
            yield shown
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        shown.texts += [log.getvalue(), out.getvalue(), *(str(one.message) for one in caught)]


def show(store: zarrv3.BaseStore, shown: Shown) -> None:
    """All that a store says of itself."""
    shown.texts += [repr(store), str(store), store.describe(), repr(store.capabilities)]


def attempt(place: Any) -> None:
    """Open a place in Python and on the command line, and look at all that is shown."""
    with watched() as shown:
        try:
            store = zarrv3.open_store(place)
            show(store, shown)
            show(zarrv3.open_store(store.spec(), read_only=True), shown)
            store.close()
        except Exception as error:  # noqa: BLE001 - of whatever kind
            shown.error(error)
        if isinstance(place, str):
            main(["info", "--nosuch", place])
            main(["nosuch", place])
            if place.startswith(("nosuch", "memory")):
                main(["info", place])
                main(["--debug", "copy", place, place])
                for call in (
                    lambda: zarrv3.copy(place, {}),
                    lambda: zarrv3.open(place, mode="r"),
                    lambda: zarrv3.save(place, [1]),
                ):
                    try:
                        call()
                    except Exception as error:  # noqa: BLE001
                        shown.error(error)
    shown.check(place)


@settings(max_examples=25 if "ZARRV3_STRESS" not in os.environ else 3000)
@given(places)
def test_no_secret_is_shown(place: Any) -> None:
    """Wherever a password stands in a URL or configuration, whatever it is made of, nobody sees it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZARRV3_CONFIG", "/dev/null")
        attempt(place)
