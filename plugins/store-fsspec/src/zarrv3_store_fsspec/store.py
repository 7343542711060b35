"""`FSStore`: its options and URL."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from fsspec.core import split_protocol  # type: ignore[import-untyped]
from fsspec.implementations.cached import WholeFileCacheFileSystem  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from zarrv3.errors import ConfigurationError, InvalidKeyError, UnsupportedError
from zarrv3.options.declared import Option
from zarrv3.options.environment import Template
from zarrv3.options.redaction import redact_url, secrets_of
from zarrv3.options.urls import Url
from zarrv3.store.backend import Backend, ErrorTable
from zarrv3.store.base import Address, BaseStore, Separator
from zarrv3.store.contract import Capabilities, Driver, Limits
from zarrv3.store.undisturbed import undisturbed
from zarrv3_store_directory.driver import DirectoryDriver
from zarrv3_store_fsspec import systems
from zarrv3_store_fsspec.access import Access, ObjectAccess
from zarrv3_store_fsspec.driver import FSDriver, SwappingFSDriver
from zarrv3_store_fsspec.failures import classes_of, names_of, plain
from zarrv3_store_fsspec.files import CopiesAccess, FileAccess, FTPAccess, MemoryAccess
from zarrv3_store_fsspec.references import ReferenceAccess

Errors = Sequence[type[BaseException]]

_EXCEPTIONS = (KeyError, PermissionError, OSError)
_S3_KEY = 1024
"""The most bytes a name in S3, Google's or Azure's storage may have."""


class FSStore(Backend):
    """Files of any fsspec file system; `s3://bucket/path`, `gs://`, `az://`, `https://`, `fsspec+<URL>`.

    Safe to use from many threads and processes if the file system replaces files atomically, as object stores
    do.
    """

    kind = "fsspec"
    tested_against: ClassVar[Mapping[str, str]] = {
        "S3 (moto)": "5",
        "local files, memory, HTTP, FTP": "fsspec 2026.9",
    }
    errors: ClassVar[ErrorTable] = {
        FileExistsError: InvalidKeyError,
        IsADirectoryError: InvalidKeyError,
        NotADirectoryError: InvalidKeyError,
        NotImplementedError: UnsupportedError,
    }

    def __init__(
        self,
        url: Annotated[
            str | os.PathLike[str], Option("the root: a URL, a `UPath`, or with `fs` a path in it")
        ],
        normalize_keys: Annotated[bool, Option("lower-case all keys")] = False,
        key_separator: Annotated[
            Literal[".", "/"] | None, Option("wins over `dimension_separator`, which means the same")
        ] = None,
        mode: Annotated[Literal["r", "w"], Option("`r` refuses writes")] = "w",
        exceptions: Annotated[
            Errors,
            Option('has no effect: only "not found" means a missing key', live=True, takes="exceptions"),
        ] = _EXCEPTIONS,
        dimension_separator: Separator = None,
        fs: Annotated[
            Any, Option("a file system to use instead of making one; it has its own options", live=True)
        ] = None,
        check: Annotated[bool, Option("when connecting, check that the root can be written")] = False,
        create: Annotated[bool, Option("when connecting, make the root (for S3: the bucket)")] = False,
        missing_exceptions: Annotated[
            str | Errors | None,
            Option(
                'what means a missing key besides "not found": names such as `PermissionError,KeyError`',
                check=classes_of,
                takes="names of Python exceptions, separated by commas, or exceptions",
            ),
        ] = None,
        *,
        conditional_writes: Annotated[
            bool | None,
            Option(
                "whether the S3 server obeys `If-Match` and `If-None-Match` when it writes and erases; `None`: "
                "when it is Amazon's"
            ),
        ] = None,
        **storage_options: Annotated[
            Any,
            Option("options of the file system: `key`, `secret`, `anon`, `endpoint_url`, `client_kwargs`, …"),
        ],
    ) -> None:
        if fs is not None and storage_options:
            raise ConfigurationError(
                f"options ({', '.join(sorted(storage_options))}) go with a URL; a file system object has its own"
            )
        place: Any = url
        if hasattr(place, "storage_options"):  # a UPath
            storage_options = {**place.storage_options, **storage_options} if fs is None else {}
            if not hasattr(place, "path"):
                raise ConfigurationError(
                    f"a {type(place).__name__} is not a place; write FSStore(path, fs=…) with a path in it"
                )
            if "::" in str(place):  # what its text has already is among its options too
                target = storage_options.pop("target_options", None)
                if target and "target_protocol" in storage_options:
                    storage_options[storage_options["target_protocol"]] = target
                for name in ("target_protocol", "fo"):
                    storage_options.pop(name, None)
            place = str(place) if "://" in str(place) or fs is not None else place.path
        super().__init__(
            url=place if isinstance(place, str) else os.fspath(place),
            normalize_keys=normalize_keys,
            key_separator=key_separator,
            mode=mode,
            exceptions=tuple(exceptions),
            dimension_separator=dimension_separator,
            fs=fs,
            check=check,
            create=create,
            missing_exceptions=names_of(missing_exceptions),
            conditional_writes=conditional_writes,
            **storage_options,
        )
        self._storage = tuple(storage_options)
        self._made_in = os.getpid()

    @property
    def dimension_separator(self) -> str | None:
        """See `BaseStore`; `key_separator` wins."""
        return self.option("key_separator") or super().dimension_separator

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        """The URL without its options and without `fsspec+`."""
        if url.scheme == "fsspec":
            raise ConfigurationError(
                "fsspec:// names no file system; write s3://…, https://… or fsspec+<URL of fsspec>"
            )
        scheme = url.scheme.removeprefix("fsspec+")
        text = url.text.partition("#")[0].partition("?")[0]
        rest = text[len(url.scheme) :]
        if not rest.startswith(("://", "::")):  # fsspec would take it for a local path
            raise ConfigurationError(f"{redact_url(url.text)!r}: after {url.scheme!r} comes '://'")
        if scheme in {"http", "https"} or rest.startswith("::"):  # percent signs belong to it
            text = url.text.partition("#")[0].partition("?")[2] if scheme in {"http", "https"} else ""
            query = systems.address_query(scheme, text, cls.declared().options) if text else ""
            return {"url": f"{scheme}{rest}?{query}" if query else scheme + rest}
        if "::" in (url.authority or "").rpartition("@")[0]:
            raise ConfigurationError(f"{redact_url(url.text)!r}: '::' in a password is written %3A%3A")
        if scheme == "reference" and (url.authority or "").endswith(":"):
            return {"url": f"reference::{rest[len('://') :]}"}
        if scheme == "reference" and url.path and not url.authority:
            return {"url": "reference://", "fo": url.path}
        authority = "" if url.authority is None else f"//{url.authority}"
        return {"url": f"{scheme}:{authority}{url.path}"}

    @classmethod
    def url_options(cls, url: Url) -> dict[str, Any]:
        """See `BaseStore`: options that are not the store's are the file system's."""
        table = cls.declared()
        ours = {name: text for name, text in url.query.items() if name in table.options}
        theirs = {name: text for name, text in url.query.items() if name not in table.options}
        if url.scheme.removeprefix("fsspec+") in {"http", "https"}:
            known = systems.options_of("http")
            theirs = {name: text for name, text in theirs.items() if name in known}
        own = table.from_url(cls, url, ours)
        return {**own, **systems.from_text(own["url"], theirs, table.in_urls)}

    @classmethod
    def example_url(cls, folder: str) -> str:
        """A folder in the folder."""
        return f"fsspec+{Path(folder, 'fsspec.zarr').absolute().as_uri()}"

    @classmethod
    def example_server(cls) -> AbstractContextManager[str]:
        """S3, where the packages `moto[server]` and `s3fs` are installed."""
        from zarrv3_store_fsspec.testing import server

        return server()

    def connect(self) -> Driver:
        """The driver over the file system; nothing is sent unless `check` or `create` asks for it."""
        return undisturbed(self._connect)

    def _connect(self) -> Driver:
        url, fs = self.option("url"), self.option("fs")
        if fs is None:
            options = {name: self.option(name) for name in self._storage}
            texts = {
                name: options[name] for name in options if isinstance(self.given_options[name], Template)
            }
            options |= systems.from_text(url, texts)
            fs, path = systems.opened(url, options)
        else:
            fs = systems.again(fs, self._made_in)
            path = fs._strip_protocol(url)
        if self.option("create"):
            fs.makedirs(path, exist_ok=True)
        driver = self._driver(fs, path)
        if self.option("mode") == "r":
            driver.capabilities = driver.capabilities.read_only()
        elif self.option("check"):
            driver.write_many({"zarrv3-check": b""})
            driver.write_many({"zarrv3-check": None})
        return driver

    def _driver(self, fs: Any, path: str) -> FSDriver | DirectoryDriver:
        lower, missing = self.option("normalize_keys"), classes_of(self.option("missing_exceptions"))
        fs, path = systems.unwrapped(fs, path)
        if _is_local(fs):
            return DirectoryDriver(path, lower=lower, fsync=False, follow_symlinks=True)
        is_web = systems.protocol_of(fs) in {"http", "https"}
        root, _, query = path.partition("?") if is_web else (path, "", "")
        root = root.rstrip("/")
        base = f"{root}/" if root else fs.root_marker
        files, can = self._access(fs, base, missing, query)
        cls = SwappingFSDriver if can.swap else FSDriver
        return cls(files, base, can, lower=lower, quoted=is_web)

    def _access(self, fs: Any, base: str, missing: Any, query: str) -> tuple[Any, Capabilities]:
        """The access to files, and the capabilities."""
        protocol = systems.protocol_of(fs)
        can = Capabilities(
            write=True, erase=True, list=True, native_ranges=True, shared=True, persistent=True, durable=True
        )
        if systems.is_read_only(fs):
            can = can.read_only()
        if isinstance(fs, MemoryFileSystem):
            can = replace(can, swap=True, swap_erases=True, shared=False, persistent=False, durable=False)
            return MemoryAccess(fs, base, missing), can
        if isinstance(fs, WholeFileCacheFileSystem):
            return CopiesAccess(fs, base, missing), can.without("native_ranges")
        if not systems.is_object_store(fs):
            return (FTPAccess if protocol == "ftp" else FileAccess)(fs, base, missing), can
        if protocol in {"http", "https"}:
            from zarrv3_store_fsspec.http import HTTPAccess

            return HTTPAccess(fs, missing, query), can.without("list")
        if protocol in {"s3", "s3a"} and hasattr(fs, "_call_s3"):
            return self._s3(fs, base, missing, can)
        return (ReferenceAccess if protocol == "reference" else ObjectAccess)(fs, missing), can

    def _s3(self, fs: Any, base: str, missing: Any, can: Capabilities) -> tuple[Access, Capabilities]:
        from zarrv3_store_fsspec.s3 import S3Access, is_amazons

        if "/" not in base:
            raise ConfigurationError("S3 needs the name of a bucket: s3://bucket/path")
        conditional = self.option("conditional_writes")
        most = _S3_KEY - len(base.partition("/")[2].encode())
        swap = is_amazons(fs) if conditional is None else conditional
        return S3Access(fs, missing), replace(
            can, swap=swap, swap_erases=swap, limits=Limits(key_bytes=max(1, most))
        )

    def address(self, folder: str) -> Address:
        """See `BaseStore`; without the server."""
        fs, url = systems.unwrapped(self.option("fs"), self.option("url"))
        protocol, _, path = url.rpartition("://")
        if _is_local(fs) if fs is not None else protocol in {"", "file", "local"}:
            root = LocalFileSystem._strip_protocol(url)
            return Address(os.path.join(root, folder), None)  # noqa: PTH118 - a text is wanted
        return Address(None, f"{path.strip('/')}/{folder}")

    def below(self, folder: str) -> tuple[BaseStore, str]:
        """See `BaseStore`: what a chained URL leads to, such as the files behind a cache."""
        first, chained, rest = str(self.option("url")).partition("::")
        if not chained:
            return self, folder
        options = self.given_options.get(split_protocol(rest.partition("::")[0])[0] or "", {})
        inside = first.partition("://")[2].strip("/")
        return FSStore(rest, **options), f"{inside}/{folder}" if inside else folder

    def describe(self) -> str:
        """The options; of a file system object, only its class."""
        text = super().describe()
        fs = self.given_options["fs"]
        return text if fs is None else text.replace(repr(fs), f"<{type(fs).__name__}>")

    def secrets(self) -> list[str]:
        """Those of the options, and of a file system object."""
        fs = self.given_options["fs"]
        return super().secrets() + ([] if fs is None else secrets_of(fs.storage_options))

    def plain_error(self, error: Exception) -> Exception:
        """The Python exception equivalent to a library's."""
        protocol = str(self.given_options["url"]).partition("://")[0]
        options = {name: self.given_options[name] for name in self._storage}
        return plain(error, systems.time_outs(protocol, options))


def _is_local(fs: Any) -> bool:
    return isinstance(fs, LocalFileSystem) and systems.protocol_of(fs) == "file"
