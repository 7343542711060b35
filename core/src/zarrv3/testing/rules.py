"""The rules of the contract in one sentence each, and how a check says that one was violated."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from zarrv3.errors import ZarrError

BASICS: Final = "a store has the methods of what it claims, reads back what was written, and returns one answer per question"
ORDER: Final = (
    "get_many returns one value per request, in the order of the requests; None where the key is missing"
)
VALUES: Final = "values are bytes, of any length, and come back as they were stored"
RANGES: Final = "a ByteRange is exactly value[start:stop], clipped as Python clips a slice"
ONE_VERSION: Final = "what one get_many returns of a key is of one version of its value"
KEYS: Final = "a key is text of parts joined by '/'; different texts are different keys"
REFUSED_KEYS: Final = (
    "what is not a key (empty parts, '.', '..', NUL, surrogates, not text) raises InvalidKeyError everywhere"
)
REFUSED_VALUES: Final = "what is not flat bytes raises InvalidKeyError and nothing is stored"
LIMITS: Final = "a key or value beyond capabilities.limits raises LimitError; a longer batch is split"
OWNERSHIP: Final = "what a caller passed in may change after the call; what a store returned never changes"
ATOMIC: Final = "at any instant, to any reader, a key has its whole old or its whole new value"
DURABLE: Final = "a write that has returned (without the claim `durable`: that was flushed) is there also after its writer was killed"
TURNS: Final = "no thread waits for ever while others use the store"
INTERRUPTS: Final = (
    "an interrupted call leaves old or new values and no lock: the store works at once, for every thread"
)
FORKS: Final = "a store may be forked at any time: parent and child go on with it"
FLUSHED: Final = "after flush() everything written so far survives a crash of the process"
PERSISTENT: Final = "persistent: values outlive the instance"
ALONE: Final = "a store that is not `shared` refuses a second process, or keeps what it acknowledges to it, after a fork too"
ERASE: Final = "None in write_many erases a key, erase_prefix erases those below a folder, and nothing else; missing is fine"
RENAME: Final = "rename_prefix moves every key below one folder to the same place below another"
VERSIONS: Final = "get_versioned returns what get_many returns, with versions: None for a missing key, equal ones for equal values only"
SWAP: Final = (
    "swap_many writes the keys that still have their version, leaves the others alone, and returns those"
)
RACE: Final = "of several concurrent swaps with the same version, one wins, and no write in between is lost"
LIST_PREFIX: Final = "list_prefix yields every key that starts with the text, once"
LIST_DIR: Final = "list_dir yields what lies directly below, once: keys, and folders, whose names end in '/'; names are whole"
SIZES: Final = (
    "stat_many returns, and list_sizes yields, the bytes of each value; missing keys are None, or not listed"
)
STATS: Final = "asking for sizes, and whether a key exists, reads no values where the store can do without"
AGREEMENT: Final = "every way of reading shows what get_many shows, whichever way it was written"
CLOSED: Final = "after close() every call raises StoreClosedError; closing twice is fine"
PING: Final = "ping() returns when the server has answered, raises within the time when it does not, and changes nothing"
READING: Final = "opening and reading never create anything"
CLAIMS: Final = "what is claimed in capabilities works; what is not raises UnsupportedError or ReadOnlyError and changes nothing"
PICKLE: Final = "a persistent store pickles by its configuration: the copy opens the same data"
EQUALITY: Final = "stores are equal when they are of one class and were made for the same data"
SUGAR: Final = "the conveniences of BaseStore are the contract in other words"
TRANSACTIONS: Final = "the changes of a transaction are all seen or none is, at any instant, also after a kill; limits on them are told"
FAULTS: Final = "after an error a key has its old or its new value, and nothing acknowledged is lost"
OPTIONS: Final = "what a store was made with can be given in a URL, and comes back from spec()"
SECRETS: Final = "no repr, error or log line shows the value of a secret option"
LAYERS: Final = "a layer never claims more than its inner store, and one batch in is at most one batch out"
CONFIGURATION: Final = (
    "an extension comes back from its document; a configuration that is wrong raises MetadataError"
)
ROUND_TRIP: Final = (
    "what is encoded decodes to the same bits, into given memory or without it, and shares no memory"
)
ENCODED_SIZE: Final = "encoded_size is the exact number of encoded bytes, or None"
DAMAGE: Final = "stored bytes that are cut short, too long or changed raise CorruptDataError, or decode to the right shape and size"
CHECKSUM: Final = "a codec that says it has a checksum never decodes bytes with a flipped bit to other values"
FITS: Final = (
    "a codec that cannot encode a chunk raises MetadataError from evolve, before any byte is touched"
)
CARRIED_FILLS: Final = (
    "behind a codec from arrays to arrays, what was never written still means the fill value"
)
DATA_TYPES: Final = "a data type has one dtype in native byte order, one document and a default serializer"
FILLS: Final = "a fill value comes back from its document bit by bit; what is not one raises MetadataError"
HOSTILE: Final = (
    "damaged and hostile input gives sound values or an error of zarrv3.errors, never another exception"
)
TRANSFORMERS: Final = "through a storage transformer an array reads what was written, and keys that are not chunks are passed on"
GRIDS: Final = (
    "a grid counts the chunks that cover an array, no more; a shape that it does not fit raises MetadataError"
)
KEY_ENCODINGS: Final = "each chunk has a key of its own, from which its place comes back; other keys are None"
OVERRIDES: Final = "a test of the kit is overridden only with @pytest.mark.xfail(reason=…)"


class ConformanceError(AssertionError):
    """A store violates a rule of the contract."""

    def __init__(self, rule: str, violation: str) -> None:
        super().__init__(f"{violation}\n  the rule: {rule}")
        self.rule = rule
        self.violation = violation


class NotApplicableError(Exception):
    """A check that does not apply here, with the reason: neither passed nor failed."""


def require(condition: object, rule: str, violation: str) -> None:
    """Raise `ConformanceError` unless the condition holds."""
    if not condition:
        raise ConformanceError(rule, violation)


def same(actual: object, expected: object, rule: str, what: str) -> None:
    """Raise `ConformanceError` unless both are equal."""
    if actual != expected:
        raise ConformanceError(rule, f"{what}: expected {shown(expected)}, found {shown(actual)}")


@contextmanager
def refuses(rule: str, what: str, *errors: type[Exception]) -> Iterator[None]:
    """Raise `ConformanceError` unless the block raises one of the errors."""
    names = " or ".join(error.__name__ for error in errors)
    try:
        yield
    except errors:
        return
    except Exception as error:
        raise ConformanceError(
            rule, f"{what} raised {type(error).__name__} ({error}), not {names}"
        ) from error
    raise ConformanceError(rule, f"{what} was not refused with {names}")


@contextmanager
def only_our_errors(rule: str, what: str, allowed: type[Exception] = ZarrError) -> Iterator[None]:
    """Raise `ConformanceError` if the block raises another exception than those of one class; by default any of ours."""
    try:
        yield
    except allowed:
        return
    except Exception as error:
        raise ConformanceError(
            rule, f"{what} raised {type(error).__name__} ({error}), not {allowed.__name__}"
        ) from error


def shown(value: object) -> str:
    """A value as it can be read in a message."""
    try:
        text = repr(bytes(value) if isinstance(value, memoryview) else value)
    except Exception as error:  # noqa: BLE001 - numpy fails to show some dates
        text = f"a {type(value).__name__} whose repr() raises {type(error).__name__}"
    return text if len(text) <= 300 else f"{text[:200]} … {text[-60:]} ({len(text)} characters)"
