"""How a model is trained: the settings of a run, and how they stand in its file."""

from __future__ import annotations

import warnings
from dataclasses import InitVar, asdict, dataclass, field, fields, replace
from typing import Any

from transflow.devices import TRAINING_PRECISIONS
from transflow.generative.families import FAMILIES, Family, name_of
from transflow.generative.glow import GlowConfig
from transflow.pictures.pixels import PixelFormat
from transflow.plain_values import make_plain
from transflow.store.files import PathLike
from transflow.store.identity import newer, options, plain, read_options

PICTURES_PER_OUTLIER = 8
MAY_CHANGE = {"minutes", "epochs", "learning_rate", "outliers", "interval", "precision", "compile", "reversible"}


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained.

    Attributes:
        glow: the architecture, of a Glow.
        bits: bits a pixel and channel, 1 to 8.
        minutes: time budget of all calls together; the learning rate falls to a hundredth towards its end.
        epochs: how often each picture is shown, as the budget in place of minutes: as many steps on any machine.
        batch: pictures a step.
        learning_rate: of Adam, after warm-up and before the fall, which begins half way.
        warmup: steps of rising learning rate.
        clip: largest norm of the gradient.
        ema: decay of the weights' moving average, a step.
        weight_decay: share of the learning rate by which each step makes weights smaller (AdamW); 0 is Adam.
        flip: show half of the pictures mirrored.
        outliers: weight of a penalty on how unlikely outliers are (see `training.outliers`), of which one is shown
            with every eight pictures; 0 shows none.
        held_out: share of the pictures (of the groups, where there are any) kept for validation.
        interval: minutes between checkpoints.
        precision: of the networks: "float32", "bfloat16", or "auto", the one that the hardware multiplies faster in;
            which one that is, is written into the run, and the run keeps to it.
        compile: use torch.compile where there is a compiler.
        reversible: keep no activations but compute them back: memory that does not grow with depth, for more
            time (docs/training.md); goes without torch.compile.
        seed: of weights, split, order and noise.
        model: the architecture, of any family (see `generative.families`), in place of ``glow``.
        strange: the former name of ``outliers``, for one version.
    """

    glow: GlowConfig = field(default_factory=GlowConfig)
    bits: int = 5
    minutes: float = 60.0
    epochs: float | None = None
    batch: int = 64
    learning_rate: float = 1e-3
    warmup: int = 200
    clip: float = 1.0
    ema: float = 0.999
    flip: bool = True
    outliers: float = 0.0
    held_out: float = 0.1
    interval: float = 3.0
    precision: str = "auto"
    compile: bool = True
    reversible: bool = False
    seed: int = 0
    model: Any = None
    weight_decay: float = 0.0
    strange: InitVar[float | None] = None

    def __post_init__(self, strange: float | None) -> None:
        if strange is not None:
            warnings.warn("TrainConfig.strange is called outliers now.", DeprecationWarning, stacklevel=3)
            object.__setattr__(self, "outliers", strange)
        make_plain(self)
        PixelFormat(self.bits)
        for name in ("minutes", "epochs", "batch", "learning_rate", "clip", "interval"):
            value = getattr(self, name)
            if not (name == "epochs" and value is None) and not 0 < value < float("inf"):
                raise ValueError(f"Expected {name.replace('_', ' ')} above 0; got {value}.")
        if not 0 <= self.outliers < float("inf"):
            raise ValueError(f"Expected a weight of outliers of 0 or more; got {self.outliers}.")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"Expected a weight decay of 0 or more; got {self.weight_decay}.")
        if not self.family.trained:
            raise ValueError(f"Expected a family that is trained as a whole; got {self.family_name}: train its parts.")
        if self.family.untrained and (left := self.family.untrained(self.architecture)):
            raise ValueError(f"Expected a model that is learned whole; got one that leaves {left} as it is.")
        if self.batch < self.family.together:
            raise ValueError(
                f"Expected batches of {self.family.together} or more for {self.family_name}; got {self.batch}."
            )
        if "bits" in {part.name for part in fields(self.architecture)}:  # whose map knows the bins of pixels
            object.__setattr__(self, "model", replace(self.architecture, bits=self.bits))
        if self.outliers and self.batch < PICTURES_PER_OUTLIER:
            raise ValueError(f"Expected batches of {PICTURES_PER_OUTLIER} or more with outliers; got {self.batch}.")
        if self.outliers and not self.family.likelihood:
            raise ValueError(f"Expected no outliers for {self.family_name}, which is not trained by its likelihood.")
        if self.precision == "bfloat16" and self.family.adversary:
            raise ValueError(
                f"Expected precision float32 for {self.family_name}, which has an adversary; got bfloat16."
            )
        if self.reversible and not self.family.reversible:
            raise ValueError(f"Expected a family that can compute its activations back; got {self.family_name}.")
        if self.warmup < 0 or not 0 <= self.ema < 1:
            raise ValueError(f"Expected warmup of 0 or more, and ema from 0 to below 1; got {self.warmup}, {self.ema}.")
        if not 0 < self.held_out < 1:
            raise ValueError(f"Expected a held-out share between 0 and 1; got {self.held_out}.")
        if self.precision not in TRAINING_PRECISIONS:
            raise ValueError(f"Expected precision {', '.join(TRAINING_PRECISIONS)}; got {self.precision}.")

    @classmethod
    def of(cls, architecture: Any, **settings: Any) -> TrainConfig:
        """Return the settings that a family has for a run of this architecture, but for those given.

        >>> from transflow.generative.detail_level import DetailLevelConfig
        >>> TrainConfig.of(DetailLevelConfig(size=64), batch=32).bits
        8
        """
        name = name_of(architecture)
        where = {"glow": architecture} if name == "glow" else {"model": architecture}
        return cls(**{**FAMILIES[name].settings, **where, **settings})

    @property
    def architecture(self) -> Any:
        """The configuration of the model: ``model``, or else ``glow``."""
        return self.glow if self.model is None else self.model

    @property
    def family_name(self) -> str:
        """The name of the model's family."""
        return name_of(self.architecture)

    @property
    def family(self) -> Family:
        """The model's family."""
        return FAMILIES[self.family_name]


