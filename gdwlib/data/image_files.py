"""Image files of any kind into arrays: JPEG, PNG, …; RGB, grey, palette, transparent, 16 bits,
turned by EXIF."""

import contextlib
import hashlib
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from gdwlib.data.errors import DataError

GREY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")
# Pictures and nothing else: Pillow would hand an EPS file, which is a program, to Ghostscript
FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "TGA", "JPEG2000", "AVIF", "HEIF"),
    *("ICO", "PCX", "SGI", "DDS"),
)
MOST_PIXELS = 89_000_000  # what Pillow itself starts to warn at
LARGE = 8_000_000  # pixels of an image beside which no other large one is decoded
STRIP = 2**20  # pixels that are brought to 8 bits at a time
NAMED = 5  # bad files of which a message says the names


NOT_UTF8 = "its name is not UTF-8; rename it"


def is_utf8(name: str) -> bool:
    """Not so where the system gave bytes that are none."""
    return name == printable(name)


def printable(name: str) -> str:
    """A file's name with what is not UTF-8 in it as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


class UnusableFile(NamedTuple):
    """A file that cannot be used, and why."""

    name: str
    why: str


_one_large = threading.Lock()


def _opened(path: Path) -> Image.Image:
    """Its header. OSError where it is no regular file: a pipe or a device might never end."""
    if not path.is_file():
        raise FileNotFoundError if not path.exists() else OSError("not a regular file")
    Image.init()
    return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])


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
        with _opened(path) as file:
            if file.width * file.height > MOST_PIXELS:
                raise Image.DecompressionBombError
            if at_least is not None:
                file.draft(None, (at_least, at_least))
            large = file.width * file.height > LARGE
            with _one_large if large else contextlib.nullcontext():
                file.load()
                return _flat(ImageOps.exif_transpose(file))
    except FileNotFoundError:
        raise OSError("missing") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise OSError(f"more than {MOST_PIXELS // 10**6} million pixels; make it smaller") from None
    except Exception as error:  # damaged files make its decoders raise much else
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.strerror) from None
        if str(error) == "not a regular file":
            raise
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
    """Mode L or RGB; a strip at a time, so that a large image takes little more memory than its
    pixels."""
    grey, (width, height) = image.mode in GREY, image.size
    if image.mode in ("L", "RGB") and not image.has_transparency_data:
        return image.copy()  # its file will be closed
    # 16 or 32 bits a pixel: convert() would clip
    wide = image.mode in ("I", "F") or image.mode.startswith("I;16")
    out = Image.new("L" if grey or wide else "RGB", image.size)
    rows = max(1, STRIP // width)
    boxes = [(0, y, width, min(y + rows, height)) for y in range(0, height, rows)]
    low, top = _range(image, boxes) if wide else (0.0, 0.0)
    for box in boxes:
        strip = image.crop(box)
        if wide:
            values = np.asarray(strip, np.float64)
            values = (values - low) * (255 / max(top - low, 1e-12))
            strip = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
        elif strip.has_transparency_data:
            rgba = strip.convert("RGBA")
            strip = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
            strip = strip.convert("RGB")
        out.paste(strip.convert(out.mode), box[:2])
    return out


def _range(image: Image.Image, boxes: Sequence[tuple]) -> tuple[float, float]:
    """The values of a 16- or 32-bit image that become 0 and 255."""
    strips = [np.asarray(image.crop(box)) for box in boxes]
    least, most = (float(of([of(strip) for strip in strips])) for of in (np.min, np.max))
    if image.mode == "F" or most > 65535 or least < 0:
        return least, most
    return 0.0, 255.0 if most <= 255 else 65535.0


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
        with _opened(path) as file:
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
            if not is_utf8(str(path)):
                return OSError(NOT_UTF8)
            content = hashlib.blake2b(path.read_bytes() if path.is_file() else b"").digest()
            return squeezed(open_image(path), size, channels), content
        except OSError as error:
            return error

    with quiet(), ThreadPoolExecutor() as pool:
        found = list(pool.map(one, paths))
    bad = [
        UnusableFile(printable(name), str(item))
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
