"""Image files of any kind into arrays: JPEG, PNG, …; RGB, grey, palette, transparent, 16 bits,
turned by EXIF."""

import contextlib
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from gdwlib.data.errors import DataError

GREY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")
MOST_PIXELS = 89_000_000  # what Pillow itself starts to warn at
NAMED = 5  # bad files of which a message says the names


class UnusableFile(NamedTuple):
    """A file that cannot be used, and why."""

    name: str
    why: str


def open_image(path: Path, at_least: int | None = None) -> Image.Image:
    """The image, upright and wholly decoded, in mode L where it is grey and RGB elsewhere;
    transparent parts white.

    Args:
        at_least: a JPEG may be decoded smaller, which is faster, but with both sides of so many
            pixels or more.

    Raises:
        OSError: missing, empty, truncated, or no image, in a few words.
    """
    try:
        with Image.open(path) as file:
            if file.width * file.height > MOST_PIXELS:
                raise Image.DecompressionBombError
            if at_least is not None:
                file.draft(None, (at_least, at_least))
            file.load()
            return _flat(ImageOps.exif_transpose(file))
    except FileNotFoundError:
        raise OSError("missing") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise OSError(f"more than {MOST_PIXELS // 10**6} million pixels; make it smaller") from None
    except Exception as error:  # damaged files make its decoders raise much else
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.strerror) from None
        empty = path.stat().st_size == 0
        raise OSError(
            "empty file" if empty else f"truncated or no image ({_short(error)})"
        ) from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings about odd metadata and large images; once around all threads, since filters are
    global."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _flat(image: Image.Image) -> Image.Image:
    # 16 or 32 bits a pixel: convert() would clip
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image, np.float64)
        low, top = 0.0, values.max()
        if image.mode == "F" or top > 65535 or values.min() < 0:
            low = values.min()
        else:
            top = 255.0 if top <= 255 else 65535.0
        return Image.fromarray(
            ((values - low) * (255 / max(top - low, 1e-12))).round().clip(0, 255).astype(np.uint8)
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        flat = Image.alpha_composite(white, rgba).convert("RGB")
        return flat.convert("L") if image.mode in GREY else flat
    return image.convert("L" if image.mode in GREY else "RGB")


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return "not of a known format" if text.startswith("cannot identify") else text[:60]


def squeezed(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """The whole image squeezed to size × size pixels, (channels, size, size) uint8."""
    image = image.convert("L" if channels == 1 else "RGB").resize(
        (size, size), Image.Resampling.BILINEAR
    )
    array = np.asarray(image)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def is_grayscale(path: Path) -> bool | None:
    """By the file's header; None where it is no image."""
    try:
        with Image.open(path) as file:
            return file.mode in GREY
    except Exception:  # as above
        return None


def read(
    paths: Sequence[Path], names: Sequence[str], size: int, channels: int
) -> tuple[np.ndarray, list, list[UnusableFile]]:
    """All images, decoded by as many threads as there are cores.

    Returns:
        images (n, channels, size, size) uint8 of those that could be read; of every path a digest
        of the file, None where it could not; and the bad ones by name.
    """

    def one(path: Path) -> tuple[np.ndarray, bytes] | OSError:
        try:
            content = hashlib.blake2b(path.read_bytes() if path.is_file() else b"").digest()
            return squeezed(open_image(path), size, channels), content
        except OSError as error:
            return error

    with quiet(), ThreadPoolExecutor() as pool:
        found = list(pool.map(one, paths))
    bad = [
        UnusableFile(name, str(item))
        for name, item in zip(names, found, strict=True)
        if isinstance(item, OSError)
    ]
    good = [item[0] for item in found if not isinstance(item, OSError)]
    images = np.stack(good) if good else np.empty((0, channels, size, size), np.uint8)
    return images, [None if isinstance(item, OSError) else item[1] for item in found], bad


def refuse(
    where: object, bad: Sequence[UnusableFile], of: int, what: str, skip_bad: bool | None
) -> str:
    """A line that counts and names what cannot be used: raised as DataError, unless to be skipped
    ("" if none). skip_bad=None: of a kind that is never skipped."""
    if not bad:
        return ""
    names = "; ".join(f"{name}: {why}" for name, why in bad[:NAMED])
    more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    text = f"{where}: {len(bad)} of {of} {what} cannot be used: {names}{more}"
    if skip_bad is None:
        raise DataError(f"{text}. Correct or remove them; --skip-bad is for files, not for labels")
    if not skip_bad:
        raise DataError(
            f"{text}. Mend or remove them, or leave them out with --skip-bad (skip_bad=True)"
        )
    return f"{text}; left out"
