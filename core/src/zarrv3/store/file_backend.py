"""Backends that keep their data in a file or folder of this machine."""

from __future__ import annotations

import os
from typing import Annotated, Any, ClassVar, TypeAlias

from zarrv3.errors import ConfigurationError
from zarrv3.options.declared import Option
from zarrv3.options.urls import Url, local_path
from zarrv3.store.backend import Backend
from zarrv3.store.base import Address

FilePath: TypeAlias = Annotated[
    str | os.PathLike[str], Option("the path of the file or folder, which need not exist yet")
]
"""The option `path`."""


class FileBackend(Backend):
    """The base class of stores whose first option is a path; `<kind>:///absolute/path` opens them.

    `~` is expanded at once, so that the store stays the same when the home folder changes; a relative path is taken from
    the folder that is current when the store is first used.

    A subclass's first option is `path: FilePath`, or annotated with a help of its own.
    """

    example_name: ClassVar[str] = "data"
    """What the file or folder of the example is called."""

    def __init__(self, path: FilePath, **options: Any) -> None:
        text: Any = os.fspath(path) if isinstance(path, os.PathLike) else path
        if isinstance(text, str):
            try:
                encoded = os.fsencode(text)
            except UnicodeEncodeError:
                encoded = b"\0"
            if b"\0" in encoded:
                raise ConfigurationError(
                    f"{text!r} is not the path of a file: it has characters that no path has"
                )
            # PTH111: stays what it is, a template or plain text
            text = type(text)(os.path.expanduser(text))  # noqa: PTH111
        super().__init__(path=text, **options)

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        """The path of `<kind>:///absolute/path`."""
        return {"path": local_path(url)}

    @classmethod
    def example_url(cls, folder: str) -> str:
        """A new store in the folder."""
        from pathlib import Path

        return Path(folder, cls.example_name).absolute().as_uri().replace("file:", f"{cls.kind}:", 1)

    @property
    def path(self) -> str:
        """The absolute path of the file or folder."""
        path: str = self.option("path")
        return os.path.abspath(path)  # noqa: PTH100 - the user's spelling, links kept

    def identity(self) -> Any:
        """See `BaseStore`; with the absolute path."""
        return {**self.changed_options(), "path": self.path}

    def address(self, folder: str) -> Address:
        """See `BaseStore`; all keys are in the file."""
        return Address(self.path, folder)
