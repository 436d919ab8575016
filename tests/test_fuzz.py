"""Whatever is done to a file, it is refused in one line or is what it was: no traceback, no hang, no other numbers."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from mutations import Kinds, mutated
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
    assert limited(f"from transflow import load\nload({str(path)!r})") == "ValueError"
    path.write_bytes(struct.pack("<Q", 2**62) + text.encode())
    assert limited(f"from transflow import load\nload({str(path)!r})") == "ValueError"


def limited(code):
    """The type of what the code raises, in a process whose memory is limited once it has imported torch."""
    program = f"""
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
