"""No password in anything that people read."""

import logging
import pickle
import time
import traceback
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrv3.errors import ConfigurationError, StoreAccessError, StoreError, StoreUnavailableError
from zarrv3.layers.prefix import Prefix
from zarrv3.opening.stores import open_store
from zarrv3.options.environment import Template
from zarrv3.options.redaction import HIDDEN, redact, redact_options, redact_url, secrets_of
from zarrv3.store.backend import Backend, ErrorTable
from zarrv3.store.contract import Store
from zarrv3.store.memory import MappingDriver

PASSWORD = "p@ss/w0rd+?"  # every character that URLs give a meaning to


class LibraryError(Exception):
    """An exception of a database's library."""


class Server(Backend):
    """A backend with passwords whose library words its errors as it likes."""

    kind = "server"
    errors: ClassVar[ErrorTable] = {LibraryError: StoreUnavailableError}
    says = "{url} refused {password}"

    def __init__(
        self, url: str = "", user: str = "", password: str | None = None, nested: Any = None
    ) -> None:
        super().__init__(url=url, user=user, password=password, nested=nested)

    def connect(self) -> Store:
        """See the contract."""
        return Failing(
            {}, LibraryError(self.says.format(url=self.option("url"), password=self.option("password")))
        )


class Failing(MappingDriver):
    """A driver whose library fails."""

    def __init__(self, mapping: dict[str, bytes], error: Exception) -> None:
        super().__init__(mapping)
        self.error = error

    def get_many(self, requests: Any, /) -> Any:
        """See the contract."""
        raise self.error


# ---------------------------------------------------------------- texts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:secret@host:6379/0", "redis://user:***@host:6379/0"),
        ("redis://:secret@host", "redis://:***@host"),
        ("redis://user:se:cr@et@host/0", "redis://user:***@host/0"),
        ("redis://user:se/cret@host/0", "redis://user:***@host/0"),
        ("redis://user@host:6379/0", "redis://user@host:6379/0"),
        ("redis://host:6379/a@b", "redis://host:***@b"),  # rather too much than too little
        ("mongodb://u:secret@h1,h2/db?replicaSet=r", "mongodb://u:***@h1,h2/db?replicaSet=r"),
        ("s3://b?access_key=AK&secret_key=SK&region=eu", "s3://b?access_key=***&secret_key=***&region=eu"),
        ("https://h/p?X-Amz-Signature=abc#f", "https://h/p?X-Amz-Signature=***"),
        ("https://h/p?sig=abc&sv=1", "https://h/p?sig=***&sv=1"),
        ("a://u:one@h|b://v:two@g", "a://u:***@h|b://v:***@g"),
        (
            "cannot reach redis://u:secret@h/0, nor http://v:more@g",
            "cannot reach redis://u:***@h/0, nor http://v:***@g",
        ),
        ("redis://:${PASSWORD}@host", "redis://:***@host"),
        ("/plain/path@home?x=y", "/plain/path@home?x=y"),
        ("", ""),
    ],
)
def test_urls(text: str, shown: str) -> None:
    """Passwords and secret query options of URLs are hidden, the rest stays readable."""
    assert redact(text) == shown


def test_given_secrets() -> None:
    """Given secrets are hidden wherever they are, the longest first, and empty ones are not secrets."""
    assert redact("try hunter22, then hunter2", ["hunter2", "hunter22", ""]) == "try ***, then ***"


@given(
    st.text(st.characters(exclude_characters="/?#@|*", exclude_categories=["Z", "C"]), min_size=3),
    st.text(max_size=5),
)
def test_password_never_survives(password: str, around: str) -> None:
    """Whatever the password of a URL is made of, it is not in the redacted text."""
    assert redact(f"x://u:{password}@h").removeprefix("x://u:") == "***@h"
    assert redact(f"x://u:{quote(password + around, safe='')}@h") == "x://u:***@h"


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    "name",
    ["password", "passwd", "PWD", "client_secret", "token", "sas_token", "credentials", "api_key", "api-key", "apikey",
     "AccountKey", "access_key_id", "private_key", "passphrase", "key", "sig", "auth", "authorization", "aws-signature"],
)  # fmt: skip
def test_secret_names(name: str) -> None:
    """Options with such names are hidden whatever they hold; nothing is not a secret."""
    shown = redact_options({name: "s3cret"})
    assert shown == {name: HIDDEN}
    assert redact_options({name: 123456}) == {name: HIDDEN}
    assert redact_options({name: b"s3cret"}) == {name: HIDDEN}
    assert redact_options({name: ["user", "s3cret"]}) == {name: HIDDEN}
    assert redact_options({name: {"x": "s3cret"}}) == {name: HIDDEN}
    assert redact_options({name: None}) == {name: None}
    assert redact_options({name: False}) == {name: False}


@pytest.mark.parametrize(
    "name", ["path", "prefix", "user", "normalize_keys", "keyspace", "size", "monkey", "design"]
)
def test_harmless_names(name: str) -> None:
    """Other options are shown."""
    assert redact_options({name: "value"}) == {name: "value"}


def test_nested_options() -> None:
    """Secrets are hidden at any depth, in tables, lists and URLs."""
    options = {
        "storage": {"client": {"password": "a1", "urls": ["redis://u:b2@h", ("http://v:c3@g?token=d4",)]}},
        "size": 3,
    }
    shown = redact_options(options)
    assert shown["size"] == 3
    assert not [secret for secret in ("a1", "b2", "c3", "d4") if secret in repr(shown)]
    assert options["storage"]["client"]["password"] == "a1"  # type: ignore[index]  # the options themselves are untouched


