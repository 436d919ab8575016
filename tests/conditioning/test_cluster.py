"""Evidence of a cluster is that of one process, even where a worker is killed half way."""

import json
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from transflow import Evidence, load_posterior
from transflow.conditioning import cluster
from transflow.gaussians.kept import LIMIT

CHILD = """
import json, os, signal, sys
import psutil, ray, torch
from transflow import load
from transflow.conditioning import cluster

folder, model_file = sys.argv[1:]
quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
ray.init(num_cpus=2, object_store_memory=100 * 2**20, **quiet)
model = load(model_file)
killed = []

def worker(process):
    try:
        return "MapWorker" in " ".join(process.cmdline())
    except psutil.Error:
        return False

def kill(count):
    if not killed:
        victim = next(filter(worker, psutil.Process().children(recursive=True)))
        os.kill(victim.pid, signal.SIGKILL)
        killed.append(victim.pid)

bad = []
posterior = cluster.condition(model, folder, block=40, workers=2, on_bad=bad.append, report=kill)
posterior.save(folder + ".safetensors")
try:
    cluster.evidence(model, folder, block=200)
    told = ""
except ValueError as error:
    told = str(error)
with open(folder + ".json", "w") as file:
    json.dump({"killed": len(killed), "bad": bad, "told": told}, file)
ray.shutdown()
"""


def test_a_killed_worker_loses_nothing_and_counts_nothing_twice(model, model_file, tmp_path):
    pytest.importorskip("ray.data")
    pytest.importorskip("psutil")
    folder = tmp_path / "many"
    folder.mkdir()
    rng = np.random.default_rng(2)
    for i in range(400):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i:03d}.png")
    (folder / "200.png").write_bytes(b"no picture")
    environment = os.environ | {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    words = [sys.executable, "-c", CHILD, str(folder), str(model_file)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads((tmp_path / "many.json").read_text())
    assert told["killed"] == 1
    assert len(told["bad"]) == 1
    assert "200.png" in told["bad"][0]
    assert "200.png" in told["told"]
    found, one = load_posterior(f"{folder}.safetensors", model), model.condition(model.stream(folder, on_bad=print))
    assert found.evidence.count == one.evidence.count == 399
    assert found.digests == one.digests
    torch.testing.assert_close(found.evidence.total, one.evidence.total, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.evidence.scatter, one.evidence.scatter, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.gaussian.mean, one.gaussian.mean, rtol=0, atol=1e-6)
    assert (found.kept.keys, found.kept.left_out) == (one.kept.keys, 399 - LIMIT)
    assert torch.equal(found.sample(3, seed=0), one.sample(3, seed=0))


def test_blocks_count_once_however_they_come():
    z = torch.randn(60, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parts = [Evidence.of(part) for part in z.split(10)]
    rows = [{"number": n, "part": parts[n]} for n in (2, 0, 2, 1, 0, 5, 4, 3, 5)]
    total = Evidence.none(5)
    for row in cluster.in_order_once(iter(rows), 6):
        total += row["part"]
    assert total.count == 60
    torch.testing.assert_close(total.scatter, Evidence.of(z).scatter)
    with pytest.raises(RuntimeError, match="no block 3"):
        list(cluster.in_order_once(iter(rows[:6]), 6))


def test_a_missing_extra_is_named(model, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install .ray\[data\]"):
        cluster.condition(model, folder)


def test_large_compressed_tars_are_refused_before_a_cluster_is_started(model, folder, tmp_path, monkeypatch):
    """Their members have no place on disk where a worker could read them, and are sent."""
    pytest.importorskip("ray.data")
    with tarfile.open(tmp_path / "many.tgz", "w:gz") as tar:
        tar.add(folder, "many")
    monkeypatch.setattr(cluster, "HELD", 1000)
    monkeypatch.setattr(cluster, "_cluster", None)
    with pytest.raises(ValueError, match=r"compressed tars.*Unpack them"):
        cluster.condition(model, tmp_path / "many.tgz", block=4)
