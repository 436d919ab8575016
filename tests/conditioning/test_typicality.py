"""Pictures beside reference pictures: likely is not typical."""

import json

import pytest
import torch

from transflow.cli import main
from transflow.conditioning.scores import Scores
from transflow.conditioning.typicality import compare


class Given:
    """A model whose pictures are their own log densities."""

    def score(self, pictures):
        return Scores(pictures, pictures, pictures)


def test_likely_is_not_typical():
    reference = torch.arange(99.0)
    found = compare(Given(), torch.tensor([-1.0, 49.0, 1000.0]), reference)
    torch.testing.assert_close(found.by_likelihood, torch.tensor([0.01, 0.51, 1.0]))
    torch.testing.assert_close(found.by_typicality, torch.tensor([0.01, 1.0, 0.01]))
    assert found.scores.log_prob.tolist() == [-1.0, 49.0, 1000.0]


def test_the_command_prints_each_in_its_column(folder, model_file, model, capsys):
    words = ["score", str(folder / "00.png"), str(folder / "01.png"), "-m", str(model_file), "--reference", str(folder)]
    assert main([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    found = compare(model, [folder / "00.png", folder / "01.png"], folder)
    assert [row["p_likelihood"] for row in rows] == pytest.approx(found.by_likelihood.tolist())
    assert [row["p_typicality"] for row in rows] == pytest.approx(found.by_typicality.tolist())
    assert not torch.allclose(found.by_likelihood, found.by_typicality)
    assert main(words) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.index("p likely") < head.index("p typical")
    likely = [float(line.split()[-2]) for line in lines]
    assert likely == pytest.approx(found.by_likelihood.tolist(), abs=1e-3)