def test_secrets_of() -> None:
    """All secret texts are found, in every spelling that a library may show."""
    options = {
        "nested": {"password": "a/1", "list": [{"token": "b 2"}, "redis://u:c%403@h?api_key=d%2F4"]},
        "credentials": {"anything": "e5"},
        "key": b"f6",
        "auth": 777,
        "plain": "shown",
    }
    found = set(secrets_of(options))
    assert {"a/1", "a%2F1", "b 2", "b%202", "c%403", "c@3", "d%2F4", "d/4", "e5", "f6", "777"} <= found
    assert "shown" not in found
    assert "" not in found


# ---------------------------------------------------------------- backends


def everything_shown(error: BaseException) -> str:
    """All that a traceback, a logger or a curious user shows of an error."""
    texts = ["".join(traceback.format_exception(error))]
    cause: BaseException | None = error
    while cause is not None:
        texts += [str(cause), repr(cause)]
        cause = cause.__cause__
    return "\n".join(texts)


@pytest.mark.parametrize(
    "store",
    [
        Server(password=PASSWORD),
        Server(url=f"server://me:{quote(PASSWORD, safe='')}@host"),
        Server(url=f"server://host?password={quote(PASSWORD, safe='')}", user="me"),
        Server(nested={"deep": [{"secret": PASSWORD}]}, url=f"x://u:{PASSWORD}@h/"),
    ],
)
@pytest.mark.parametrize(
    "says", ["{url} {password}", f"wrong {PASSWORD}", f"wrong {quote(PASSWORD, safe='')}", f"E('{PASSWORD}')"]
)
def test_errors_of_a_library(store: Server, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library's error that quotes the password is passed on without it, in text, repr, cause and traceback."""
    monkeypatch.setattr(Server, "says", says)
    with pytest.raises(StoreError) as caught:
        Server(**store.given_options).get_many([("k", None)])
    shown = everything_shown(caught.value)
    assert "'k'" in shown
    assert PASSWORD not in shown
    assert quote(PASSWORD, safe="") not in shown


def test_harmless_cause_is_kept() -> None:
    """An error without secrets keeps its library's error as the cause."""
    with pytest.raises(StoreUnavailableError) as caught:
        Server(url="server://host", user="me")["k"]
    assert isinstance(caught.value.__cause__, LibraryError)
    assert "server://host" in str(caught.value)


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a variable stands for is hidden even under a harmless name, and its name stays in the repr and the spec."""
    monkeypatch.setenv("ZARR_TEST_SECRET", PASSWORD)
    store = Server(user=Template("${ZARR_TEST_SECRET}"), url=Template("server://u:${ZARR_TEST_SECRET}@h/"))
    assert store.spec()["user"] == "${ZARR_TEST_SECRET}"
    assert "${ZARR_TEST_SECRET}" in repr(store)
    assert PASSWORD not in repr(store)
    assert PASSWORD.encode() not in pickle.dumps(store)
    monkeypatch.setattr(Server, "says", "{url} " + PASSWORD)
    with pytest.raises(StoreError) as caught:
        store["k"]
    shown = everything_shown(caught.value)
    assert PASSWORD not in shown
    assert quote(PASSWORD, safe="") not in shown


def test_reprs_and_layers() -> None:
    """Neither the plain nor the HTML form of a store or a layer on it shows a password."""
    store = Prefix(
        Server(url="server://u:hunter2@h/?token=hunter2", password="hunter2", nested={"pwd": "hunter2"}), "a"
    )
    for text in (repr(store), str(store), store.describe(), store._repr_html_(), f"{store.inner}"):
        assert "hunter2" not in text
        assert HIDDEN in text


def test_spec_holds_what_was_given() -> None:
    """A spec opens the store again, so it does hold a literal password; it is not what is shown."""
    assert Server(password="hunter2").spec() == {"store": "server", "password": "hunter2"}


@pytest.mark.parametrize(
    "url",
    [
        "nosuchstore://u:hunter2@h",
        "memory://x|nosuch:?password=hunter2",
        "memory://x?password=hunter2",
        "memory://x?password=hunter2&password=hunter2",
        "memory://x|prefix:?password=hunter2",
        "redis://u:ab|hunter2@h",
        "memory://u:hunter2%FF@h/%FF",
        "memory://x|:hunter2@y",
    ],
)
def test_refused_urls(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The error about a URL that cannot be opened shows no password, nor does any log line."""
    with caplog.at_level(logging.DEBUG), pytest.raises((ConfigurationError, LookupError)) as caught:
        open_store(url)
    assert "hunter2" not in everything_shown(caught.value)
    assert "hunter2" not in caplog.text


def test_refused_layer_table() -> None:
    """The error about a malformed layer names its members, not their values."""
    layer = {"laier": "retry", "password": "hunter2"}
    with pytest.raises(ConfigurationError, match="laier") as caught:
        open_store({"store": "memory", "layers": [layer]})
    assert "hunter2" not in everything_shown(caught.value)


def test_system_errors() -> None:
    """Errors of the operating system are redacted as well."""
    store = Server(password="hunter2")
    store._Backend__live = Failing({}, OSError(5, "hunter2 failed"))
    with pytest.raises(StoreAccessError) as caught:
        store["k"]
    assert "hunter2" not in everything_shown(caught.value)


@pytest.mark.parametrize(
    "part", ["://", "://u:", "a://b:c", "?", "?a", "a:", "a://", "'", "a+https://", "@", "https://a"]
)
def test_long_odd_texts(part: str) -> None:
    """A text costs in proportion to its length, whatever it is made of: a library may put a whole answer into an error."""
    text = part * (60_000 // len(part))
    start = time.thread_time()
    redact(text)
    redact_url(text)
    secrets_of({"url": text})
    assert (
        time.thread_time() - start < 3
    )  # a tenth of a second; half a minute where a part is looked at from each other
