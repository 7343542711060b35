"""Every error that zarrv3 raises on purpose.

Each class also derives from the built-in exception that a caller would expect (`KeyError`, `ValueError`, …), so that
code written against numpy, a dict or zarr-python keeps its `except` clauses. A message names the key or node, the
redacted store and the next step; it never holds a secret.
"""


def escaped(text: str, keep: str = "") -> str:
    """A text with every character that could move a terminal's cursor written as Python writes it, but for those to `keep`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else repr(char)[1:-1] for char in text)


class ZarrError(Exception):
    """The root of all errors of zarrv3."""

    def __str__(self) -> str:
        """The message as written (`KeyError` would show its repr), without control characters of names and servers in it."""
        return escaped(str(self.args[0]), "\n\t") if self.args else ""


# ---------------------------------------------------------------- stores


class StoreError(ZarrError):
    """A store could not do what it was asked."""

    retryable = False


class KeyMissingError(StoreError, KeyError):
    """A key that has to exist does not."""


class InvalidKeyError(StoreError, ValueError):
    """A key or prefix that no store may be asked for (empty parts, `..`, too long, …)."""


class UnsupportedError(StoreError, NotImplementedError):
    """The store does not have the capability that the call needs."""


class ReadOnlyError(StoreError, PermissionError, ValueError):
    """A write to something that is open for reading."""


class StoreClosedError(StoreError, ValueError):
    """A call on a store after `close()`."""


class StoreAccessError(StoreError, OSError):
    """The backend failed: permission, disk, network, server."""


class StoreUnavailableError(StoreAccessError, ConnectionError):
    """The backend cannot be reached just now; the same call may succeed later."""

    retryable = True


class StoreTimeoutError(StoreUnavailableError, TimeoutError):
    """The backend did not answer in time; the same call may succeed later."""


class SwapUnknownError(StoreAccessError):
    """Whether keys were swapped is unknown: the answer was lost, and they have changed since; read them and decide.

    Arrays make their change to the new values then.
    """


class LimitError(StoreError, ValueError):
    """A key or value is larger than the backend can hold."""


# ---------------------------------------------------------------- discovery and configuration


class RegistryError(ZarrError, LookupError):
    """A plugin is unknown, broken or ambiguous."""


class ConfigurationError(ZarrError, ValueError):
    """A URL, configuration or option makes no sense."""


# ---------------------------------------------------------------- format


class MetadataError(ZarrError, ValueError):
    """A metadata document, or an argument that would become part of one, violates the specification."""


class UnknownExtensionError(MetadataError):
    """A document names a data type, codec, chunk grid, … that is not installed and must be understood."""


class UnknownDataTypeError(UnknownExtensionError, TypeError):
    """What was given as a dtype is not one, or no data type stands for it."""


class NotPortableError(MetadataError):
    """A node that a layer shows, or fails to show, has no form in the final format: it cannot be stored elsewhere."""


class IrregularGridError(ZarrError, NotImplementedError):
    """The one shape of all chunks was asked for, of an array whose chunks differ in shape."""


class CorruptDataError(ZarrError, ValueError):
    """Stored bytes are not what the metadata says: too short, too long, checksum or decoder failed."""


# ---------------------------------------------------------------- hierarchy


class NodeError(ZarrError):
    """Something about a node of the hierarchy."""


class NodeNotFoundError(NodeError, FileNotFoundError, KeyError, ValueError):
    """There is no node at a path."""


class ShapeMissingError(ConfigurationError, NodeNotFoundError, TypeError):
    """There is no array, and nothing says how long a new one would be."""


class NodeExistsError(NodeError, FileExistsError, ValueError):
    """There is a node already and `overwrite` was not asked for."""


class NodeTypeError(NodeError, TypeError, ValueError):
    """A group where an array is asked for, or the other way round."""


class NodeNameError(NodeError, ValueError):
    """A name that the specification forbids."""


# ---------------------------------------------------------------- selection and assignment


class SelectionError(ZarrError, IndexError):
    """An index that is out of bounds or does not fit the array."""


class AssignmentError(ZarrError, ValueError, TypeError):
    """A value that cannot become elements of the array; nothing was written."""


class OutOfRangeError(AssignmentError, OverflowError):
    """A number that is too large for the elements of the array; nothing was written."""


# ---------------------------------------------------------------- warnings


class StaleMetadataWarning(UserWarning):
    """Consolidated metadata do not say any more what the documents of the hierarchy say."""


class SeveralWritersWarning(UserWarning):
    """A process of several writes part of a value to a store that cannot tell whether others have changed it meanwhile."""


# ---------------------------------------------------------------- as zarr-python 3 calls them, for `except`

BaseZarrError = ZarrError
ArrayNotFoundError = GroupNotFoundError = NodeNotFoundError
ContainsArrayError = ContainsGroupError = ContainsArrayAndGroupError = (NodeExistsError, NodeTypeError)
"""Another node is there, whether one was to be created or opened."""
MetadataValidationError = MetadataError
NodeTypeValidationError = NodeTypeError
UnknownCodecError = PickleCodecDisabledError = UnknownExtensionError
DataTypeValidationError = UnknownDataTypeError
ArrayIndexError = BoundsCheckError = NegativeStepError = VindexInvalidSelectionError = SelectionError
ChunkNotFoundError = KeyMissingError
ZarrUserWarning, ZarrRuntimeWarning, ZarrDeprecationWarning = UserWarning, RuntimeWarning, DeprecationWarning
ZarrFutureWarning = UnstableSpecificationWarning = FutureWarning
