"""Options that a constructor's signature declares: checks, conversions, `${NAME}`, what is shown of them."""

import json
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, Unpack, cast
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3 import Backend, Layer, MemoryStore, registry
from zarrv3.errors import ConfigurationError
from zarrv3.options.declared import Option, declared, markdown
from zarrv3.options.environment import Template
from zarrv3.options.redaction import redact_url
from zarrv3.options.urls import Url, byte_size, parse_part, size_text
from zarrv3.store.contract import Store
from zarrv3.store.memory import MappingDriver


class Passed(TypedDict, total=False):
    """What some library takes."""

    port: Annotated[int, Option("the port")]
    passphrase: Annotated[str, Option(secret=True)]


class Every(Backend):
    """A store with an option of every kind."""

    kind = "every"

    def __init__(
        self,
        name: Annotated[str, Option("what it is called")] = "",
        flag: Annotated[bool, Option("yes or no")] = False,
        count: Annotated[int | None, Option("how many", check=lambda n: n is None or n > 0)] = None,
        *,
        seconds: float = 1.5,
        size: Annotated[int, Option("how large", convert=byte_size, show=size_text)] = 1 << 20,
        choice: Literal["a", "b", 3] | None = None,
        table: Mapping[str, Any] | None = None,
        items: Sequence[int] = (),
        place: str | os.PathLike[str] = "",
        pin: Annotated[int | None, Option("a number that nobody may see", secret=True)] = None,
        call: Annotated[Callable[[], Any] | None, Option("a function", live=True)] = None,
        **others: Annotated[Any, Option("what the library takes", known=Passed)],
    ) -> None:
        super().__init__(name=name, flag=flag, count=count, seconds=seconds, size=size, choice=choice, table=table,
                         items=items, place=place, pin=pin, call=call, **others)  # fmt: skip

    def connect(self) -> Store:
        """See the contract."""
        return MappingDriver({})


class Closed(Layer):
    """A layer that takes what a library takes and nothing else."""

    kind = "closed"

    def __init__(self, store: object, **others: Unpack[Passed]) -> None:
        super().__init__(store, **others)


class Plain(Backend):
    """A third-party store that does not use `Option`."""

    kind = "plain"

    def __init__(self, host, port=1, safe=False, *, key: str = "", note: "Unimported | None" = None):  # type: ignore[no-untyped-def, name-defined]  # noqa: ANN001, ANN204, F821
        super().__init__(host=host, port=port, safe=safe, key=key, note=note)

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        """See the contract."""
        return {"host": url.host, "port": int((url.authority or "").partition(":")[2] or 1)}

    def connect(self) -> Store:
        """See the contract."""
        return MappingDriver({})


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes above can be opened by URL."""
    classes: list[tuple[Any, Any]] = [("stores", Every), ("stores", Plain), ("layers", Closed)]
    for kind, cls in classes:
        monkeypatch.setitem(registry.BUILT_IN[kind], cls.kind, "unused")
        monkeypatch.setitem(registry._loaded, (kind, cls.kind), cls)


VALUES: list[tuple[str, str, Any]] = [
    ("name", "x y", "x y"),
    ("name", "none", "none"),
    ("flag", "no", False),
    ("flag", "on", True),
    ("flag", "", True),
    ("count", "7", 7),
    ("count", "none", None),
    ("seconds", "2", 2.0),
    ("size", "64KiB", 1 << 16),
    ("choice", "a", "a"),
    ("choice", "3", 3),
    ("choice", "null", None),
    ("table", '{"a":[1]}', {"a": [1]}),
    ("items", "[1,2]", [1, 2]),
    ("place", "/tmp", "/tmp"),
    ("pin", "1234", 1234),
    ("port", "80", 80),
    ("passphrase", "5", "5"),
]


@pytest.mark.parametrize(("name", "text", "value"), VALUES)
def test_text_becomes_a_value(name: str, text: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text in a URL, in a configuration, in code or in the environment means one thing, by the option's type."""
    monkeypatch.setenv("VALUE", text)
    stores = [
        zarrv3.open_store(f"every:?{urlencode({name: text})}"),
        zarrv3.open_store(f"every:?{name}=${{VALUE}}"),
        zarrv3.open_store({"store": "every", name: "${VALUE}"}),
        *(
            [zarrv3.open_store({"store": "every", name: text}), Every(**cast("Any", {name: text}))]
            if text
            else []
        ),
    ]
    for store in stores:
        assert store.option(name) == value
        assert type(store.option(name)) is type(value)


