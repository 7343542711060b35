"""Settings and named stores, from code, the environment and the file."""

import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest

from zarrv3.errors import ConfigurationError
from zarrv3.options.settings import SETTINGS, Config, config, config_file


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration but the test's."""
    monkeypatch.delenv("ZARRV3_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    for name in SETTINGS:
        monkeypatch.delenv(f"ZARRV3_{name.upper()}", raising=False)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write the configuration file and point to it."""

    def writer(text: str | bytes) -> Path:
        path = tmp_path / "config.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        monkeypatch.setenv("ZARRV3_CONFIG", str(path))
        return path

    return writer


# ---------------------------------------------------------------- settings


def test_defaults() -> None:
    """Without any configuration every setting has its default, which is a value it may have."""
    found = Config()
    for name, setting in SETTINGS.items():
        assert found.get(name) == setting.default
        assert setting.check(setting.default)


def test_precedence(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code wins over the environment, which wins over the file, which wins over the default."""
    found = Config()
    assert found.get("threads") is None
    write("[settings]\nthreads = 2\n")
    assert found.get("threads") == 2
    monkeypatch.setenv("ZARRV3_THREADS", "3")
    assert found.get("threads") == 3
    found.set(threads=4)
    assert found.get("threads") == 4
    found.reset()
    assert found.get("threads") == 3


def test_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set to nothing says nothing."""
    monkeypatch.setenv("ZARRV3_THREADS", "")
    monkeypatch.setenv("ZARRV3_WRITE_EMPTY_CHUNKS", "")
    assert Config().get("threads") is None
    assert Config().get("write_empty_chunks") is False


def test_block() -> None:
    """At the end of a `with` block the old settings are back, also after an error and when nested."""
    found = Config()
    found.set(threads=2)
    with found.set(threads=3, window=8):
        with found.set(threads=4):
            assert found.get("threads") == 4
            assert found.get("window") == 8
        assert found.get("threads") == 3
    assert found.get("threads") == 2
    with contextlib.suppress(ZeroDivisionError), found.set(threads=3, window=8):
        raise ZeroDivisionError
    assert found.get("threads") == 2
    assert found.get("window") == SETTINGS["window"].default


def test_block_leaves_other_settings_alone() -> None:
    """Blocks of two threads that overlap put back what they changed and nothing else."""
    found = Config()
    first, second = found.set(threads=3), found.set(window=8)
    with second:
        with first:
            pass
        assert found.get("window") == 8
        assert found.get("threads") is None
    assert found.get("window") == SETTINGS["window"].default
    assert found.get("threads") is None


def test_block_of_none() -> None:
    """A setting that is set to `None` on purpose is put back to `None`."""
    found = Config()
    found.set(threads=None)
    with found.set(threads=3):
        pass
    assert found.get("threads") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", 0),
        ("threads", -1),
        ("threads", True),
        ("threads", "4"),
        ("window", None),
        ("write_empty_chunks", 1),
    ],
)
def test_bad_values_in_code(name: str, value: Any) -> None:
    """A value that makes no sense is refused with the setting's meaning, and changes nothing."""
    found = Config()
    with pytest.raises(ConfigurationError, match=f"{name}=.*{SETTINGS[name].meaning[:20]}"):
        found.set(window=9, **{name: value}) if name != "window" else found.set(window=value)
    assert found.get("window") == SETTINGS["window"].default


@pytest.mark.parametrize(
    ("name", "text"), [("threads", "x"), ("threads", "0"), ("window", "1.5"), ("write_empty_chunks", "maybe")]
)
def test_bad_values_in_the_environment(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable."""
    monkeypatch.setenv(f"ZARRV3_{name.upper()}", text)
    with pytest.raises(ConfigurationError, match=f"ZARRV3_{name.upper()}"):
        Config().get(name)


def test_values_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts become values."""
    monkeypatch.setenv("ZARRV3_WINDOW", "17")
    monkeypatch.setenv("ZARRV3_WRITE_EMPTY_CHUNKS", "yes")
    assert Config().get("window") == 17
    assert Config().get("write_empty_chunks") is True


def test_unknown_setting() -> None:
    """A setting that does not exist is refused with those that do."""
    with pytest.raises(ConfigurationError, match=r"thread'.*threads"):
        config.get("thread")
    with pytest.raises(ConfigurationError, match=r"thread'.*threads"):
        config.set(thread=3)


def test_repr_shows_settings() -> None:
    """The repr lists every setting as it is now."""
    found = Config()
    found.set(window=5)
    assert "window=5" in repr(found)
    assert all(name in repr(found) for name in SETTINGS)


def test_threads(write: Any) -> None:
    """The first reading by many threads at once gives all of them the value."""
    write("[settings]\nwindow = 11\n")
    found, values = Config(), []
    threads = [threading.Thread(target=lambda: values.append(found.get("window"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == [11] * 8


# ---------------------------------------------------------------- the file


def test_file_of_the_user(tmp_path: Path) -> None:
    """Without `ZARRV3_CONFIG` the file is looked for in the user's configuration folder."""
    path = tmp_path / "xdg" / "zarrv3" / "config.toml"
    assert Path(config_file()) == path
    assert Config().get("window") == 64
    path.parent.mkdir(parents=True)
    path.write_text("[settings]\nwindow = 12\n")
    assert Config().get("window") == 12


def test_file_in_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration folder is `~/.config` unless `XDG_CONFIG_HOME` says otherwise."""
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Path(config_file()) == tmp_path / ".config" / "zarrv3" / "config.toml"


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home folder, as in some containers, has the defaults."""
    import pwd

    def nobody(*_: object) -> None:
        raise KeyError

    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert Config().get("window") == 64


def test_other_file_is_read(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pointing to another file is noticed; a change of the same file after `reset`."""
    found = Config()
    path = write("[settings]\nwindow = 1\n")
    assert found.get("window") == 1
    path.write_text("[settings]\nwindow = 2\n")
    found.reset()
    assert found.get("window") == 2
    other = tmp_path / "other.toml"
    other.write_text("[settings]\nwindow = 3\n")
    monkeypatch.setenv("ZARRV3_CONFIG", str(other))
    assert found.get("window") == 3


def test_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was named must exist."""
    monkeypatch.setenv("ZARRV3_CONFIG", str(tmp_path / "nowhere.toml"))
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        Config().get("window")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[settings", "TOML"),
        (b"\xff\xfe", "TOML"),
        ("a = " + "[" * 100_000, "TOML"),
        ("settings = 3", "table"),
        ("[stores]\nx = 1\n[setting]\nwindow = 3", r"\[setting\].*\[settings\]"),
        ("[settings]\nwindows = 3", "'windows'.*window"),
        ("[settings]\nwindow = 'many'", "window='many'"),
        ("[settings]\nwindow = true", "window=True"),
    ],
)
def test_bad_files(text: str | bytes, what: str, write: Any) -> None:
    """A file that cannot be understood is refused, and the error says where."""
    write(text)
    with pytest.raises(ConfigurationError, match=what):
        Config().get("window")


def test_folder_as_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is not a file."""
    monkeypatch.setenv("ZARRV3_CONFIG", str(tmp_path))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Config().get("window")


# ---------------------------------------------------------------- named stores


def test_named_stores(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name stands for a URL or a table in the file; the environment wins."""
    write('[stores.scans]\nurl = "memory://a"\n[stores.my-scans]\nstore = "memory"\nname = "b"\n')
    assert config.named_store("scans") == {"url": "memory://a"}
    assert config.named_store("my-scans") == {"store": "memory", "name": "b"}
    monkeypatch.setenv("ZARRV3_STORE_MY_SCANS", "memory://c")
    monkeypatch.setenv("ZARRV3_STORE_SCANS", "")
    assert config.named_store("my-scans") == "memory://c"
    assert config.named_store("scans") == {"url": "memory://a"}


def test_unknown_store(write: Any) -> None:
    """An unknown name is answered with the known ones, the file and the variable."""
    path = write('[stores]\na = "memory:"\nb = "memory:"\n')
    with pytest.raises(ConfigurationError, match="a, b") as caught:
        config.named_store("c")
    assert str(path) in str(caught.value)
    assert "ZARRV3_STORE_C" in str(caught.value)
