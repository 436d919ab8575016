"""How likely and how typical pictures are, beside reference pictures.

A likelihood alone calls smooth pictures likely: a flow gives a blank picture a greater density
than a face. Samples of a model do not lie where its density is greatest but where it is typical,
so a picture is compared with reference pictures in two ways (`metrics.p_values`):

    by likelihood   how often a reference picture is as unlikely
    by typicality   how often one is as far from the middle of the references, on either side

Reference for the second: Nalisnick et al. 2019, *Detecting Out-of-Distribution Inputs to Deep
Generative Models Using Typicality*, arXiv 1906.02994.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from transflow import metrics
from transflow.conditioning.model import Model
from transflow.conditioning.scores import Scores
from transflow.latents.stream import PicturesLike


@dataclass(frozen=True, eq=False)
class Comparison:
    """Pictures against reference pictures; p-values of shape (B,).

    Attributes:
        scores: of the pictures.
        by_likelihood: small where few reference pictures are as unlikely.
        by_typicality: small where few are as far from the references' median log density.
    """

    scores: Scores
    by_likelihood: Tensor
    by_typicality: Tensor


def compare(model: Model, pictures: PicturesLike, reference: PicturesLike) -> Comparison:
    """Return how likely and how typical pictures are beside reference pictures."""
    scores, known = model.score(pictures), model.score(reference).log_prob
    return Comparison(
        scores,
        metrics.p_values(scores.log_prob, known),
        metrics.p_values(scores.log_prob, known, two_sided=True),
    )