def check_resumable(was: TrainConfig, config: TrainConfig) -> None:
    """Raise `ValueError` if a run that was begun with one config cannot go on with another."""
    if was.family_name != config.family_name:
        raise ValueError(f"Expected family {was.family_name}, as the run was begun with; got {config.family_name}.")
    given = _flat(config)
    for name, value in _flat(was).items():
        if name not in MAY_CHANGE and given[name] != value:
            raise ValueError(
                f"Expected {name.replace('_', ' ')} {value}, as the run was begun with; got {given[name]}."
            )


def to_header(config: TrainConfig) -> dict[str, Any]:
    """Return the entries of a training file's header that hold a config."""
    settings = {name: value for name, value in asdict(config).items() if name not in ("glow", "model")}
    return {"config": plain(settings), "family": config.family_name, "architecture": options(config.architecture)}


def from_header(header: dict[str, Any], path: PathLike) -> TrainConfig:
    """Return the config in a training file's header.

    Raises:
        ValueError: the file is damaged, or has what only a newer version knows.
    """
    settings = dict(header["config"])
    if "strange" in settings:  # as 0.1.0 wrote it
        settings["outliers"] = settings.pop("strange")
    if "glow" in settings:  # likewise
        family, architecture = "glow", settings.pop("glow")
    else:
        family, architecture = str(header.get("family")), header.get("architecture")
    if family not in FAMILIES:
        raise newer(f"a model of the family {family}", path)
    found = read_options(FAMILIES[family].config, architecture, path)
    return replace(read_options(TrainConfig, settings, path), **{"glow" if family == "glow" else "model": found})


def _flat(config: TrainConfig) -> dict[str, Any]:
    settings = {part.name: getattr(config, part.name) for part in fields(config) if part.name not in ("glow", "model")}
    return settings | {part.name: getattr(config.architecture, part.name) for part in fields(config.architecture)}
