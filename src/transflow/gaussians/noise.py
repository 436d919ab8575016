"""The noise lambda of the likelihood ``zeta_i ~ N(z, lambda I)``: how closely samples keep to the evidence.

With k = m / lambda and s = k / (1 + k), the posterior mean is ``s zeta_bar`` and its covariance
``(1 - s) I``: s = 0 is the prior, s = 1 the plain mean of the evidence. It is given in one of four forms:

    "0.5m"        lambda in units of m, as in the paper: s = 1 / (1 + 0.5), whatever m
    12.5          lambda itself
    "typical"     samples as long as the model's pictures at temperature tau: with
                  r = |zeta_bar|^2 / D, the expected squared radius of a sample is
                  (r s^2 + 1 - s) D; setting it to tau^2 D gives s as the smaller root of
                  r s^2 - s + 1 - tau^2 = 0.  "typical:0.7" sets tau.
    "evidence"    the lambda of greatest marginal likelihood of the evidence

Reference for the first: Gambardella, Baydin and Torr 2019, section 3.3 (range 0.3m to 0.7m).
"""

from __future__ import annotations

import math
import re
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Union

import numpy as np

from transflow.gaussians.evidence import Evidence
from transflow.gaussians.gaussian import Gaussian
from transflow.plain_values import scalar

TYPICAL_TAU = 0.6  # chosen by eye: at 0.7 colour and style of the evidence begin to fade, at 0.5 samples are bland
SMALLEST = 0.3  # lambda / m below which "typical" does not go: the low end of the paper's range

FORMS = 'a number above 0 ("12.5"), a number of m ("0.5m"), "typical", "typical:TAU" with 0 < TAU < 1, or "evidence"'


@dataclass(frozen=True)
class Noise:
    """A chosen noise.

    Attributes:
        spec: the form in which it was given.
        value: lambda.
        per_count: lambda / m.
        note: what the user should know about the choice; may be empty.
    """

    spec: str
    value: float
    per_count: float
    note: str = ""

    @property
    def said(self) -> str:
        """The old name of `spec`."""
        warnings.warn("Noise.said is called Noise.spec now.", DeprecationWarning, stacklevel=2)
        return self.spec

    def __str__(self) -> str:
        return f"{self.spec}: lambda = {self.value:.4g} = {self.per_count:.3g}m"


NoiseSpec = Union[str, float]


class NoiseRule(ABC):
    """A rule that gives lambda for evidence: one of the four forms, parsed.

    Attributes:
        needs_standard_prior: whether it holds for the prior N(0, I) alone.
    """

    needs_standard_prior: ClassVar[bool] = False

    @abstractmethod
    def value(self, evidence: Evidence) -> tuple[float, str]:
        """Return lambda for evidence of at least one latent, and a note on the choice.

        Raises:
            ValueError: there is no such lambda for this evidence.
        """


@dataclass(frozen=True)
class PerCount(NoiseRule):
    """lambda in units of m."""

    share: float

    def value(self, evidence: Evidence) -> tuple[float, str]:
        """Return ``share m``."""
        return self.share * evidence.count, ""


@dataclass(frozen=True)
class Fixed(NoiseRule):
    """lambda itself."""

    lam: float

    def value(self, evidence: Evidence) -> tuple[float, str]:
        """Return lambda."""
        return self.lam, ""


@dataclass(frozen=True)
class Typical(NoiseRule):
    """The lambda at which samples have the expected squared radius ``tau^2 D``."""

    tau: float = TYPICAL_TAU
    needs_standard_prior = True

    def value(self, evidence: Evidence) -> tuple[float, str]:
        """Return ``m (1 - s) / s`` with s from `typical_share`, and its note."""
        s, note = typical_share(evidence.squared_radius, self.tau)
        return evidence.count * (1 - s) / s, note


@dataclass(frozen=True)
class GreatestMarginal(NoiseRule):
    """The lambda of greatest marginal likelihood."""

    needs_standard_prior = True

    def value(self, evidence: Evidence) -> tuple[float, str]:
        """Return `greatest_marginal`."""
        return greatest_marginal(evidence), ""


