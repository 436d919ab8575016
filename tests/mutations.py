"""Damaged files of every kind that is read, and what becomes of each: the fuzz test and `benchmarks/fuzz.py` share it.

A mutation is a function of its number alone. Most damage is to the JSON of a header, where a flipped bit alone would
hardly ever reach what lies behind the checksum: so the checksum is left out of half of those files.
"""

import copy
import json
import random
import shutil
import signal
import struct
import warnings
from dataclasses import replace

import torch

from transflow import FewShotClassifier, GlowConfig, TrainConfig, load, load_posterior
from transflow.estimators.features import ENCODING
from transflow.latents.folder import Latents
from transflow.store import container
from transflow.store.foreign import read_tensors
from transflow.training.config import TrainConfig as Config
from transflow.training.state import TrainingState

ODD = [
    None, True, False, 0, -1, 1, 2, 3, 7, 2**31, 2**63 - 1, -(2**63), 0.5, -0.5, 1e-300, 1e300, "", "x", "float64",
    "nan", "\ud800", "a\n\x1b[31mb", "../x", "glow", [], {}, [0], [[]], {"": 0}, [1, 2], ["a", "b"], [2**40], 24.9,
]  # fmt: skip
RAW = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5000, b"[" * 3000, b"{}", b'"' + b"y" * 9999 + b'"']
SECONDS = 20  # until a trial counts as hung


def nodes(value, path=()):
    """Every place in JSON."""
    yield path
    if isinstance(value, dict):
        for key, part in value.items():
            yield from nodes(part, (*path, key))
    elif isinstance(value, list):
        for i, part in enumerate(value[:20]):
            yield from nodes(part, (*path, i))


def changed(value, rng):
    """JSON with one place changed, taken out or doubled."""
    value = copy.deepcopy(value)
    path = rng.choice(list(nodes(value))[1:])
    *before, last = path
    place = value
    for key in before:
        place = place[key]
    kind = rng.random()
    if kind < 0.2:
        del place[last]
    elif kind < 0.3 and isinstance(place, list):
        place.append(copy.deepcopy(place[last]))
    elif kind < 0.4 and isinstance(place[last], (int, float)) and not isinstance(place[last], bool):
        place[last] = place[last] * rng.choice([2, 1000, -1]) + rng.choice([0, 1])
    else:
        place[last] = rng.choice(ODD)
    return value


def mutated(content, number):
    """A damaged file, of a safetensors file's bytes."""
    rng = random.Random(number)
    size = struct.unpack("<Q", content[:8])[0]
    kind = rng.random()
    if kind < 0.12:
        data = bytearray(content)
        for _ in range(rng.choice([1, 1, 2, 20])):
            at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(len(data), size + 8))
            data[at] ^= 1 << rng.randrange(8)
        return bytes(data)
    if kind < 0.2:
        at = rng.randrange(len(content))
        return rng.choice([content[:at], content + content[:at], content[:at] + bytes(len(content) - at), b""])
    table, data = json.loads(content[8 : size + 8]), content[size + 8 :]
    header = json.loads(table.get("__metadata__", {}).get("transflow", "{}"))
    if kind < 0.4 or not header:
        table = changed(table, rng)
    else:
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            header = changed(header, rng) if len(list(nodes(header))) > 1 else header
        if rng.random() < 0.7 and isinstance(header, dict):
            header.pop("checksum", None)
        table["__metadata__"]["transflow"] = json.dumps(header)
    text = json.dumps(table).encode()
    if kind > 0.95:
        inner = json.dumps(header).encode()
        at = rng.randrange(len(inner))
        text = (
            json.dumps({**table, "__metadata__": {"transflow": "@"}})
            .encode()
            .replace(
                b'"@"', json.dumps((inner[:at] + rng.choice(RAW) + inner[at + 1 :]).decode(errors="replace")).encode()
            )
        )
    if rng.random() < 0.1:  # numbers that are none, or no picture's
        floats = bytearray(data)
        at = rng.randrange(max(1, len(floats) - 8))
        odd = [struct.pack("<d", float("nan")), struct.pack("<f", float("inf")) * 2, bytes(8)]
        floats[at : at + 8] = rng.choice(odd)
        data = bytes(floats[: len(data)])
    return struct.pack("<Q", len(text)) + text + data


