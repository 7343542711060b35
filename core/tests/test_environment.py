"""`${NAME}`: put in at the last moment, kept everywhere else."""

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrv3.errors import ConfigurationError
from zarrv3.options.environment import Template, as_templates, escape, expand, values_of

dollars = st.lists(st.sampled_from(["$", "{", "}", "A", "x", "${HOME}", "$${A}"]), max_size=6).map("".join)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | dollars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(dollars, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables of these tests."""
    monkeypatch.setenv("ZT_NAME", "value")
    monkeypatch.setenv("ZT_ODD", "p@ss/w|rd ${ZT_NAME}")
    monkeypatch.setenv("ZT_EMPTY", "")
    monkeypatch.delenv("ZT_MISSING", raising=False)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("${ZT_NAME}", "value"),
        ("a${ZT_NAME}b${ZT_NAME}", "avaluebvalue"),
        ("$${ZT_NAME}", "${ZT_NAME}"),
        ("$$${ZT_NAME}", "$${ZT_NAME}"),
        ("${ZT_EMPTY}", ""),
        ("${ZT_ODD}", "p@ss/w|rd ${ZT_NAME}"),
        ("x://${ZT_ODD}@h", "x://p%40ss%2Fw%7Crd%20%24%7BZT_NAME%7D@h"),
        ("$ZT_NAME", "$ZT_NAME"),
        ("${}", "${}"),
        ("${1A}", "${1A}"),
        ("{ZT_NAME}", "{ZT_NAME}"),
    ],
)
def test_expand(text: str, found: str) -> None:
    """A variable's value is put in once, percent-encoded within a URL; two dollars stand for one."""
    assert expand(as_templates(text)) == found


def test_missing_variable() -> None:
    """A variable that is not set is an error that names it, not an empty password."""
    with pytest.raises(ConfigurationError, match="ZT_MISSING"):
        expand(as_templates({"a": ["${ZT_MISSING}"]}))


def test_plain_text_is_not_expanded() -> None:
    """A text that is not marked as a template means itself."""
    assert expand("${ZT_NAME}") == "${ZT_NAME}"


def test_nested() -> None:
    """Tables and lists are gone through at any depth; other values stay."""
    value = {"a": ["${ZT_NAME}", {"b": "${ZT_NAME}"}], "n": 3, "t": ("${ZT_NAME}", None)}
    assert expand(as_templates(value)) == {"a": ["value", {"b": "value"}], "n": 3, "t": ["value", None]}


@given(json_values)
def test_escape_round_trip(value: Any) -> None:
    """A plain value that was escaped, written as JSON and read as configuration means itself again."""
    assert expand(as_templates(json.loads(json.dumps(escape(value))))) == value


@given(dollars)
def test_template_survives_escape(text: str) -> None:
    """A template is written as it was read."""
    assert escape(as_templates(text)) == (text if isinstance(as_templates(text), Template) else escape(text))


def test_template_is_kept_by_copies() -> None:
    """Pickling and copying keep a template one, with the variable's name."""
    template = as_templates("${ZT_NAME}")
    for copied in (pickle.loads(pickle.dumps(template)), copy.deepcopy(template), copy.copy(template)):
        assert type(copied) is Template
        assert copied == "${ZT_NAME}"


def test_values_of() -> None:
    """What variables stand for is found at any depth, plain and encoded; escaped and unset ones stand for nothing."""
    value = as_templates(
        {"a": ["x://${ZT_ODD}"], "b": "$${ZT_NAME}", "c": "${ZT_MISSING}", "d": "${ZT_EMPTY}", "e": "plain"}
    )
    assert values_of(value) == ["p@ss/w|rd ${ZT_NAME}", "p%40ss%2Fw%7Crd%20%24%7BZT_NAME%7D"]
