"""Which calls are logged, what the lines say, and how important they are."""

import json
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

import pytest

import zarrv3
from zarrv3.errors import (
    ConfigurationError,
    InvalidKeyError,
    StoreAccessError,
    StoreUnavailableError,
)
from zarrv3.layers.base import Layer
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Request
from zarrv3.store.memory import MemoryStore
from zarrv3.testing import InterruptConformance, LayerConformance
from zarrv3_layer_log import LogLayer

LOGGER = "zarrv3.log"


class TestConformance(InterruptConformance, LayerConformance):
    """Everything a store has to do, through the layer, which logs every call."""

    examples = 10

    @pytest.fixture
    def layer(self) -> Iterator[Callable[[BaseStore], BaseStore]]:
        """The layer; what it logs goes nowhere."""
        logger = logging.getLogger(LOGGER)
        before = logger.propagate, logger.level
        logger.propagate = False
        logger.setLevel(logging.INFO)
        logger.addHandler(handler := logging.NullHandler())
        yield LogLayer
        logger.removeHandler(handler)
        logger.propagate = before[0]
        logger.setLevel(before[1])


class Broken(Layer):
    """Fails with what it is told to, or takes its time."""

    kind = "broken"
    error: BaseException | None = None

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """As the contract says, or not."""
        if self.error is not None:
            raise self.error
        return self.inner.stat_many(keys)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged, without times, which differ."""
    found = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    caplog.clear()
    return [
        " ".join("T" if word.replace(".", "").isdigit() and "." in word else word for word in line.split())
        for line in found
    ]


def test_a_line_for_each_call(caplog: pytest.LogCaptureFixture) -> None:
    """Without `slow` every call has a line with its method, keys, store, bytes and milliseconds, at INFO."""
    store = LogLayer(MemoryStore(name="log-each"))
    where = "in MemoryStore('log-each')"
    with caplog.at_level(logging.INFO, LOGGER):
        store.write_many({"a/zarr.json": b"12345", "b": None})
        assert {record.levelno for record in caplog.records} == {logging.INFO}
        assert lines(caplog) == [f"write_many 'a/zarr.json', 'b' {where}: 5 bytes written, T ms"]
        store.get_many([Request(key) for key in ("a/zarr.json", "c", "d", "e", "f")])
        assert lines(caplog) == [f"get_many 'a/zarr.json', 'c', 'd' and 2 more {where}: 5 bytes read, T ms"]
        ((_, version),) = store.get_versioned(["a/zarr.json"])
        store.swap_many({"a/zarr.json": (version, b"123"), "b": (version, b"refused")})
        assert lines(caplog)[1] == f"swap_many 'a/zarr.json', 'b' {where}: 3 bytes written, T ms"
        store.apply_many({"x/y": b""})
        store.rename_prefix("x/", "z/")
        store.erase_prefix("z/")
        store.flush()
        assert [line.partition(" in ")[0] for line in lines(caplog)] == [
            "apply_many 'x/y'",
            "rename_prefix 'x/', 'z/'",
            "erase_prefix 'z/'",
            "flush",
        ]


def test_listings_are_logged_when_they_end(caplog: pytest.LogCaptureFixture) -> None:
    """A listing has its line when it is at its end or given up, with how many items came."""
    store = LogLayer(MemoryStore({str(i): b"" for i in range(5)}, name=None))
    where = f"in {store.inner.describe()}"
    with caplog.at_level(logging.INFO, LOGGER):
        listing = store.list_prefix("")
        next(listing)
        assert lines(caplog) == []
        assert len([*listing]) == 4
        assert lines(caplog) == [f"list_prefix '' {where}: 5 listed, T ms"]
        given_up = store.list_sizes("")
        next(given_up)
        del given_up
        assert lines(caplog) == [f"list_sizes '' {where}: 1 listed, T ms"]
        with pytest.raises(InvalidKeyError):
            store.list_dir("/a")


def test_only_slow_calls(caplog: pytest.LogCaptureFixture) -> None:
    """With `slow`, calls that take so long are warnings and no others have a line; 0 makes every call slow."""
    with caplog.at_level(logging.DEBUG, LOGGER):
        LogLayer(MemoryStore(), slow=3600)["k"] = b"v"
        assert lines(caplog) == []
        LogLayer(MemoryStore(), slow=0)["k"] = b"v"
        assert {record.levelno for record in caplog.records} == {logging.WARNING}
        assert lines(caplog)[0].startswith("write_many 'k' in MemoryStore(at ")


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (StoreUnavailableError("cannot look at 'k': connection refused"), logging.WARNING),
        (StoreAccessError("cannot look at 'k': disk\nfull"), logging.ERROR),
        (InvalidKeyError("no key"), logging.WARNING),
        (RuntimeError("a bug"), logging.ERROR),
        (KeyboardInterrupt(), logging.WARNING),
    ],
)
@pytest.mark.parametrize("slow", [None, 3600.0])
def test_failed_calls(
    error: BaseException, level: int, slow: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A call that fails has a line with what the error says, however quick it was: a warning, or worse if calling again will not help."""
    broken = Broken(MemoryStore(name="log-failed"))
    broken.error = error
    with caplog.at_level(logging.DEBUG, LOGGER), pytest.raises(type(error)):
        LogLayer(broken, slow=slow).stat_many(["k"])
    assert [record.levelno for record in caplog.records if record.name == LOGGER] == [level]
    (line,) = lines(caplog)
    told = " ".join(str(error).split()) or type(error).__name__
    assert line == f"stat_many 'k' in Broken() on MemoryStore('log-failed') failed after T ms: {told}"


def test_secrets_and_values_are_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither passwords of the store, wherever they turn up, nor values stand in a line; names cannot break it."""
    store = zarrv3.open_store("redis://user:hunter2@localhost:1/0|prefix:p|log:")
    broken = Broken(store.inner)  # type: ignore[attr-defined]
    broken.error = RuntimeError("AUTH hunter2")
    with caplog.at_level(logging.DEBUG, LOGGER):
        with pytest.raises(RuntimeError):
            LogLayer(broken).stat_many(["k\nWARNING:root:forged"])
        LogLayer(MemoryStore())["k"] = b"the-content"
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert len(text.splitlines()) == 2
    assert "hunter2" not in text + "".join(repr(vars(record)) for record in caplog.records)
    assert "the-content" not in text
    assert "'k\\nWARNING:root:forged'" in text


def test_options() -> None:
    """The option comes from a URL and goes into the spec; what is not a number of seconds is refused."""
    store = zarrv3.open_store("memory://log-url|log:?slow=0.5")
    assert isinstance(store, LogLayer)
    assert store.spec()["layers"] == [{"layer": "log", "slow": 0.5}]
    assert (
        zarrv3.open_store(json.loads(json.dumps(store.spec()))) == store == pickle.loads(pickle.dumps(store))
    )
    for text in ("slow=-1", "slow=inf", "slow=soon", "fast=1"):
        with pytest.raises(ConfigurationError, match=text.partition("=")[0]):
            zarrv3.open_store(f"memory:|log:?{text}")


def test_under_a_plain_basic_configuration() -> None:
    """Under `logging.basicConfig()` as it is, slow and failed calls are seen, with all that there is to know."""
    code = (
        "import logging, zarrv3; logging.basicConfig();"
        "zarrv3.open_store('memory://plain|log:')['quiet'] = b'';"
        "zarrv3.open_store('memory://plain|log:?slow=0')['k'] = b'value'"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr.startswith(
        "WARNING:zarrv3.log:write_many 'k' in MemoryStore('plain'): 5 bytes written, "
    )
    assert len(ended.stderr.splitlines()) == 1
