"""Folders of images from strangers: nothing in them is executed, and nothing takes all memory."""

import os
import resource
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

import gdwlib
from gdwlib.data import DataError, image_files
from gdwlib.data.image_files import open_image


def picture(path, value=120):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(value).integers(0, 60, (16, 16, 3))
    Image.fromarray((value + noise).astype(np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    for k in range(12):
        picture(tmp_path / "images" / "cat" / f"{k}.png", 10 + k)
        picture(tmp_path / "images" / "dog" / f"{k}.png", 180 + k)
    return tmp_path / "images"


def trained(folder, **fields):
    config = gdwlib.RunConfig(
        dataset="folder", data_folder=str(folder), trusted="3", preset="smoke", epochs=1, **fields
    )
    return gdwlib.run(config, outputs=folder.parent / "outputs", progress=False)


@pytest.mark.parametrize("name", ["w.jpg", "w.eps", "w.png", "w.ps"])
def test_a_program_is_no_picture(folder, name):
    marker = folder.parent / "executed"
    program = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({marker}) (w) file closefile\n"
    record = trained(folder)
    path = folder / "cat" / name
    path.write_text(program)
    with pytest.raises(OSError, match="not of a known format"):
        open_image(path)
    if path.suffix in (".jpg", ".png"):
        with pytest.raises(DataError, match=rf"{name}: truncated or no image"):
            trained(folder, seed=1)
        with pytest.raises(DataError, match=rf"{name}: truncated or no image"):
            gdwlib.predict(record, folder)
    found, _ = gdwlib.predict(record, folder, skip_bad=True)
    assert len(found) == 24 and not marker.exists()


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_never_ends_is_no_picture(folder, kind):
    record = trained(folder)
    path = folder / "cat" / "endless.png"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    found, ended = [], threading.Event()

    def look():
        for use in (lambda: trained(folder, seed=1), lambda: gdwlib.predict(record, folder)):
            try:
                use()
            except DataError as error:
                found.append(str(error))
        ended.set()

    threading.Thread(target=look, daemon=True).start()
    assert ended.wait(60)
    assert len(found) == 2 and all("endless.png: not a regular file" in text for text in found)


def png(path, width, height, kind):
    """Of one colour, as its few bytes: kind 2 is RGB, 6 RGBA, both of 8 bits."""
    row = b"\0" + bytes(width * {2: 3, 6: 4}[kind])
    packer, parts = zlib.compressobj(9), []
    parts += [packer.compress(row) for _ in range(height)] + [packer.flush()]

    def chunk(name, content):
        body = name + content
        return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, kind, 0, 0, 0])
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", b"".join(parts))
        + chunk(b"IEND", b"")
    )


def test_small_files_of_large_images_are_decoded_one_by_one(tmp_path):
    """Four of 36 million pixels with transparency, 144 MB each when decoded."""
    for k in range(4):
        png(tmp_path / f"{k}.png", 6000, 6000, 6)
    assert all((tmp_path / f"{k}.png").stat().st_size < 300_000 for k in range(4))
    code = (
        "import sys, resource; from pathlib import Path; from gdwlib.data import image_files;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "paths = sorted(Path(sys.argv[1]).glob('*.png'));"
        "images, _, bad = image_files.read(paths, [p.name for p in paths], 32, 3);"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "print(images.shape, len(bad), (after - before) // 1024)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    shape, _, rest = out.stdout.partition(") ")
    bad, mebibytes = map(int, rest.split())
    assert shape.startswith("(4, 3") and bad == 0
    assert mebibytes < 1200  # one, what it becomes, and what the allocator has not given back


def test_too_many_pixels_are_refused_by_the_header(tmp_path):
    png(tmp_path / "huge.png", 10_000, 9_500, 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(OSError, match="more than 89 million pixels"):
        open_image(tmp_path / "huge.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


@pytest.mark.parametrize("mode", "1 L LA P RGB RGBA CMYK I;16 I;16B I F".split())
def test_strips_are_the_whole(tmp_path, monkeypatch, mode):
    draw = np.random.default_rng(0)
    values = draw.integers(0, 60_000, (50, 40))
    if mode in ("I", "F"):
        image = Image.fromarray(values.astype(np.int32 if mode == "I" else np.float32))
    elif mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16))
    elif mode == "I;16B":  # as microscopes write them
        image = Image.frombytes(mode, (40, 50), values.astype(">u2").tobytes())
    else:
        noise = draw.integers(0, 256, (50, 40, 4)).astype(np.uint8)
        image = Image.fromarray(noise, "CMYK" if mode == "CMYK" else "RGBA").convert(
            "RGB" if mode == "P" else mode
        )
        image = image.convert(mode)
    path = tmp_path / "image.tif"
    image.save(path)
    whole = open_image(path)
    monkeypatch.setattr(image_files, "STRIP", 3 * 40)
    parts = open_image(path)
    assert whole.mode == parts.mode and np.array_equal(np.asarray(whole), np.asarray(parts))


def test_a_name_that_is_not_utf8_is_named_and_can_be_skipped(folder, capfd):
    name = os.fsdecode(b"b\xffd.png")
    picture(folder / "cat" / name, 90)
    with pytest.raises(DataError, match=r"b\\udcffd.png: its name is not UTF-8; rename it"):
        trained(folder)
    record = trained(folder, skip_bad=True)
    assert len(record.examples["ids"]) == 24 - 6  # without the trusted ones
    with pytest.raises(DataError, match="not UTF-8"):
        gdwlib.predict(record, folder)
    assert len(gdwlib.predict(record, folder, skip_bad=True)[0]) == 24
