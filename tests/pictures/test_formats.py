"""Good pictures are read whatever words are in them; what is none is named by its first bytes, with the way out."""

import io
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from transflow.pictures.decode import read
from transflow.pictures.files import BadPicture
from transflow.pictures.formats import decoded, none_of, without_words
from transflow.pictures.masks import open_picture
from transflow.pictures.reduced import reduced

PIXELS = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)


def png(**options):
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, "PNG", **options)
    return out.getvalue()


def text(add, count=1, length=3_000_000):
    info = PngImagePlugin.PngInfo()
    for i in range(count):
        getattr(info, add)(f"k{i}", "x" * length, zip=True)
    return png(pnginfo=info)


GOOD = {
    "zTXt": lambda: text("add_text"),
    "iTXt": lambda: text("add_itxt"),
    "many": lambda: text("add_text", 80, 1_000_000),
    "iCCP": lambda: png(icc_profile=b"\0" * 3_000_000),
    "after the pixels": lambda: _after(text("add_text")),
}


def _after(content):
    """The same file with its text after its pixels."""
    bare = png()
    at, end = content.index(b"zTXt") - 4, content.index(b"IDAT") - 4
    return bare[:-12] + content[at:end] + bare[-12:]


@pytest.mark.parametrize("case", GOOD)
def test_a_png_with_large_words_is_a_good_picture(case, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(GOOD[case]())
    with pytest.raises(ValueError, match="MAX_TEXT"):
        Image.open(io.BytesIO(path.read_bytes())).load()
    assert np.array_equal(decoded(path.read_bytes(), np.asarray), PIXELS)
    assert np.array_equal(read(path, (3, 16, 16)).pixels[0].permute(1, 2, 0).numpy(), PIXELS)
    assert open_picture(path).size == (16, 16)


def test_only_words_are_taken_out_of_a_png():
    content = png(exif=Image.Exif(), transparency=(1, 2, 3), dpi=(72, 72))
    assert without_words(content) == content
    assert without_words(b"GIF89a") == b"GIF89a"
    assert without_words(content[:30]) == content[:30]


def _zip():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a.png", png())
    return out.getvalue()


def _tar():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        file.addfile(tarfile.TarInfo("a.png"))
    return out.getvalue()


def media(brand, *more):
    brands = b"".join([brand, b"\0\0\0\0", *more])
    return (8 + len(brands)).to_bytes(4, "big") + b"ftyp" + brands + b"\0" * 64


OTHERS = {
    "a git-LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n", "git lfs pull"),
    "a web page": (b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html>\n<title>404 \xc3", "Download"),
    "an XML document": (b'<?xml version="1.0"?><Error><Code>AccessDenied', "Download"),
    "a JSON document": (b'{"error": "no such file"}', "Download"),
    "an SVG drawing": (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "PNG"),
    "a PDF document": (b"%PDF-1.4\n%\xe2\xe3", "pictures"),
    "a zip archive": (_zip(), "Unpack"),
    "a tar": (_tar(), "by itself"),
    "a HEIC picture": (media(b"mif1", b"heic"), "pip install pillow-heif"),
    "an AVIF picture": (media(b"avif", b"mif1"), "pip install pillow-avif-plugin"),
    "a video": (media(b"isom", b"mp42"), "frames"),
    "a text file": (b"hello, world", ""),
}
VIDEOS = {"mov": media(b"qt  "), "webm": b"\x1a\x45\xdf\xa3" + b"\0" * 60, "avi": b"RIFF\0\0\0\0AVI LIST"}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_picture_is_named_with_the_way_out(name, tmp_path, monkeypatch):
    for module in ("pillow_heif", "pillow_avif"):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    content, way_out = OTHERS[name]
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    expected = rf"Expected a picture; got {name}.*a\.jpg.*{way_out}" if name != "a tar" else None
    if expected:
        with pytest.raises(BadPicture, match=expected):
            read(path, (3, 8, 8))
    with pytest.raises(BadPicture, match=f"got {name}.*{way_out}"):
        read(tmp_path, (3, 8, 8))
    with pytest.raises(BadPicture, match=f"got {name}.*{way_out}"):
        open_picture(path)


@pytest.mark.parametrize("kind", VIDEOS)
def test_videos_are_named(kind):
    assert none_of(VIDEOS[kind], "x.jpg").startswith("Expected a picture; got a video: x.jpg. Save its frames")


def test_a_heic_picture_is_read_where_its_plug_in_is_there(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "a.jpg"
    heif.from_pillow(Image.fromarray(PIXELS).resize((64, 64))).save(path.with_suffix(".heic"))
    path.with_suffix(".heic").rename(path)
    assert read(path, (3, 64, 64)).pixels.shape == (1, 3, 64, 64)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(BadPicture, match="damaged one"):
        read(path, (3, 64, 64))


@pytest.mark.parametrize("name", ["a.eps", "a.png"])
def test_a_picture_that_is_a_program_is_none(tmp_path, monkeypatch, name):
    """Pillow would hand it to Ghostscript."""
    path = tmp_path / name
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n{} loop\n%%EOF\n")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("it was run"))
    with pytest.raises(BadPicture, match="Expected a picture; got"):
        read([path], (3, 8, 8))
    with pytest.raises(BadPicture, match="Expected a picture; got"):
        reduced(path, name, most_bytes=10**6, most_pixels=10**6)
    with pytest.raises(BadPicture, match="Expected a picture; got"):
        open_picture(path)
