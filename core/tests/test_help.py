"""What `help()` and `inspect.signature` say."""

import inspect
import re
from typing import Any

import pytest

import zarrv3
from zarrv3 import api
from zarrv3.hierarchy import arguments, creation

PUBLIC = [
    *(getattr(api, name) for name in zarrv3.__all__ if inspect.isfunction(getattr(api, name, None))),
    *(function for cls in (zarrv3.Array, zarrv3.Group) for name, function in
      inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")),
]  # fmt: skip


@pytest.mark.parametrize("function", PUBLIC, ids=lambda function: function.__qualname__)
def test_help_describes_every_parameter(function: Any) -> None:
    """The docstring of a public function or method says of every parameter what it means."""
    described = inspect.getdoc(function) or ""
    for name in inspect.signature(function).parameters:
        assert name == "self" or re.search(rf"`{name}`|^ +{name}: ", described, re.MULTILINE), name


CREATORS = [
    *(getattr(zarrv3, name) for name in (
        "array", "create", "create_array", "empty", "empty_like", "full", "full_like", "ones", "ones_like", "open",
        "open_array", "open_like", "save_array", "zeros", "zeros_like")),
    *(getattr(zarrv3.Group, name) for name in (
        "array", "create_array", "create_dataset", "empty", "empty_like", "full", "full_like", "ones", "ones_like",
        "require_array", "zeros", "zeros_like")),
]  # fmt: skip


@pytest.mark.parametrize("function", CREATORS, ids=lambda function: function.__qualname__)
def test_signatures_and_help_list_all_arguments(function: Any) -> None:
    """`inspect.signature` has every argument by name, and `help()` says of each what it means."""
    parameters = inspect.signature(function).parameters
    assert {"chunks", "shards", "compressors", "codecs", "dimension_names", "attributes"} <= {*parameters}
    assert not [each for each in parameters.values() if each.kind is each.VAR_KEYWORD]
    described = re.findall(r"^ +(\w+): ", inspect.getdoc(function).partition("Args:")[2], re.MULTILINE)
    assert described == [name for name in parameters if name != "self"]


def test_defaults_are_those_of_the_metadata() -> None:
    """What signatures show as defaults is what is used, and no argument of the metadata is missing."""
    hints = arguments.ArrayArguments.__annotations__
    for parameter in inspect.signature(creation.metadata_for).parameters.values():
        if parameter.name not in {"store", "shape", "data"}:
            assert hints[parameter.name].__metadata__[0] == parameter.default, parameter.name
    assert inspect.signature(zarrv3.ones).parameters["fill_value"].default == 1