@pytest.mark.parametrize(("name", "text", "value"), VALUES)
def test_variables_stay_variables(name: str, text: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Specs, pickles and descriptions have `${NAME}` or nothing, whatever the type; it is looked up at each use."""
    monkeypatch.delenv("VALUE", raising=False)
    store = zarrv3.open_store({"store": "every", name: "${VALUE}"})
    assert store.spec() == {"store": "every", name: "${VALUE}"}
    again = pickle.loads(pickle.dumps(store))
    with pytest.raises(ConfigurationError, match="VALUE is not set"):
        again.option(name)
    monkeypatch.setenv("VALUE", text)
    assert again.option(name) == value
    assert zarrv3.open_store(json.loads(json.dumps(store.spec()))) == store


def test_variables_in_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers take their options from the environment too, by URL, configuration and `around`."""
    monkeypatch.setenv("PORT", "81")
    monkeypatch.setenv("FOLDER", "a/b")
    for store in (
        zarrv3.open_store("memory://p|closed:?port=${PORT}"),
        zarrv3.open_store(
            {"store": "memory", "name": "p", "layers": [{"layer": "closed", "port": "${PORT}"}]}
        ),
    ):
        assert store.option("port") == 81
        assert store.spec()["layers"] == [{"layer": "closed", "port": "${PORT}"}]
    below = zarrv3.open_store("memory://shown|prefix:${FOLDER}")
    below["k"] = b"v"
    assert zarrv3.open_store("memory://shown")["a/b/k"] == b"v"


def test_a_name_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory store's name may be a variable: it is the store of the name that the variable has."""
    monkeypatch.setenv("NAME", "declared")
    store = zarrv3.open_store("memory://${NAME}")
    store["k"] = b"v"
    assert zarrv3.open_store("memory://declared")["k"] == b"v"
    assert store == zarrv3.open_store("memory://declared")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"flag": "maybe"},
            "option 'flag' of 'every': 'maybe' is neither true nor false|takes true or false",
        ),
        ({"flag": 1}, "option 'flag' of 'every' takes true or false, not 1"),
        ({"count": 0}, "option 'count' of 'every' takes a whole number or None, not 0"),
        ({"count": 1.5}, "not 1.5"),
        ({"count": True}, "not True"),
        ({"seconds": None}, "takes a number, not None"),
        ({"size": "1 parsec"}, "size"),
        ({"choice": "c"}, "takes 'a' or 'b' or 3 or None, not 'c'"),
        ({"choice": "${NO"}, "choice"),
        ({"table": [1]}, "takes a mapping or None, not list"),
        ({"items": "{}"}, "items"),
        ({"call": 3}, "takes a function or None"),
        ({"name": 5}, "takes text, not 5"),
        ({"pin": "hunter2"}, "the str given is not that"),
        ({"pin": Template("${HUNTER}")}, "what the environment has is not that"),
        ({"call": Template("${HUNTER}")}, "call"),
    ],
)
def test_ill_typed_options(options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an option does not take is refused with its name and what it takes, and never with a secret."""
    monkeypatch.setenv("HUNTER", "hunter2")
    with pytest.raises(ConfigurationError, match=message) as caught:
        Every(**options).option(next(iter(options)))
    assert "hunter2" not in str(caught.value)


def test_names() -> None:
    """Unknown and missing options are told by name; a live one cannot come from a URL, a located one only once."""
    with pytest.raises(
        ConfigurationError, match="'closed' has no option 'x'; its options are: port, passphrase"
    ):
        Closed({}, x=1)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="'plain' needs the option 'host'"):
        Plain.from_options({})
    with pytest.raises(ConfigurationError, match="no URL option 'call'"):
        zarrv3.open_store("every:?call=x")
    with pytest.raises(ConfigurationError, match="no URL option 'unheard'"):
        zarrv3.open_store("every:?unheard=x")
    with pytest.raises(ConfigurationError, match="give it once"):
        zarrv3.open_store("memory://a?name=b")
    assert Every(unheard=object).option("unheard") is object


def test_undeclared_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature without `Option` works: types come from annotations and defaults, one that is not there is any."""
    monkeypatch.setenv("NO", "false")
    store = zarrv3.open_store({"store": "plain", "host": "h", "port": "7", "safe": "${NO}", "note": [1]})
    assert (store.option("port"), store.option("safe"), store.option("note")) == (7, False, [1])
    assert Plain("h", key="opensesame").describe() == "Plain(host='h', key='***')"
    assert "| `key` | text | `''` |  |" in markdown(Plain)


def test_a_declared_type_has_to_exist() -> None:
    """A declared option whose type is only there for type checkers is the author's mistake, and told."""

    class Wrong(Backend):
        kind = "wrong"

        def __init__(self, x: "Annotated[Unimported, Option('')]") -> None:  # type: ignore[name-defined]  # noqa: F821
            super().__init__(x=x)

        def connect(self) -> Store:
            return MappingDriver({})

    with pytest.raises(TypeError, match=r"'x'.*not there when the program runs"):
        Wrong(1)


def test_declared_secrets_are_hidden() -> None:
    """A declared secret is hidden whatever its name and type, also a number, and is not told by errors of libraries."""
    store = Every(pin=981234, passphrase="open sesame", table={"password": 77})
    text = repr(store)
    for secret in ("981234", "open sesame", "77"):
        assert secret not in text
    assert {"981234", "open sesame", "77"} <= {*store.secrets()}
    assert store.spec()["pin"] == 981234


def test_live_options_have_no_spec() -> None:
    """With an object of this process there is no configuration."""
    with pytest.raises(ConfigurationError, match="live object"):
        Every(call=print).spec()
    assert declared(Every).live == ["call"]
    assert "root" in declared(MemoryStore).live


def test_a_path_object(tmp_path: Path) -> None:
    """What is of a declared class stays the object that it is."""
    assert Every(place=tmp_path).option("place") is tmp_path


def test_the_table() -> None:
    """A README's table has a line for each option: what it takes, its default, its help."""
    lines = markdown(Every).splitlines()
    assert "| `flag` | true or false | `False` | yes or no |" in lines
    assert "| `size` | a whole number | `1MiB` | how large |" in lines
    assert "| `port` | a whole number |  | the port |" in lines
    assert lines[-1] == "| any other | anything |  | what the library takes |"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8", exclude_characters="$"), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="$"), max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "name": st.text(st.characters(codec="utf-8", exclude_characters="$"), max_size=8),
    "flag": st.booleans(),
    "count": st.none() | st.integers(min_value=1),
    "seconds": st.floats(allow_nan=False),
    "size": st.integers(min_value=0, max_value=1 << 60),
    "choice": st.sampled_from(["a", "b", 3, None]),
    "table": st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="$"), max_size=3), JSON_VALUES, max_size=3),
    "items": st.lists(st.integers(), max_size=3),
    "port": st.integers(),
}  # fmt: skip


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@given(st.fixed_dictionaries({}, optional=OPTIONS))
def test_url_value_spec_store(options: dict[str, Any]) -> None:
    """From the text of a URL to values, to a spec, to JSON and back: one and the same store."""
    table = declared(Every)
    found = table.from_query({name: _as_text(value) for name, value in options.items()})
    store, expected = Every(**found), Every(**options)
    assert store == expected
    assert (
        Every.from_options({k: v for k, v in json.loads(json.dumps(store.spec())).items() if k != "store"})
        == store
    )
    assert pickle.loads(pickle.dumps(store)) == store


