"""Two-dimensional data as a small picture in the terminal."""

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

RAMP = " .:-=+*#%@"
"""From dark to bright, where there are no colours."""

HALF = "▀"
"""Its foreground is one pixel, its background the one below."""


def room() -> tuple[int, int]:
    """How many rows and columns of pixels the terminal has room for."""
    columns, lines = shutil.get_terminal_size((80, 24))
    return max(2, 2 * (lines - 2)), max(2, columns)


def is_colour(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether data are red, green and blue (and perhaps opacity) in a last dimension."""
    return len(shape) == 3 and shape[2] in {3, 4} and dtype == np.uint8


def grey(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers as brightness: the smallest finite one is 0, the largest 255; what is not finite is 0."""
    numbers = np.abs(values) if values.dtype.kind == "c" else values
    numbers = numbers.astype(np.float64)
    finite = np.isfinite(numbers)
    if not finite.any():
        return np.zeros(numbers.shape, np.uint8)
    low, high = numbers[finite].min() / 2, numbers[finite].max() / 2  # halves: their difference is finite
    scale = (high - low) or 1.0
    shown: NDArray[np.uint8] = (
        (np.where(finite, (numbers / 2 - low) / scale, 0) * 255).round().astype(np.uint8)
    )
    return shown


def ascii_lines(pixels: NDArray[np.uint8]) -> Iterator[str]:
    """Brightness as characters, two rows of pixels per line: what a pipe gets."""
    for row in pixels[::2]:
        yield "".join(RAMP[int(value) * len(RAMP) // 256] for value in row).rstrip()


def draw(pixels: NDArray[np.uint8]) -> None:
    """Print brightness `(rows, columns)` or colours `(rows, columns, 3)` as half blocks."""
    from rich.color import Color
    from rich.console import Console
    from rich.style import Style
    from rich.text import Text

    colours = pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)
    console = Console()
    for top in range(0, len(colours), 2):
        text = Text(no_wrap=True)
        for column in range(colours.shape[1]):
            upper = Color.from_rgb(*map(int, colours[top, column, :3]))
            below = colours[top + 1, column, :3] if top + 1 < len(colours) else None
            lower = None if below is None else Color.from_rgb(*map(int, below))
            text.append(HALF, Style(color=upper, bgcolor=lower))
        console.print(text)
