"""Extension definitions: names with configurations, and what they stand for."""

from typing import Any

import pytest

from zarrv3.errors import MetadataError, UnknownExtensionError
from zarrv3.format.extensions import NamedConfig, check_members, resolve, shown
from zarrv3.format.grids import RegularGrid


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("gzip", NamedConfig("gzip")),
        ({"name": "gzip"}, NamedConfig("gzip")),
        ({"name": "gzip", "configuration": {"level": 1}}, NamedConfig("gzip", {"level": 1})),
        ({"name": "x", "must_understand": False}, NamedConfig("x", {}, must_understand=False)),
        ({"name": "https://example.org/x"}, NamedConfig("https://example.org/x")),
    ],
)
def test_every_form_is_read(value: Any, expected: Any) -> None:
    """Short-hand names, objects and URIs are one and the same definition."""
    assert NamedConfig.parse(value, "codec") == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        [],
        "",
        {},
        {"name": 1},
        {"name": ""},
        {"configuration": {}},
        {"name": "x", "configuration": []},
        {"name": "x", "configuration": None},
        {"name": "x", "must_understand": "no"},
        {"name": "x", "other": 1},
    ],
)
def test_everything_else_is_refused(value: Any) -> None:
    """The error names the member of the document."""
    with pytest.raises(MetadataError, match=r"codecs\[3\]"):
        NamedConfig.parse(value, "codecs[3]")


def test_json_is_short() -> None:
    """Members with their implied value are left out."""
    assert NamedConfig("x").to_json() == {"name": "x"}
    full = {"name": "x", "configuration": {"a": 1}, "must_understand": False}
    assert NamedConfig.parse(full, "").to_json() == full


def test_a_known_name_becomes_its_object() -> None:
    """The class is found in the registry and given the configuration."""
    value = {"name": "regular", "configuration": {"chunk_shape": [2]}}
    assert resolve("chunk_grids", value, "chunk_grid") == RegularGrid((2,))


def test_an_unknown_name_is_answered_with_advice() -> None:
    """The registry's advice reaches the user."""
    with pytest.raises(UnknownExtensionError, match="did you mean 'regular'"):
        resolve("chunk_grids", "regulr", "chunk_grid")


def test_must_understand_false_is_no_way_around_a_grid() -> None:
    """The specification does not allow it for data types, grids and key encodings."""
    with pytest.raises(MetadataError, match="must_understand"):
        resolve("chunk_grids", {"name": "x", "must_understand": False}, "chunk_grid")


def test_errors_of_a_configuration_name_the_member() -> None:
    """Where it stands and what it is called."""
    with pytest.raises(MetadataError, match=r"codecs\[0\]: codec 'gzip'.*lacks level"):
        resolve("codecs", "gzip", "codecs[0]")


def test_members_are_all_or_nothing() -> None:
    """Missing and unknown members are named."""
    check_members("x", {"a": 1, "c": 1}, ["a"], ["c"])
    with pytest.raises(MetadataError, match="lacks a"):
        check_members("x", {}, ["a"])
    with pytest.raises(MetadataError, match="unknown configuration: b; known: a"):
        check_members("x", {"a": 1, "b": 1}, ["a"])


def test_values_in_errors_are_short() -> None:
    """Whatever a document holds, an error stays readable."""
    assert len(shown("x" * 1000)) == 80
    assert shown(10**5000) == "a int"
