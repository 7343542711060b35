"""The errors: what they are for `except`, what they say, and which of them are worth another attempt."""

import inspect
import pickle

import pytest

from zarrv3 import errors

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, errors.ZarrError) and value.__module__ == errors.__name__
]

BUILT_INS = {
    errors.KeyMissingError: [KeyError],
    errors.InvalidKeyError: [ValueError],
    errors.UnsupportedError: [NotImplementedError],
    errors.ReadOnlyError: [PermissionError, ValueError],
    errors.StoreClosedError: [ValueError],
    errors.StoreAccessError: [OSError],
    errors.SwapUnknownError: [errors.StoreAccessError],
    errors.StoreUnavailableError: [OSError, ConnectionError],
    errors.StoreTimeoutError: [OSError, ConnectionError, TimeoutError],
    errors.LimitError: [ValueError],
    errors.RegistryError: [LookupError],
    errors.ConfigurationError: [ValueError],
    errors.MetadataError: [ValueError],
    errors.UnknownExtensionError: [ValueError],
    errors.UnknownDataTypeError: [ValueError, TypeError],
    errors.NotPortableError: [ValueError],
    errors.CorruptDataError: [ValueError],
    errors.NodeNotFoundError: [KeyError, FileNotFoundError, ValueError],
    errors.ShapeMissingError: [KeyError, FileNotFoundError, ValueError, TypeError],
    errors.NodeExistsError: [ValueError, FileExistsError],
    errors.NodeTypeError: [TypeError, ValueError],
    errors.NodeNameError: [ValueError],
    errors.SelectionError: [IndexError],
    errors.AssignmentError: [ValueError, TypeError],
    errors.OutOfRangeError: [ValueError, OverflowError],
}


@pytest.mark.parametrize("cls", CLASSES)
def test_message_is_shown_as_written(cls: type[errors.ZarrError]) -> None:
    """No error shows the quotes of a `KeyError` or the brackets of an `OSError`."""
    assert str(cls("key 'a' is gone\nnext")) == "key 'a' is gone\nnext"
    assert str(cls()) == ""


def test_messages_move_no_cursor() -> None:
    """What names, documents and servers say cannot reach a terminal as commands to it."""
    assert str(errors.NodeError("\x1b[31m\u202e\x9b é\n")) == "\\x1b[31m\\u202e\\x9b é\n"


@pytest.mark.parametrize("cls", CLASSES)
def test_pickles(cls: type[errors.ZarrError]) -> None:
    """An error comes out of a process pool as it went in."""
    copy = pickle.loads(pickle.dumps(cls("text")))
    assert type(copy) is cls
    assert str(copy) == "text"
    made = cls.__new__(cls, "text")  # how tblib, and with it Dask's distributed, makes one again
    assert str(made) == "text"


@pytest.mark.parametrize(("cls", "bases"), BUILT_INS.items())
def test_built_in_bases(cls: type[errors.ZarrError], bases: list[type[Exception]]) -> None:
    """Code written against dicts, files and numpy keeps its `except` clauses."""
    assert all(issubclass(cls, base) for base in bases)


def test_retryable() -> None:
    """Exactly the errors that may pass by themselves are marked for another attempt."""
    marked = {cls for cls in CLASSES if getattr(cls, "retryable", False)}
    assert marked == {errors.StoreUnavailableError, errors.StoreTimeoutError}


def test_families() -> None:
    """A store's errors are not errors of the format or the hierarchy."""
    assert issubclass(errors.KeyMissingError, errors.StoreError)
    assert not issubclass(errors.NodeNotFoundError, errors.StoreError)
    assert not issubclass(errors.CorruptDataError, errors.StoreError)
    assert not issubclass(errors.RegistryError, errors.StoreError)