def has_checksum(content):
    """Whether a file that can be read has a checksum of its tensors."""
    table = json.loads(content[8 : struct.unpack("<Q", content[:8])[0] + 8])
    return "checksum" in json.loads(table.get("__metadata__", {}).get("transflow", "{}"))


class Kinds:
    """Good files of each kind in a folder, and how each is used; a use returns numbers by which it is compared."""

    def __init__(self, folder, model_file, pixels, pictures):
        self.model, self.pixels = load(model_file), pixels
        self.folder = folder
        self.good = {"model": folder / "model.safetensors"}
        shutil.copy(model_file, self.good["model"])
        self.good["posterior"] = folder / "posterior.safetensors"
        self.model.condition(pixels, "0.5m").save(self.good["posterior"])
        self.good["classifier"] = folder / "classifier.safetensors"
        labels = ["dark", "light"] * (len(pixels) // 2)
        FewShotClassifier(self.model).fit(pixels, labels).save(self.good["classifier"])
        latents = self.model.latents(pictures, folder / "latents")
        self.good["shard"] = latents.folder / "000000.safetensors"
        self.good["index"] = latents.folder / "index.safetensors"
        config = TrainConfig(glow=GlowConfig(size=8, steps=(1,), width=(4,)), batch=8, compile=False)
        self.state = TrainingState(config, torch.device("cpu"))
        self.state.update(sum(p.square().sum() for p in self.state.weights))
        self.good["training"] = folder / "run.training.safetensors"
        self.state.save(self.good["training"])
        self.good["encoding"] = folder / "encoding.safetensors"
        container.write(self.good["encoding"], ENCODING.kind, {"encoded": self.model.encode(pixels)[:, None]}, {})
        self.good["foreign"] = folder / "foreign.safetensors"
        from safetensors.torch import save_file

        save_file({"w": torch.arange(12.0).view(3, 4), "b": torch.ones(3)}, self.good["foreign"])
        self.expected = {name: self.use(name) for name in self.good}
        self.content = {name: path.read_bytes() for name, path in self.good.items()}

    def use(self, name):
        path = self.good[name]
        if name == "model":
            model = load(path)
            return model.decode(model.encode(self.pixels[:2]))
        if name == "posterior":
            return load_posterior(path, self.model).pictures(2, seed=0)
        if name == "classifier":
            return torch.from_numpy(FewShotClassifier.load(path, self.model).predict_proba(self.pixels[:4]))
        if name in ("shard", "index"):
            return self.model.condition(Latents.open(path.parent), "0.5m").evidence.total
        if name == "training":
            state = TrainingState.resume(path, None, torch.device("cpu"))
            assert replace(Config(), seed=state.config.seed)
            return torch.cat([w.detach().flatten() for w in state.weights])
        if name == "encoding":
            return container.read(path, ENCODING)[0]["encoded"]
        return torch.cat([t.flatten().float() for t in read_tensors(path).values()])

    def trial(self, name, number):
        """What becomes of a damaged file: "refused", "same", or what must not be, with a reason."""
        path = self.good[name]
        damaged = mutated(self.content[name], number)
        path.write_bytes(damaged)

        def hung(*_):
            raise TimeoutError

        signal.signal(signal.SIGALRM, hung)
        signal.alarm(SECONDS)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = self.use(name)
        except TimeoutError:
            return "hang", ""
        except (ValueError, OSError) as error:
            words = str(error)
            one_line = words.isprintable() and words.startswith("Expected") and len(words) < 1000
            return ("refused", "") if one_line else ("raw message", f"{type(error).__name__}: {words[:300]!r}")
        except Exception as error:
            return "traceback", f"{type(error).__name__}: {str(error)[:200]!r}"
        finally:
            signal.alarm(0)
            path.write_bytes(self.content[name])
        if not torch.isfinite(found).all():
            return "not finite", f"mutation {number}"
        if torch.equal(found, self.expected[name]):
            return "same", ""
        return ("changed, checked" if has_checksum(damaged) else "changed"), ""
