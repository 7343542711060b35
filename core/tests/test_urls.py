"""URLs taken apart."""

from decimal import Decimal
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrv3.errors import ConfigurationError
from zarrv3.options import urls
from zarrv3.options.urls import (
    Url,
    boolean,
    byte_size,
    has_scheme,
    local_path,
    parse_part,
    parse_pipeline,
)

sound = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize(
    ("text", "scheme", "authority", "path", "query"),
    [
        ("file:///a/b.zip", "file", "", "/a/b.zip", {}),
        ("file://localhost/a", "file", "localhost", "/a", {}),
        ("file:a/b", "file", None, "a/b", {}),
        ("LMDB:/a", "lmdb", None, "/a", {}),
        ("memory://", "memory", "", "", {}),
        ("memory://name", "memory", "name", "", {}),
        ("redis://u:p%40@h:1/0?x=1&y=a+b%26", "redis", "u:p%40@h:1", "/0", {"x": "1", "y": "a b&"}),
        ("mongodb+srv://h/db", "mongodb+srv", "h", "/db", {}),
        ("zip:", "zip", None, "", {}),
        ("zip:inner/dir?mode=r", "zip", None, "inner/dir", {"mode": "r"}),
        ("file:///a%7Cb%3Fc%23d%25e", "file", "", "/a|b?c#d%e", {}),
        ("file:///a#fragment?x=1", "file", "", "/a", {}),
        ("lru-cache:?max_size=1KiB&flag", "lru-cache", None, "", {"max_size": "1KiB", "flag": ""}),
        ("a:b", "", None, "a:b", {}),
        ("C:\\data\\x.zarr", "", None, "C:\\data\\x.zarr", {}),
        ("C:/data/x.zarr", "", None, "C:/data/x.zarr", {}),
        ("/a/b?c#d%41", "", None, "/a/b?c#d%41", {}),
        ("rel/path", "", None, "rel/path", {}),
        ("./a:b/c", "", None, "./a:b/c", {}),
        ("1a:b", "", None, "1a:b", {}),
    ],
)
def test_parts(text: str, scheme: str, authority: str | None, path: str, query: dict[str, str]) -> None:
    """A part is scheme, host, decoded path and decoded options; a bare path and a drive letter are taken literally."""
    assert parse_part(text) == Url(scheme, authority, path, query, text)
    assert has_scheme(text) == bool(scheme)


@pytest.mark.parametrize("text", ["file:///a%FF", "file:///a?x=%FF"])
def test_wrong_percent_encoding(text: str) -> None:
    """Percent signs that are not UTF-8 are refused rather than replaced."""
    with pytest.raises(ConfigurationError, match="UTF-8"):
        parse_part(text)


@pytest.mark.parametrize(
    "text", [" redis://:geheim@h/0", "redis ://u:geheim@h", "1s3:/b?secret=geheim", "é://:geheim@h"]
)
def test_what_looks_like_a_url_is_not_a_path(text: str) -> None:
    """A URL with a blank before it, or with another mistake in its scheme, does not become a folder; its password is not shown."""
    with pytest.raises(ConfigurationError, match="is not a URL") as caught:
        parse_part(text)
    assert "geheim" not in str(caught.value)
    assert parse_part(f"./{text}").path == f"./{text}"


def test_option_twice() -> None:
    """An option that occurs twice is refused."""
    with pytest.raises(ConfigurationError, match="twice"):
        parse_part("zip:?a=1&a=2")


@given(sound, st.dictionaries(sound, sound, max_size=3))
def test_quoting_round_trip(path: str, query: dict[str, str]) -> None:
    """A quoted path and quoted options come back as they were, also within a pipeline."""
    text = f"file:///{quote(path)}?{urlencode(query)}"
    root, adapter = parse_pipeline(f"{text}|zip:{quote(path, safe='')}?{urlencode(query)}")
    assert (root.path, root.query, root.text) == (f"/{path}", query, text)
    assert (adapter.path, adapter.query) == (path, query)


@given(sound.filter(lambda text: text and "|" not in text and not has_scheme(text)))
def test_bare_path_is_literal(path: str) -> None:
    """Nothing in a bare path has a meaning."""
    assert parse_pipeline(path) == [Url("", None, path, {}, path)]


