"""The grid of zarr-extensions, `chunk-grids/rectilinear`, in its only kind so far, `inline`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from zarrv3.errors import MetadataError
from zarrv3.format.cuts import MAX_LENGTH, Cut, Edges
from zarrv3.format.extensions import check_members, choice, integer, integers, shown
from zarrv3.format.grids import ChunkGrid, Shape
from zarrv3.store.contract import JSON


@dataclass(frozen=True)
class RectilinearGrid(ChunkGrid):
    """`rectilinear`: a dimension has chunks of one length, as many as it needs, or chunks whose lengths are listed."""

    cuts: tuple[Cut, ...]

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        owner = f"chunk grid {name!r}"
        check_members(owner, configuration, ["kind", "chunk_shapes"])
        choice(f"{owner}: kind", configuration["kind"], ("inline",))
        shapes = configuration["chunk_shapes"]
        if not isinstance(shapes, list | tuple):
            raise MetadataError(f"{owner}: chunk_shapes must be a list, not {shown(shapes)}")
        return cls(tuple(_cut(f"{owner}: chunk_shapes[{axis}]", value) for axis, value in enumerate(shapes)))

    def to_json(self) -> JSON:
        shapes: list[JSON] = [cut if isinstance(cut, int) else _spelled(cut) for cut in self.cuts]
        return {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": shapes}}

    def resized(self, array_shape: Shape, unit: Shape) -> "RectilinearGrid":
        """Listed chunks that end too early get one more, which ends with the array or, for whole units, soon after it."""
        if len(array_shape) != len(self.cuts):
            return self  # which does not fit
        return RectilinearGrid(tuple(map(_longer, self.cuts, array_shape, unit)))


def _longer(cut: Cut, length: int, unit: int) -> Cut:
    if isinstance(cut, int):
        return cut
    return cut.longer(cut.total - (cut.total - length) // unit * unit)


def _cut(owner: str, value: JSON) -> Cut:
    """A length, or a list of lengths and pairs `[length, how many]`."""
    if not isinstance(value, list | tuple):
        return integer(owner, value, 1, MAX_LENGTH)
    return Edges(tuple(_run(f"{owner}[{index}]", item) for index, item in enumerate(value)))


def _run(owner: str, item: JSON) -> tuple[int, int]:
    if not isinstance(item, Sequence) or isinstance(item, str):
        return integer(owner, item, 1, MAX_LENGTH), 1
    pair = integers(owner, item, 1, MAX_LENGTH)
    if len(pair) != 2:
        raise MetadataError(f"{owner} must be a length or [length, how many], not {shown(item)}")
    return pair[0], pair[1]


def _spelled(edges: Edges) -> JSON:
    """As zarr-python does: every length or, where that is shorter, pairs for the lengths that come more than once in a row."""
    if len(edges.runs) == edges.count:
        return [*edges]
    return [length if count == 1 else [length, count] for length, count in edges.runs]