def choose_noise(noise: NoiseSpec, evidence: Evidence, prior: Gaussian) -> Noise:
    """Return lambda for this evidence.

    Args:
        noise: one of the four forms above.
        evidence: the latents' statistics, of at least one picture.
        prior: the model's latent distribution; "typical" and "evidence" need N(0, I).

    Raises:
        ValueError: the noise has none of the four forms, or there is none for this evidence.

    >>> import torch
    >>> evidence = Evidence.of(torch.eye(4))
    >>> choose_noise("0.5m", evidence, Gaussian.standard(4)).value
    2.0
    """
    rule = parse_noise(noise)
    if evidence.count == 0:
        raise ValueError("Expected evidence of at least one picture; got none.")
    if rule.needs_standard_prior and not prior.is_standard:
        raise ValueError(f'Expected a model whose prior is N(0, I) for the noise "{noise}"; give a number instead.')
    value, note = rule.value(evidence)
    noise = scalar(noise)
    return Noise(noise if isinstance(noise, str) else f"{noise:g}", value, value / evidence.count, note)


def parse_noise(noise: NoiseSpec) -> NoiseRule:
    """Return the rule that a noise stands for.

    Raises:
        ValueError: it has none of the four forms.

    >>> parse_noise("0.5m"), parse_noise("typical"), parse_noise(3)
    (PerCount(share=0.5), Typical(tau=0.6), Fixed(lam=3.0))
    """
    wrong = ValueError(f"Expected as noise {FORMS}; got {noise!r}.")
    noise = scalar(noise)
    if isinstance(noise, bool) or not isinstance(noise, (str, int, float)):
        raise wrong
    text = str(noise).strip().lower()
    if text == "evidence":
        return GreatestMarginal()
    name, colon, tau = text.partition(":")
    if name == "typical":
        number = _number(tau) if colon else TYPICAL_TAU
        if not 0 < number < 1:
            raise wrong
        return Typical(number)
    per_count = text.endswith("m")
    number = _number(text[:-1] if per_count else text)
    if not 0 < number < math.inf:
        raise wrong
    return PerCount(number) if per_count else Fixed(number)


def _number(text: str) -> float:
    return float(text) if re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*", text) else math.nan


def typical_share(r: float, tau: float = TYPICAL_TAU) -> tuple[float, str]:
    """Return s at which samples have expected squared radius ``tau^2 D``, and a note where it is not met.

    The radius ``r s^2 - s + 1`` falls from 1 (the prior) as s grows. It may not come down to tau^2
    for any s (one picture, or nearly equal ones: r close to 1 averages nothing out); then s is
    where samples are shortest, 1 / (2 r). Nor does lambda go below 0.3m, the low end of the paper's
    range: with three or four pictures tau^2 is reached close to s = 1, where every sample is the same.

    >>> round(typical_share(0.1, 0.7)[0], 4), typical_share(1.0)[0]
    (0.5391, 0.5)
    """
    gap = 1 - tau * tau
    root = 1 - 4 * r * gap
    # The smaller root, written without cancellation.
    s = 2 * gap / (1 + math.sqrt(root)) if root >= 0 else 1 / (2 * r)
    if s > 1 / (1 + SMALLEST):
        s = 1 / (1 + SMALLEST)
        note = f"lambda = {SMALLEST}m is used, since samples as short as tau = {tau:g} would all be alike (r = {r:.2f})"
        return s, note
    if root < 0:
        words = f"no lambda gives samples as short as tau = {tau:g}: the mean of the latents is too long (r = {r:.2f})"
        return s, f"{words}; more pictures, or more different ones, shorten it"
    return s, ""


def greatest_marginal(evidence: Evidence) -> float:
    """Return the lambda of greatest marginal likelihood for the prior N(0, I), in closed form.

    With S the trace of the scatter and r = |zeta_bar|^2 / D, the slope of the log marginal is
    zero at a root of the cubic
    ``(m-1) D l (l+m)^2 + D l^2 (l+m) - S (l+m)^2 - m r D l^2 = 0``.

    Raises:
        ValueError: fewer than two different pictures.
    """
    m, dim = evidence.count, evidence.dim
    spread = evidence.scatter_diagonal.sum().item()
    r = evidence.squared_radius
    if m < 2 or spread <= 1e-12 * m * dim * max(r, 1e-12):
        raise ValueError(
            'Expected at least two different pictures for the noise "evidence"; one, or copies of one, '
            'do not show how much pictures differ. Give "0.5m" or "typical".'
        )
    lam, plus = np.poly1d([1.0, 0.0]), np.poly1d([1.0, float(m)])
    cubic = (m - 1) * lam * plus**2 + lam**2 * plus - spread / dim * plus**2 - m * r * lam**2
    roots = [x.real for x in np.roots(cubic.coeffs) if abs(x.imag) < 1e-9 * abs(x) and x.real > 0]

    def log_marginal(x: float) -> float:
        return -0.5 * ((m - 1) * math.log(x) + math.log(x + m) + spread / dim / x + m * r / (x + m))

    return float(max(roots, key=log_marginal))
