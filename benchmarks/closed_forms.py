"""Time and memory of the closed forms where D is large: no D x D matrix is built.

    python benchmarks/closed_forms.py -o closed_forms.json

Each case runs in a process of its own, so that its peak memory is its own; the memory of the
process before the case (Python, torch and the latents) is given beside.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch

from common import setting, table, write_json
from transflow import Evidence, Gaussian
from transflow.gaussians import covariance as cov

CASES = ("scalar", "diagonal", "low rank", "low rank, prior too")


def mebibytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def run(case: str, dim: int, count: int, seed: int) -> dict[str, float]:
    """Condition, predict, score, sample and compare with one structure of the noise, and of the prior too."""
    z = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    before, begin = mebibytes(), time.perf_counter()
    evidence = Evidence.of(z)
    prior = Gaussian.standard(dim)
    noise: cov.Covariance = cov.as_covariance(0.5 * count, dim)
    if case == "diagonal":
        noise = cov.as_covariance(evidence.scatter / count + 0.1, dim)
    elif case.startswith("low rank"):
        noise = cov.as_covariance(0.5, dim, (z.double() - evidence.mean).T / count**0.5)
    if case.endswith("prior too"):
        assert isinstance(noise, cov.DiagonalPlusLowRank)
        prior = Gaussian.of(torch.zeros(dim), torch.ones(dim), noise.factor)
    posterior = prior.condition(evidence, noise)
    predictive = posterior.predictive(noise)
    log_prob = predictive.log_prob(z[:16]).sum().item()
    samples = posterior.sample(16, seed=seed)
    kl = posterior.kl(prior)
    seconds = time.perf_counter() - begin
    assert torch.isfinite(samples).all()
    return {"seconds": seconds, "before": before, "peak": mebibytes(), "log_prob": log_prob, "kl": kl}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=196_608)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", default="closed_forms.json")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.case:
        print(json.dumps(run(a.case, a.dim, a.count, a.seed)))
        return
    results = {}
    for case in CASES:
        words = [sys.executable, __file__, "--case", case, "--dim", a.dim, "--count", a.count, "--seed", a.seed]
        results[case] = json.loads(subprocess.run(map(str, words), capture_output=True, text=True, check=True).stdout)
    rows = [(c, r["peak"], r["before"], r["seconds"] / results["scalar"]["seconds"]) for c, r in results.items()]
    print(f"D = {a.dim:,}, {a.count} latents: condition, predictive, log_prob and sample of 16, divergence\n")
    print(table(("noise", "peak MiB", "before MiB", "time / scalar"), rows))
    write_json(a.output, setting(a.seed) | {"dim": a.dim, "count": a.count, "cases": results})


if __name__ == "__main__":
    main()