# ---------------------------------------------------------------- pipelines


def test_pipeline() -> None:
    """The parts in the order in which they are written."""
    parts = parse_pipeline("file:///d/a.zip|zip:|lru-cache:?max_size=256MiB")
    assert [part.scheme for part in parts] == ["file", "zip", "lru-cache"]
    assert parts[2].query == {"max_size": "256MiB"}


@pytest.mark.parametrize("text", ["", "|zip:"])
def test_empty_root(text: str) -> None:
    """A pipeline has a root."""
    with pytest.raises(ConfigurationError, match="empty"):
        parse_pipeline(text)


@pytest.mark.parametrize("text", ["memory:|", "memory:|zip", "memory:||zip:", "/a|b/c"])
def test_no_adapter(text: str) -> None:
    """What is behind `|` has a name and a colon; the error shows how."""
    with pytest.raises(ConfigurationError, match="'name:'"):
        parse_pipeline(text)


# ---------------------------------------------------------------- local paths


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:///a/b", "/a/b"),
        ("file://localhost/a", "/a"),
        ("lmdb:a/b", "a/b"),
        ("file:///with%20space", "/with space"),
    ],
)
def test_local_path(text: str, path: str) -> None:
    """A URL without a host names a path on this machine."""
    assert local_path(parse_part(text)) == path


def test_local_path_with_a_host() -> None:
    """Two slashes instead of three are answered with how to write it."""
    with pytest.raises(ConfigurationError, match="three slashes"):
        local_path(parse_part("file://a/b"))


@pytest.mark.parametrize("text", ["file:", "file://", "file://localhost"])
def test_local_path_missing(text: str) -> None:
    """A local URL needs a path."""
    with pytest.raises(ConfigurationError, match="needs a path"):
        local_path(parse_part(text))


def test_drive_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the slash before a drive letter is not part of the path."""
    monkeypatch.setattr(urls, "os", type("nt", (), {"name": "nt"}))
    assert local_path(parse_part("file:///C:/data")) == "C:/data"
    assert local_path(parse_part("file:///data")) == "/data"
    monkeypatch.setattr(urls, "os", type("posix", (), {"name": "posix"}))
    assert local_path(parse_part("file:///C:/data")) == "/C:/data"


# ---------------------------------------------------------------- options


@pytest.mark.parametrize("text", ["true", "True", "YES", "1", "on", ""])
def test_true(text: str) -> None:
    """What counts as true; an option without a value is one that was given."""
    assert boolean(text) is True


@pytest.mark.parametrize("text", ["false", "FALSE", "no", "0", "Off"])
def test_false(text: str) -> None:
    """What counts as false."""
    assert boolean(text) is False


@pytest.mark.parametrize("text", ["2", "y", "none", " true"])
def test_neither(text: str) -> None:
    """Anything else is refused, not guessed."""
    with pytest.raises(ConfigurationError):
        boolean(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1000", 1000),
        ("64KiB", 65536),
        ("1.5GB", 1_500_000_000),
        ("1.GB", 10**9),
        ("2k", 2000),
        ("2kb", 2000),
        ("256 MiB", 2**28),
        (" 1TiB ", 2**40),
        ("7B", 7),
        ("0.3KB", 300),
        ("9007199254740993", 9007199254740993),
        ("4.35MB", 4_350_000),
    ],
)
def test_sizes(text: str, size: int) -> None:
    """Sizes are exact, in powers of 1000 or, with an `i`, of 1024."""
    assert byte_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1e3", "KB", "1PiB", "1,5GB", "0x10", "1 2", ".5k", "nan"])
def test_no_sizes(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ConfigurationError, match="not a size"):
        byte_size(text)


@given(st.decimals(0, 10**30, places=3), st.sampled_from(["", "kB", "KiB", "MB", "GiB"]))
def test_sizes_are_exact(number: Decimal, unit: str) -> None:
    """No size is rounded through a float."""
    factor = {"": 1, "kB": 10**3, "KiB": 2**10, "MB": 10**6, "GiB": 2**30}[unit]
    assert byte_size(f"{number:f}{unit}") == int(f"{number:f}".replace(".", "")) * factor // 1000
