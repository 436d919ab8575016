"""Whatever is done to a file, it is refused in one line or is what it was: no traceback, no hang, no other numbers."""

import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from mutations import Kinds, mutated
from transflow import FewShotClassifier, load
from transflow.store import container

TRIALS = int(os.environ.get("TRANSFLOW_FUZZ", 640))
FINE = {"refused", "same", "changed"}  # "changed": a file without a checksum, of another version, with other numbers


@pytest.fixture
def kinds(tmp_path, model_file, pixels, folder):
    return Kinds(tmp_path, model_file, pixels, folder)


def test_a_damaged_file_is_refused_in_one_line_or_is_what_it_was(kinds):
    names = list(kinds.good)
    tried = [(number, names[number % len(names)]) for number in range(TRIALS)]
    outcomes = {number: (name, *kinds.trial(name, number)) for number, name in tried}
    assert {number: found for number, found in outcomes.items() if found[1] not in FINE} == {}
    assert sum(found[1] == "refused" for found in outcomes.values()) > TRIALS / 2


def test_every_flipped_bit_of_a_checked_file_is_found(kinds):
    """Each of many single bits, over the whole file: nothing but what JSON does not see passes."""
    for name in ("posterior", "shard"):
        content, path = kinds.content[name], kinds.good[name]
        for at in range(0, len(content), len(content) // 60):
            damaged = bytearray(content)
            damaged[at] ^= 16
            path.write_bytes(damaged)
            with pytest.raises((ValueError, OSError), match="Expected"):
                kinds.use(name)
        path.write_bytes(content)


def test_a_mutation_is_a_function_of_its_number(kinds):
    content = kinds.content["posterior"]
    assert [mutated(content, n) for n in range(20)] == [mutated(content, n) for n in range(20)]
    assert len({mutated(content, n) for n in range(20)}) > 15


BOMBS = {
    "wide": {"config": {"width": [30000, 4], "steps": [1, 1], "size": 8}},
    "deep": {"config": {"steps": [10_000_000, 1], "width": [4, 4], "size": 8}},
    "levels": {"config": {"steps": [1] * 30, "width": [1] * 30, "size": 2**30}},
    "large": {"config": {"steps": [1], "width": [1], "size": 2**40}},
    "channels": {"config": {"steps": [1], "width": [1], "size": 2, "channels": 10**9}},
}


@pytest.mark.parametrize("case", BOMBS)
def test_a_small_file_takes_little_memory_and_time(case, tmp_path):
    """In a process with 200 MB more than it has at the start."""
    path = tmp_path / "m.safetensors"
    container.write(path, "model", {}, {"family": "glow", "card": {}, "pixels": {}} | BOMBS[case])
    assert limited(f"from transflow import load\nload({str(path)!r})") == "ValueError"


def test_a_head_that_says_more_than_the_file_has_takes_no_memory(tmp_path):
    path = tmp_path / "m.safetensors"
    table = {"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    header = '{"format": 1, "kind": "model", "config": {}, "card": {}}'
    text = json.dumps(table | {"__metadata__": {"transflow": header}})
    path.write_bytes(struct.pack("<Q", len(text)) + text.encode())
    assert limited(f"from transflow import load\nload({str(path)!r})") in ("ValueError", "OtherKind")
    path.write_bytes(struct.pack("<Q", 2**62) + text.encode())
    assert limited(f"from transflow import load\nload({str(path)!r})") in ("ValueError", "OtherKind")


def gzipped_tar(path, size):
    """A small tar.gz with a member "bomb.png" of zeros, a multiple of 16 MiB, and a picture after it."""
    block, deflate = bytes(2**24), zlib.compressobj(9, wbits=-15)
    member, picture = tarfile.TarInfo("bomb.png"), io.BytesIO()
    member.size = size
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    last = tarfile.TarInfo("good.png")
    last.size = picture.tell()
    head = member.tobuf(tarfile.GNU_FORMAT)
    tail = last.tobuf() + picture.getvalue() + bytes(-last.size % 512) + bytes(1024)
    first = deflate.compress(head) + deflate.flush(zlib.Z_FULL_FLUSH)
    zeros = deflate.compress(block) + deflate.flush(zlib.Z_FULL_FLUSH)
    end = deflate.compress(tail) + deflate.flush()
    crc = zlib.crc32(head)
    for _ in range(size // len(block)):
        crc = zlib.crc32(block, crc)
    crc = zlib.crc32(tail, crc)
    whole = first + zeros * (size // len(block)) + end
    length = (len(head) + size + len(tail)) % 2**32
    path.write_bytes(b"\x1f\x8b\x08" + bytes(6) + b"\xff" + whole + struct.pack("<II", crc, length))


def sparse_tar(path, size):
    """A tar with a member that is said to be of a size, and has no data, and a picture after it."""
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        names = {"major": "1", "minor": "0", "realsize": str(size), "name": "bomb.png"}
        member = tarfile.TarInfo("GNUSparseFile.0/bomb.png")
        member.size, member.pax_headers = 512, {f"GNU.sparse.{name}": value for name, value in names.items()}
        tar.addfile(member, io.BytesIO(b"0\n".ljust(512, b"\0")))
        member = tarfile.TarInfo("good.png")
        member.size = picture.tell()
        picture.seek(0)
        tar.addfile(member, picture)


def sixteen_bits(path, side):
    """A small PNG of one deep shade."""
    deflate = zlib.compressobj(1)
    rows = b"".join(deflate.compress(bytes(2 * side + 1)) for _ in range(side)) + deflate.flush()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


READ = "from transflow.pictures.decode import read\nbad = []\nfound = read({}, (3, 8, 8), on_bad=bad.append)\n"


@pytest.mark.parametrize("case", ["tar.gz", "sparse member", "huge sparse member", "sparse file", "16-bit PNG"])
def test_a_bomb_among_pictures_is_passed_over_in_little_memory(case, tmp_path):
    source, bombs = tmp_path / "set.tar", 1
    if case == "tar.gz":
        gzipped_tar(source, 2**30)
        assert source.stat().st_size < 2_000_000
    elif "member" in case:
        sparse_tar(source, 2**44 if "huge" in case else 6 * 2**30)
    else:
        source, bombs = tmp_path, 34
        Image.new("RGB", (8, 8)).save(source / "good.png")
        if case == "sparse file":
            (source / "0.png").touch()
            os.truncate(source / "0.png", 5 * 2**30)
        else:
            sixteen_bits(source / "0.png", 14_000)
        for i in range(1, bombs):
            (source / f"{i}.png").hardlink_to(source / "0.png")
    code = READ.format(repr(str(source))) + f"assert (len(found), len(bad)) == (1, {bombs}), (len(found), bad)"
    assert limited(f"{code}\nraise KeyError") == "KeyError"


def test_deep_pictures_within_the_bound_take_memory_for_one_at_a_time(tmp_path):
    sixteen_bits(tmp_path / "0.png", 3000)
    for i in range(1, 6):
        (tmp_path / f"{i}.png").hardlink_to(tmp_path / "0.png")
    code = READ.format(repr(str(tmp_path))) + "assert len(found) == 6"
    assert limited(f"{code}\nraise KeyError") == "KeyError"


def test_a_classifier_does_not_say_how_much_memory_is_taken(tmp_path, model_file, pixels):
    model, paths = load(model_file), []
    for copies in (10**9, 10**6, -1, 1.5, "many"):
        paths.append(str(tmp_path / f"{len(paths)}.safetensors"))
        FewShotClassifier(model).fit(pixels, ["a", "b"] * 6).save(paths[-1])
        tensors, header = container.read(paths[-1], container.Schema("classifier"))
        header["parameters"]["query_copies"] = copies
        container.write(paths[-1], "classifier", tensors, header)
    before = f"from transflow import FewShotClassifier, load\nm = load({str(model_file)!r})\n"
    code = f"""
for path in {paths}:
    try:
        FewShotClassifier.load(path, m)
    except ValueError:
        continue
    raise TypeError(path)
raise KeyError
"""
    assert limited(code, before) == "KeyError"


def limited(code, before=""):
    """The type of what the code raises, in a process whose memory is limited once it has imported torch."""
    program = f"""
{before}
import resource, transflow.library.load, transflow.conditioning.model, transflow.generative.model_file
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 200_000_000,) * 2)
try:
    exec({code!r})
except Exception as error:
    print(type(error).__name__, flush=True)
"""
    how = {"stdout": subprocess.PIPE, "text": True, "timeout": 600, "env": os.environ | {"OMP_NUM_THREADS": "1"}}
    return subprocess.run([sys.executable, "-c", program], **how, check=False).stdout.strip()


def test_the_program_that_tries_ten_thousand_is_there():
    assert (Path(__file__).parent.parent / "benchmarks" / "fuzz.py").exists()


@pytest.mark.filterwarnings("ignore")
def test_command_lines_are_done_or_refused_in_one_line(tmp_path):
    """A few of those that `benchmarks/fuzz.py --commands` runs."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
    from command_lines import Commands
    from fuzz import inputs

    lines = Commands(tmp_path, inputs(tmp_path / "inputs"))
    chosen = [number for number in range(60) if lines.line(number)[0] not in ("demo", "train", "classify")]
    outcomes = {number: lines.trial(number) for number in chosen}
    assert {number: found for number, found in outcomes.items() if found[0] not in ("done", "refused")} == {}
    assert {found[0] for found in outcomes.values()} == {"done", "refused"}
