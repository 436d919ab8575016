"""What a file is by its first bytes, where it is none of what was expected: named, with the way out.

    name_of(start)   ->   ("a web page saved under this name", "Download the file itself.")

A download of a page in place of a file, a pointer in place of a large file, an archive, a video, a document: each has
first bytes of its own, whatever its name ends in.
"""

from __future__ import annotations

from typing import NamedTuple

from transflow.store.files import PathLike, at_home

LONGEST = 512  # bytes that are looked at
AGAIN = "Download the file itself."
UNPACK = "Unpack it, and give what is in it."
HEIC, AVIF, JXL = "a HEIC picture", "an AVIF picture", "a JPEG XL picture"
TEXT, SAFETENSORS = "a text file", "a safetensors file"
PICKLE = "a pickle, which is never opened since it can run code"
FRAMES = "Save its frames as pictures, with ffmpeg for example."
START = {  # first bytes: what it is, and the way out
    b"version https://git-lfs": ("a git-LFS pointer in place of the file", "Fetch the file: git lfs pull."),
    b"%PDF-": ("a PDF document", "Save its pages as pictures, with pdftoppm for example."),
    b"%!PS": ("a PostScript document", "Save it as a picture."),
    b"PK\x03\x04": ("a zip archive", UNPACK),
    b"PK\x05\x06": ("an empty zip archive", UNPACK),
    b"\x1f\x8b": ("a gzip archive", UNPACK),
    b"BZh": ("a bzip2 archive", UNPACK),
    b"\xfd7zXZ\x00": ("an xz archive", UNPACK),
    b"\x28\xb5\x2f\xfd": ("a zstd archive", UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", UNPACK),
    b"Rar!\x1a\x07": ("a rar archive", UNPACK),
    b"\x1a\x45\xdf\xa3": ("a video", FRAMES),
    b"\x00\x00\x01\xba": ("a video", FRAMES),
    b"OggS": ("a video or a sound", FRAMES),
    b"FLV\x01": ("a video", FRAMES),
    b"\xff\x0a": (JXL, "Save it as PNG."),
    b"\x00\x00\x00\x0cJXL \r\n\x87\n": (JXL, "Save it as PNG."),
    b"\x93NUMPY": ("an array of NumPy", "Load it in Python, and give the array."),
    b"\x89HDF": ("an HDF5 file", "Load it in Python, and give the arrays."),
    b"GGUF": ("a GGUF file", AGAIN),
    b"\x89PNG\r\n": ("a PNG picture", ""),
    b"\xff\xd8\xff": ("a JPEG picture", ""),
    b"GIF8": ("a GIF picture", ""),
    b"MZ": ("a program", ""),
    b"\x7fELF": ("a program", ""),
}
BRANDS = {  # of the ISO media format: bytes 8 to 12 of a file that has "ftyp" before
    HEIC: (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),
    AVIF: (b"avif", b"avis"),
}
CONVERT = {
    HEIC: "To read it: pip install pillow-heif; or save it as JPEG.",
    AVIF: "To read it: pip install pillow-avif-plugin; or save it as JPEG.",
}


class Named(NamedTuple):
    """What a file is.

    Attributes:
        what: in words, "" where it is not known.
        way_out: a sentence, or "".
    """

    what: str = ""
    way_out: str = ""

    def told(self, message: str) -> str:
        """Return a message with the way out after it, where there is one."""
        return f"{message}. {self.way_out}" if self.way_out else message


def name_of(start: bytes) -> Named:
    """Return what a file of these first bytes is, `LONGEST` or more of them.

    >>> name_of(b"<!DOCTYPE html><html>").what
    'a web page saved under this name'
    """
    if start.startswith(b"PK") and b"data.pkl" in start[:LONGEST]:
        return Named(PICKLE, "Weights of other programs: checkpoint:FILE.")
    for first, words in START.items():
        if start.startswith(first):
            return Named(*words)
    if start[257:262] == b"ustar":
        return Named("a tar", "Give it by itself, or unpack it.")
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return Named("a video", FRAMES)
    if start[4:8] == b"ftyp":
        return _media(start)
    if start[4:8] in (b"moov", b"mdat", b"wide", b"free"):
        return Named("a video", FRAMES)
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return Named(PICKLE, "Weights of other programs: checkpoint:FILE.")
    if start[8:10] == b'{"' and int.from_bytes(start[:8], "little") < 2**32:
        return Named(SAFETENSORS)
    return _text(start)


def read_start(path: PathLike) -> bytes:
    """Return the first bytes of a file; none of one that cannot be read."""
    try:
        with open(at_home(path), "rb") as file:
            return file.read(LONGEST)
    except OSError:
        return b""


def _media(start: bytes) -> Named:
    """A file of the ISO media format: a picture by its first or its compatible brands, else a video."""
    length = min(int.from_bytes(start[:4], "big"), len(start))
    brands = [start[8:12], *(start[i : i + 4] for i in range(16, length, 4))]
    for kind, known in BRANDS.items():
        if any(brand in known for brand in brands):
            return Named(kind, CONVERT[kind])
    if brands[0] in (b"mif1", b"msf1"):
        return Named(HEIC, CONVERT[HEIC])
    if brands[0] == b"crx ":
        return Named("a camera's raw file", "Save it as JPEG.")
    return Named("a video", FRAMES)


def _text(start: bytes) -> Named:
    """A file of text: a page, a drawing, an answer of a server."""
    words = start.decode("utf-8-sig", errors="replace").strip()
    if "\ufffd" in words[:-1]:  # but for a letter that is cut
        return Named()
    low = words.lower()
    if low.startswith(("<!doctype html", "<html", "<head", "<body")):
        return Named("a web page saved under this name", AGAIN)
    if low.startswith("<svg") or (low.startswith("<?xml") and "<svg" in low):
        return Named("an SVG drawing", "Save it as PNG.")
    if low.startswith("<?xml"):
        return Named("an XML document, such as a server's refusal", AGAIN)
    if low.startswith(("{", "[")):
        return Named("a JSON document, such as a server's refusal", AGAIN)
    return Named(TEXT) if words and all(c.isprintable() or c in "\n\r\t" for c in words[:-1]) else Named()
