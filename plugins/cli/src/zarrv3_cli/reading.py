"""`cat`: values of an array."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from typer.core import TyperCommand

import zarrv3
from zarrv3_cli import output
from zarrv3_cli.arguments import AsJson, Location, Options, Path
from zarrv3_cli.places import place

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrv3.hierarchy.array import Array
    from zarrv3_cli.selections import Full


class Selecting(TyperCommand):
    """A command that takes a selection, which may begin with a minus: `-1,:`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as usual, after putting such a selection into brackets, so that it does not look like an option."""
        taking = {name for one in self.params if not getattr(one, "is_flag", True) for name in one.opts}
        before = ["", *args]
        return super().parse_args(
            ctx,
            [
                f"[{text}]" if NEGATIVE.fullmatch(text) and last not in taking else text
                for last, text in zip(before, args, strict=False)
            ],
        )


NEGATIVE = re.compile(r"-\d[-\d\s:,.]*")


def cat(
    url: Location,
    selection: Annotated[
        str, typer.Argument(metavar="[SELECTION]", help="As in numpy: 10:90,:,3", show_default=False)
    ] = "...",
    path: Path = "",
    npy: Annotated[
        str | None,
        typer.Option("--npy", metavar="FILE", help="Write a .npy file; - is stdout.", show_default=False),
    ] = None,
    picture: Annotated[
        bool, typer.Option("--picture", help="Draw two-dimensional data, small enough for the terminal.")
    ] = False,
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """Write values of an array as text, JSON, .npy or a picture.

    Text has one element or row per line, tabs between elements, and empty lines between tables.
    """
    import numpy as np

    from zarrv3_cli import selections, texts

    if (npy is not None) + picture + as_json > 1:
        raise typer.BadParameter("--npy, --picture and --json exclude each other", param_hint="'--npy'")
    try:
        wanted = selections.parse(selection)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'SELECTION'") from error
    here = place(url, option, path)
    with here.opener() as store:
        array = zarrv3.open_array(store, mode="r", path=here.path)
        full = selections.complete(wanted, array.shape)
        if picture:
            _draw(array, full)
        elif as_json:
            output.document(texts.plain(np.asarray(array[full])))
        elif npy is not None:
            _save(array, full, npy)
        else:
            sys.stdout.writelines(f"{text}\n" for text in texts.lines(_parts(array, full)))


def _parts(array: "Array", full: "Full") -> "Iterator[NDArray[Any]]":
    """What is selected in parts of whole chunks, so that memory stays bounded."""
    import numpy as np

    from zarrv3_cli import selections

    for part in selections.cut(full, array.shape, array.layout.stored):
        yield np.asarray(array[part])


def _draw(array: "Array", full: "Full") -> None:
    import numpy as np

    from zarrv3_cli import pictures, selections

    shape = selections.lengths(full, array.shape)
    colour = pictures.is_colour(shape, array.dtype)
    if array.dtype.kind not in "biufc" or not (len(shape) == 2 or colour) or 0 in shape:
        raise zarrv3.errors.SelectionError(
            f"a picture is made of numbers in two dimensions (or three with 3 or 4 colours), not of {array.dtype} "
            f"in the shape {shape}; select two: 0,:,:"
        )
    rows, columns = pictures.room()
    small = np.asarray(array[selections.thinned(full, array.shape, (rows, columns, 4))])
    if output.on_terminal():
        pictures.draw(small if colour else pictures.grey(small))
    else:
        brightness = small[:, :, :3].mean(axis=2) if colour else small
        for text in pictures.ascii_lines(pictures.grey(brightness)):
            output.line(text)


def _save(array: "Array", full: "Full", target: str) -> None:
    """Write a `.npy` file, part by part where every element has one size."""
    if target == "-":
        if output.on_terminal():
            raise typer.BadParameter("a terminal cannot show a .npy file", param_hint="'--npy'")
        _write(sys.stdout.buffer, array, full)
        return
    with _whole(FilePath(target)) as file:
        _write(file, array, full)


def _write(file: BinaryIO, array: "Array", full: "Full") -> None:
    import numpy as np

    from zarrv3_cli import selections, texts

    if array.dtype.hasobject:  # of varying length
        np.lib.format.write_array(file, texts.fixed(np.asarray(array[full])), allow_pickle=False)
        return
    header = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": selections.lengths(full, array.shape),
    }
    np.lib.format.write_array_header_2_0(file, header)
    file.writelines(np.ascontiguousarray(part).tobytes() for part in _parts(array, full))


@contextmanager
def _whole(path: FilePath) -> Iterator[BinaryIO]:
    """A file that appears at a path when the block has ended well, and not at all otherwise."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        FilePath(name).chmod(0o666 & ~umask)
        FilePath(name).replace(path)
    except BaseException:
        with suppress(OSError):
            FilePath(name).unlink()
        raise
