"""The Python and the command lines that do what a panel did, beside the pictures that it did it with.

They are run where a download was unpacked: pictures lie there as the model saw them, which brings them to its shape
unchanged. A model of one's own is a file that has to be put beside them.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from transflow.app import bounds
from transflow.app.drawing import Settings
from transflow.app.travelling import Journey

SAY = "print"  # in a script; here nothing is said
OUT = "from transflow.pictures.grids import grid"


@dataclass(frozen=True)
class Recipe:
    """How to do it again.

    Attributes:
        python: a script.
        shell: lines for a shell.
    """

    python: str
    shell: str


def new(model: str, settings: Settings) -> Recipe:
    """Return how new pictures were made of ``evidence/``."""
    python = f"""import transflow
{OUT}

model = transflow.load({model!r})
posterior = model.condition("evidence"{_condition(settings)})
new = posterior.pictures({_draws(settings)})[:{settings.n}]
posterior.save("mine.safetensors")
grid(new).save("new.png")
"""
    shell = f"""transflow condition evidence/ {_model(model)}{_options(settings)} -o mine.safetensors
transflow sample mine.safetensors {_flags(settings)} -o new/  # the first {settings.n} of them
"""
    return Recipe(python, shell)


def way(model: str, settings: Settings, journey: Journey) -> Recipe:
    """Return how an animation was made of ``evidence/`` and ``other/``."""
    python = f"""import transflow
from transflow.pictures.grids import animation, grid

model = transflow.load({model!r})
first = model.condition("evidence"{_condition(settings)})
last = model.condition("other"{_condition(settings)})
frames = first.strip(last, {journey.steps}, {journey.n}, seed={journey.seed}, temperature={journey.temperature:g})
with open("way.gif", "wb") as file:
    file.write(animation([grid(frame, {journey.n}) for frame in frames]))
"""
    flags = f"--steps {journey.steps} -n {journey.n} --seed {journey.seed} --temperature {journey.temperature:g}"
    shell = f"""transflow condition evidence/ {_model(model)}{_options(settings)} -o first.safetensors
transflow condition other/ {_model(model)}{_options(settings)} -o last.safetensors
transflow interpolate first.safetensors last.safetensors {flags} -o way.gif
"""
    return Recipe(python, shell)


def towards(model: str, learn: str, strength: float) -> Recipe:
    """Return how ``picture.png`` was changed towards ``evidence/``."""
    python = f"""import transflow
from transflow.conditioning import edits
{OUT}

model = transflow.load({model!r})
edit = edits.towards(model.condition("evidence", learn={learn!r}))
grid(edit.pictures("picture.png", {strength:g})).save("edited.png")
"""
    flags = f"--towards evidence/ --learn {learn} --strength={strength:g}"
    return Recipe(python, f"transflow edit picture.png {flags} {_model(model)} -o edited/\n")


def attribute(model: str, strength: float) -> Recipe:
    """Return how ``picture.png`` got more of what ``with/`` has and ``without/`` has not."""
    python = f"""import transflow
from transflow.conditioning import edits
{OUT}

model = transflow.load({model!r})
edit = edits.attribute(model, "with", "without")
grid(edit.pictures("picture.png", {strength:g})).save("edited.png")
"""
    flags = f"--more with/ --less without/ --strength={strength:g}"
    return Recipe(python, f"transflow edit picture.png {flags} {_model(model)} -o edited/\n")


def completion(model: str, masked: bool, n: int, seed: int, evidence: str = "") -> Recipe:
    """Return how ``picture.png`` was completed.

    Args:
        model: its name.
        masked: whether ``mask.png`` shows what is not known; else the colours are not.
        n: how many samples.
        seed: of the draws.
        evidence: what is learned of ``evidence/``, where the picture was completed as one of it.
    """
    known = 'read_mask("mask.png", model.shape)' if masked else "Grey()"
    home = "pictures.masks import read_mask" if masked else "conditioning.operators import Grey"
    prior = f', prior=model.condition("evidence", learn={evidence!r})' if evidence else ""
    python = f"""import transflow
from transflow.{home}
{OUT}

model = transflow.load({model!r})
known = {known}
found = model.complete("picture.png", known, n={n}, seed={seed}{prior})
grid(found.pictures).save("completed.png")
"""
    flags = f"{'--mask mask.png' if masked else '--grey'} -n {n} --seed {seed}"
    lines = f"transflow complete picture.png {flags} {_model(model)} -o completed/\n"
    if evidence:
        condition = f"transflow condition evidence/ {_model(model)} --learn {evidence} -o mine.safetensors\n"
        lines = condition + f"transflow complete picture.png {flags} --evidence mine.safetensors -o completed/\n"
    return Recipe(python, lines)


def classes(model: str, names: Sequence[str]) -> Recipe:
    """Return how ``query/`` was classified by the folders of ``support/``."""
    python = f"""from transflow import FewShotClassifier

classifier = FewShotClassifier({model!r}, augment=True).fit("support")  # {len(names)} classes
{SAY}(classifier.classes_, classifier.predict_proba("query"))
{SAY}(classifier.predict_or_reject("query"))  # None is none of these
"""
    return Recipe(python, f"transflow classify support/ query/ {_model(model)} -o predictions.csv\n")


def scores(model: str, reference: bool) -> Recipe:
    """Return how ``pictures/`` were scored, beside ``evidence/`` or alone."""
    if reference:
        python = f"""import transflow
from transflow.conditioning.typicality import compare

model = transflow.load({model!r})
found = compare(model, "pictures", "evidence")
{SAY}(found.scores.log_prob, found.by_likelihood, found.by_typicality)
"""
    else:
        python = f"""import transflow

found = transflow.load({model!r}).score("pictures")
{SAY}(found.log_prob, found.bits_per_dim, found.radius)
"""
    beside = " --reference evidence/" if reference else ""
    return Recipe(python, f"transflow score pictures/ {_model(model)}{beside}\n")


def _model(name: str) -> str:
    return f"-m {shlex.quote(name)}"


def _condition(settings: Settings) -> str:
    if settings.spec is not None:
        return f", noise={settings.spec!r}"
    novelty = "" if settings.newness is None else f", novelty={settings.newness:g}"
    return f", learn={settings.learn!r}{novelty}"


def _options(settings: Settings) -> str:
    if settings.spec is not None:
        return f" --noise {settings.spec}"
    novelty = "" if settings.newness is None else f" --novelty {settings.newness:g}"
    return f" --learn {settings.learn}{novelty}"


def _draws(settings: Settings) -> str:
    return f"{bounds.NUMBER}, seed={settings.seed}, temperature={settings.temperature:g}"


def _flags(settings: Settings) -> str:
    return f"-n {bounds.NUMBER} --seed {settings.seed} --temperature {settings.temperature:g}"
