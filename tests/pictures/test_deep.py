"""Deep pictures are shown by the range that the file or its type states, and noted where they fill little of it."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from transflow.pictures.decode import read
from transflow.pictures.deep import DeepPictureWarning
from transflow.pictures.preprocess import preprocess
from transflow.pictures.reduced import reduced

SHAPE = (1, 16, 16)
RAMP = np.tile(np.linspace(0, 1, 16), (16, 1))
LEVELS = RAMP[0] * 255
SHORT, FLOAT = 3, 11  # of TIFF's types


def tiff(data, bits, kind=1, stated=(), black=1):
    """A grey TIFF of 16 x 16 of raw data; `stated` has tags, their types and values; 0 is black, or white."""
    entries = [(256, SHORT, 16), (257, SHORT, 16), (258, SHORT, bits), (259, SHORT, 1), (262, SHORT, black)]
    entries += [(273, 4, 8), (278, SHORT, 16), (279, 4, len(data)), (339, SHORT, kind), *stated]
    packed = [
        struct.pack("<HHI", tag, type_, 1) + struct.pack({SHORT: "<HH", 4: "<I", FLOAT: "<f"}[type_], *value(type_, v))
        for tag, type_, v in sorted(entries)
    ]
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", len(packed)) + b"".join(packed)


def value(type_, number):
    return (number, 0) if type_ == SHORT else (number,)


def packed_12(values):
    pairs = values.astype(int).reshape(-1, 2)
    return b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs.tolist())


def png(values, significant=None):
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(buffer, "PNG")
    content = buffer.getvalue()
    if significant is None:
        return content
    chunk = b"sBIT" + bytes([significant])
    return content[:33] + struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:]


def shown(tmp_path, content, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    return read(path, SHAPE).pixels[0, 0].numpy().astype(float)


TWELVE = (RAMP * 4095).round()
HIGHEST = (341, SHORT, 4095)
WHOLE = {  # files that state a range, or whose type does, and that fill it: the whole of black to white, no note
    "16 bits": (lambda: png(RAMP * 65535), "png"),
    "12 bits by BitsPerSample": (lambda: tiff(packed_12(TWELVE), 12), "tif"),
    "12 bits by SMaxSampleValue": (lambda: tiff(TWELVE.astype("<u2").tobytes(), 16, stated=[HIGHEST]), "tif"),
    "12 bits by MaxSampleValue": (lambda: tiff(TWELVE.astype("<u2").tobytes(), 16, stated=[(281, SHORT, 4095)]), "tif"),
    "12 bits by sBIT": (lambda: png(TWELVE, 12), "png"),
    "12 bits scaled by their writer": (lambda: png(TWELVE * 16, 12), "png"),
    "floats": (lambda: tiff(RAMP.astype("<f4").tobytes(), 32, 3), "tif"),
    "floats to 255": (lambda: tiff((RAMP * 255).astype("<f4").tobytes(), 32, 3), "tif"),
    "floats to 65535": (lambda: tiff((RAMP * 65535).astype("<f4").tobytes(), 32, 3), "tif"),
    "floats with a range": (
        lambda: tiff((RAMP * 4 - 2).astype("<f4").tobytes(), 32, 3, [(340, FLOAT, -2.0), (341, FLOAT, 2.0)]), "tif"),
    "32 bits": (lambda: tiff((RAMP * (2**32 - 1)).astype("<u4").tobytes(), 32), "tif"),
    "32 bits with a sign": (lambda: tiff((RAMP * (2**31 - 1)).astype("<i4").tobytes(), 32, 2), "tif"),
    "32 bits of which 16 are used": (lambda: tiff((RAMP * 65535).astype("<i4").tobytes(), 32, 2), "tif"),
    "16 bits with a sign": (lambda: tiff((RAMP * 65535 - 32768).astype("<i2").tobytes(), 16, 2), "tif"),
    "16 bits with a sign, and none": (lambda: tiff((RAMP * 32767).astype("<i2").tobytes(), 16, 2), "tif"),
}  # fmt: skip


@pytest.mark.parametrize("case", WHOLE)
def test_a_range_that_is_stated_is_black_to_white(tmp_path, case):
    make, suffix = WHOLE[case]
    assert np.abs(shown(tmp_path, make(), suffix) - LEVELS).max() <= 1


LITTLE = {
    "Hounsfield units": (lambda: tiff((TWELVE - 1024).astype("<i2").tobytes(), 16, 2), "tif", "from -32768 to 32767"),
    "12 bits in 16": (lambda: png(TWELVE), "png", "from 0 to 4095 in a range from 0 to 65535"),
    "12 bits in a TIFF of 16": (lambda: tiff(TWELVE.astype("<u2").tobytes(), 16), "tif", "from 0 to 4095"),
    "floats to 4095": (lambda: tiff(TWELVE.astype("<f4").tobytes(), 32, 3), "tif", "from 0 to 65535"),
    "32 bits to 4095": (lambda: tiff(TWELVE.astype("<i4").tobytes(), 32, 2), "tif", "the usual one that holds it"),
    "floats to a million": (lambda: tiff((RAMP * 1e6).astype("<f4").tobytes(), 32, 3), "tif", "which it alone has"),
    "beyond what is stated": (
        lambda: tiff((TWELVE * 2).astype("<u2").tobytes(), 16, stated=[HIGHEST]), "tif", "to 8190 in a range .* 4095"),
}  # fmt: skip


@pytest.mark.parametrize("case", LITTLE)
def test_what_fills_little_of_its_range_is_noted_by_name(tmp_path, case):
    make, suffix, words = LITTLE[case]
    with pytest.warns(DeepPictureWarning, match=rf"a\.{suffix}, values {'' if 'from' in words else '.*'}.*{words}"):
        found = shown(tmp_path, make(), suffix)
    assert len(np.unique(found)) >= 8  # of 16 shades


def test_a_flat_picture_is_noted_only_where_it_could_pass_for_black(tmp_path):
    for value in (0, 0xABCD, 65535):
        shown(tmp_path, png(np.full((16, 16), value)), "png")
    with pytest.warns(DeepPictureWarning, match="from 4095 to 4095"):
        shown(tmp_path, png(np.full((16, 16), 4095)), "png")


def test_one_of_many_is_named(tmp_path):
    for i in range(40):
        (tmp_path / f"{i}.png").write_bytes(png(TWELVE))
    with pytest.warns(DeepPictureWarning) as caught:
        read(tmp_path, SHAPE)
    assert len(caught) == 1


def test_deep_colour_is_noted(tmp_path):
    """Pillow gives the upper 8 of 16 bits."""
    colours = np.repeat(TWELVE[:, :, None], 3, 2).reshape(16, -1).astype(">u2")
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in colours))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)),
        (b"IDAT", rows),
        (b"IEND", b""),
    ]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    with pytest.warns(DeepPictureWarning, match="upper 8 of 16 bits"):
        shown(tmp_path, content, "png")


def test_numbers_that_are_none_are_black_and_infinity_is_white(tmp_path):
    values = RAMP.astype("<f4")
    values[0, 5], values[1, 5], values[2, 5] = np.nan, np.inf, -np.inf
    found = shown(tmp_path, tiff(values.tobytes(), 32, 3), "tif")
    assert found[:3, 5].tolist() == [0, 255, 0]
    assert np.abs(found[3:] - LEVELS).max() <= 1


@pytest.mark.parametrize("stated", [float("nan"), float("inf"), -1.0, 0.0])
def test_a_range_that_is_none_is_not_stated(tmp_path, stated):
    found = shown(tmp_path, tiff(RAMP.astype("<f4").tobytes(), 32, 3, [(341, FLOAT, stated)]), "tif")
    assert np.abs(found - LEVELS).max() <= 1


def test_a_deep_picture_is_turned_as_its_file_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray((RAMP * 65535).astype(np.uint16)).save(buffer, "PNG", exif=exif)
    found = shown(tmp_path, buffer.getvalue(), "png")
    assert np.abs(found - LEVELS[:, None]).max() <= 1


def test_arrays_of_sixteen_bits_are_taken_and_others_say_how():
    deep = (RAMP * 65535).astype(np.uint16)
    assert np.abs(preprocess(deep[None], SHAPE)[0, 0].numpy() - LEVELS).max() <= 1
    assert preprocess(np.repeat(deep[None, :, :, None], 3, 3), (3, 16, 16)).shape == (1, 3, 16, 16)
    with pytest.warns(DeepPictureWarning, match="uint16"):
        preprocess((TWELVE).astype(np.uint16)[None], SHAPE)
    with pytest.warns(DeepPictureWarning, match="number 2 of 2"):
        preprocess([Image.fromarray(deep), Image.fromarray(TWELVE.astype(np.uint16))], SHAPE)
    with pytest.raises(TypeError, match=r"float64 up to 4095.*255 / TOP"):
        preprocess(TWELVE[None], SHAPE)
    with pytest.raises(TypeError, match=r"float64\. For pictures in \[0, 1\]"):
        preprocess(RAMP[None], SHAPE)


def test_a_command_notes_it_on_one_line(tmp_path, model_file, capsys):
    from transflow.cli import main

    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(png(TWELVE))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["score", str(tmp_path), "-m", str(model_file)]) == 0
    noted = [line for line in capsys.readouterr().err.splitlines() if "deep" in line]
    assert len(noted) == 1
    assert noted[0].startswith("transflow: note: A deep picture")
    assert "0.png" in noted[0]


@pytest.mark.parametrize("bits", [8, 16])
def test_where_0_is_white_it_is_white_whatever_the_depth(bits, tmp_path):
    values = np.random.default_rng(0).integers(0, 2**bits, (16, 16)).astype(f"<u{bits // 8}")
    values[0, :2] = 0, 2**bits - 1
    shown = []
    for black in (1, 0):
        path = tmp_path / f"{black}.tif"
        path.write_bytes(tiff(values.tobytes(), bits, black=black))
        shown.append(read([path], SHAPE).pixels[0, 0])
    assert shown[0][0, :2].tolist() == [0, 255]
    assert torch.equal(shown[1], 255 - shown[0])


def test_a_reduced_picture_is_as_deep_as_the_file_states(tmp_path):
    """12 significant bits, not scaled to 16, as `read` takes them, too."""
    path = tmp_path / "twelve.png"
    content = png(TWELVE, 12)
    path.write_bytes(content)
    found = reduced(path, path.name, most_bytes=10**6, most_pixels=10**6)
    assert np.array_equal(np.asarray(found), read([path], SHAPE).pixels[0, 0].numpy())
    assert np.asarray(found).max() == 255