# ---------------------------------------------------------------- URLs


def test_url_parts() -> None:
    """A URL's user, password, host and port, decoded; `None` for what is not there."""
    url = parse_part("far://us%40er:p%2Fw:x@db.example:2379/x")
    assert (url.user, url.password, url.host, url.port) == ("us@er", "p/w:x", "db.example", 2379)
    url = parse_part("far://[::1]:80")
    assert (url.user, url.password, url.host, url.port) == (None, None, "::1", 80)
    assert (parse_part("far://[::1]").host, parse_part("far://[::1]").port) == ("::1", None)
    assert (parse_part("far:x").host, parse_part("far:x").port) == (None, None)


@pytest.mark.parametrize("port", ["x", "-1", "65536", "²"])
def test_bad_ports(port: str) -> None:
    """What cannot be a port is refused without the password."""
    with pytest.raises(ConfigurationError, match="port") as caught:
        _ = parse_part(f"far://u:TopS3cret@db:{port}/x").port
    assert "TopS3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "password", ["TopS3cret", "my TopS3cret", "my@TopS3cret", "my?TopS3cret", "my/TopS3cret"]
)
def test_a_location_that_raises(password: str) -> None:
    """Whatever a plugin's `location` raises becomes an error of configuration without the password."""
    with pytest.raises(ConfigurationError) as caught:
        zarrv3.open_store(f"plain://user:{password}@db:2379/x")
    assert "TopS3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "text", ["redis:/u:{}@h/0", "redis:u:{}@h/0", "redis://u:my {}@h/0", "https://{}@h/x"]
)
def test_passwords_in_odd_urls(text: str) -> None:
    """A password is hidden in URLs that are not quite right either, and a token that stands for a user."""
    assert "S3cret" not in redact_url(text.format("S3cret"))
    with pytest.raises(Exception) as caught:
        zarrv3.open_store(f"{text.format('S3cret')}|no-such-layer:")
    assert "S3cret" not in str(caught.value)
