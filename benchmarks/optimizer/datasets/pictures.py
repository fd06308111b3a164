"""Pictures in files."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def opened(path: Path, mode: str) -> Image.Image:
    """Returns a picture in a mode of Pillow, such as ``L`` for grey.

    Raises:
        ValueError: the file is damaged; the message is one line.
        FileNotFoundError: there is no such file.
    """
    try:
        with Image.open(path) as image:
            return image.convert(mode)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from None
