"""Which texts are keys; the fast check of a batch against the slow one of each key."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zarrv3.errors import InvalidKeyError
from zarrv3.store import keys

awkward = st.text(
    st.sampled_from(["a", "b", "/", "/", ".", ".", "\0", "é", "\ud800", "\udc00", " "]), max_size=8
)
texts = awkward | st.text(max_size=5) | st.just("a/zarr.json")


def refused(check: Callable[[Any], object], value: Any) -> bool:
    """Whether a check raises `InvalidKeyError`."""
    try:
        check(value)
    except InvalidKeyError:
        return True
    return False


@given(st.lists(texts, max_size=6))
@example([])
@example([""])
@example(["a", ""])
@example(["a/", "/b"])
@example(["a\0", "\0b"])
@example(["a/\0/b"])
@example(["\ud800", "\udc00"])
def test_batch_agrees_with_single(batch: list[str]) -> None:
    """A batch is refused exactly when one of its keys is."""
    assert refused(keys.check_keys, batch) == any(refused(keys.check_key, key) for key in batch)


@given(texts)
def test_keys_are_paths_of_real_names(key: str) -> None:
    """A key that passes has only non-empty parts other than `.` and `..` and can be encoded."""
    parts = key.split("/")
    sound = all(part not in {"", ".", ".."} for part in parts) and "\0" not in key and keys.encodable(key)
    assert refused(keys.check_key, key) != sound


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("", "empty"),
        ("/a", "empty part"),
        ("a/", "empty part"),
        ("a//b", "empty part"),
        ("a/./b", r"'\.'"),
        ("../a", r"'\.\.'"),
        ("a\0b", "NUL"),
        ("a\ud800", "surrogate"),
        (7, "int"),
        (b"a", "bytes"),
        (None, "NoneType"),
    ],
)
def test_refusal_names_the_culprit(key: Any, what: str) -> None:
    """The error of a batch says which key is wrong and why."""
    with pytest.raises(InvalidKeyError, match=what) as caught:
        keys.check_keys(["sound", key, "also/sound"])
    assert repr(key) in str(caught.value) or key == ""


def test_check_key_returns_the_key() -> None:
    """A key that passes comes back unchanged."""
    assert keys.check_key("a/b.c/..d") == "a/b.c/..d"


@pytest.mark.parametrize(("folder", "found"), [("", ""), ("/", ""), ("a/", "a/"), ("a/b/", "a/b/")])
def test_folders(folder: str, found: str) -> None:
    """A folder is empty or a key and a slash; one slash means the root."""
    assert keys.check_folder(folder) == found


@pytest.mark.parametrize(
    "folder", ["a", "a//", "/a/", "../", "a/../", "//", "./", "\0/", None, 3, b"a/", ["a/"], {}]
)
def test_refused_folders(folder: Any) -> None:
    """Everything else is refused as an invalid key, whatever its type."""
    with pytest.raises(InvalidKeyError):
        keys.check_folder(folder)


@pytest.mark.parametrize(
    ("prefix", "folder"),
    [("", ""), ("a", ""), ("a/", "a/"), ("a/b", "a/"), ("a/b/c.", "a/b/"), ("a/..", "a/")],
)
def test_prefix(prefix: str, folder: str) -> None:
    """A prefix may end anywhere; its folder ends at its last slash."""
    assert keys.split_prefix(prefix) == (folder, prefix)


@pytest.mark.parametrize("prefix", ["/", "/a", "a//b", "../a", "a/./b", None, 3])
def test_refused_prefixes(prefix: Any) -> None:
    """A prefix that no key can have is refused, not silently empty."""
    with pytest.raises(InvalidKeyError):
        keys.split_prefix(prefix)


@pytest.mark.parametrize(
    ("name", "folder"), [("", ""), ("a", ""), ("a/", ""), ("a/b", "a/"), ("a/b/", "a/"), ("a/b/c", "a/b/")]
)
def test_parent(name: str, folder: str) -> None:
    """The folder that a key or folder lies in."""
    assert keys.parent(name) == folder


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=6))
def test_longest(batch: list[str]) -> None:
    """The longest key is measured in bytes of UTF-8."""
    assert keys.longest(batch) == max((len(key.encode()) for key in batch), default=0)


def test_summary() -> None:
    """A batch is named by its first key and how many more there are."""
    assert keys.summary([]) == "nothing"
    assert keys.summary(["a"]) == "'a'"
    assert keys.summary(["a", "b", "c"]) == "'a' (or one of 2 more keys)"
