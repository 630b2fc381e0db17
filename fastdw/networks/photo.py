"""Photos as inputs of networks, and the labels of what comes out."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from fastdw.networks.graph import Quantization
from fastdw.networks.windows import Shape

MODES = {1: "L", 3: "RGB"}


def load_photo(
    path: str | PathLike[str],
    shape: Shape,
    quantization: Quantization | None = None,
    *,
    pixel_range: tuple[float, float] = (0.0, 1.0),
) -> np.ndarray:
    """A photo, resized to fit the input of a network.

    Args:
      path: any image that Pillow reads.
      shape: [1, height, width, channels] of the input; 1 channel is grey, 3 are red, green, blue.
      quantization: the input's, in a quantised model: value = (pixel - zero_point) * scale, where an int8 pixel is the uint8 one - 128.
      pixel_range: otherwise, the values that black and white have.

    Returns:
      float32 of `shape`.

    Raises:
      OSError: the file cannot be read.
      ImportError: Pillow is missing.
      ValueError: the file is no photo, or the input takes none.
    """
    if len(shape) != 4 or shape[0] != 1 or shape[3] not in MODES:
        raise ValueError(f"photo: got a network with input {shape}; expected one of [1, height, width, 1 or 3] for a photo")
    pixels = read_pixels(Path(path), MODES[shape[3]], (shape[2], shape[1])).reshape(shape)
    if quantization is None:
        low, high = pixel_range
        return np.float32(low) + pixels * np.float32((high - low) / 255)
    if quantization.dtype.itemsize != 1:
        raise ValueError(f"photo: got a network with input {quantization.dtype}; expected float32, int8 or uint8")
    lowest = np.iinfo(quantization.dtype).min
    return (pixels + np.float32(lowest - quantization.zero_point)) * np.float32(quantization.scale)


def read_pixels(path: Path, mode: str, size: tuple[int, int]) -> np.ndarray:
    """float32 of 0 to 255"""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise ImportError("pillow: got no such package; expected it installed, by pip install fastdw[models]") from None
    with path.open("rb") as file:
        try:
            image = ImageOps.exif_transpose(Image.open(file)).convert(mode).resize(size)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            reason = str(error).partition("<")[0].strip().removesuffix(" file")
            raise ValueError(f"{path}: got a file that is no photo ({reason}); expected an image that Pillow reads") from error
    return np.asarray(image, np.float32)


def load_labels(path: str | PathLike[str], n_classes: int) -> list[str]:
    """The lines of a labels file, one for each class."""
    try:
        labels = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: got bytes that are no UTF-8 text; expected one label a line") from None
    if len(labels) != n_classes:
        raise ValueError(f"{path}: got {len(labels)} labels; expected {n_classes}, one for each class of the network")
    return labels
