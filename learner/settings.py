"""Typed settings of the learner; an unknown key is refused."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

DeviceName = Literal["auto", "cpu", "cuda"]
OptimiserName = Literal["auto", "muon", "adamw"]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NetworkSettings(_Settings):
    """Shape of a committee of VIMPNN networks (see `vimpnn.py` for the symbols)."""

    n_members: int = Field(4, ge=1, le=64, description="networks in the committee")
    n_features: int = Field(32, ge=2, le=1024, description="width of the hidden state h")
    n_directions: int = Field(16, ge=0, le=1024, description="width of the moments of l = 1 and 2; 0: scalars only")
    n_steps: int = Field(2, ge=1, le=16, description="message passing steps T")
    cutoff: float = Field(5.0, gt=0, le=50, description="neighbours within, Å")
    n_radial: int = Field(6, ge=1, le=256, description="radial functions of each channel")
    bond_types: Literal["valence", "one"] = Field("valence", description="soft bond types, or all bonds in one channel")
    message: Literal["shared", "per_channel"] = Field("per_channel", description="one M for all channels, or one each")
    cohesion: bool = Field(True, description="start from cohesion by the second moment; else from one energy an atom")
    embedding: Literal["valence", "free"] = Field("valence", description="elements told apart by traits, or just apart")
    n_readout: int = Field(32, ge=1, le=1024, description="hidden width of the readout")
    dtype: Literal["float32", "float64"] = Field("float32", description="precision of the network")


class TrainSettings(_Settings):
    """How a committee is trained from scratch; the budget is `minutes` if given, else `steps`."""

    rates: ClassVar[dict[str, float]] = {"muon": 5e-3, "adamw": 2e-3}

    steps: int = Field(1000, ge=1, description="gradient steps, unless minutes is given")
    minutes: float | None = Field(None, gt=0, description="budget of time; not reproducible to the bit")
    epochs: float = Field(250, gt=0, description="with a budget of time: most looks at a structure; more overfits")
    clock: Literal["wall", "cpu"] = Field("wall", description="what the minutes are counted in")
    batch_atoms: int = Field(600, ge=1, description="atoms in a batch, about")
    optimiser: OptimiserName = Field("auto", description="muon: of matrices; auto: from 200 structures on, else AdamW")
    learning_rate: float | None = Field(None, gt=0, description="by default 5e-3 with Muon, 2e-3 with AdamW")
    warm_up: float = Field(0.03, ge=0, lt=1, description="share of the budget in which the rate rises")
    final_rate: float = Field(0.01, gt=0, le=1, description="learning rate at the end, relative to its peak")
    weight_decay: float = Field(0.3, ge=0, description="for up to 200 structures; of n > 200: 200/n of it")
    energy_weight: float = Field(10.0, ge=0, description="weight of the energy per atom (eV/atom) in the loss")
    force_weight: float = Field(1.0, ge=0, description="weight of the forces (eV/Å) in the loss")
    huber: float = Field(0.3, gt=0, description="where the force loss turns from square to linear, eV/Å")
    clip: float = Field(10.0, gt=0, description="largest gradient norm of a member")
    ema: float = Field(0.998, ge=0, lt=1, description="decay of the running mean of the weights")
    bootstrap: float = Field(0.5, ge=0, description="relative std of a member's own weights of the structures")
    validate_every: int = Field(200, ge=1, description="steps between two looks at the validation set")
    device: DeviceName = Field("auto", description="auto: a GPU where there is one")


class UpdateSettings(_Settings):
    """How a committee learns from new labels: a short warm start on new and replayed labels."""

    rates: ClassVar[dict[str, float]] = {"muon": 3e-3, "adamw": 2e-3}

    steps: int = Field(200, ge=1)
    minutes: float | None = Field(None, gt=0, description="budget of time instead of steps")
    epochs: float = Field(250, gt=0, description="as in training from scratch")
    clock: Literal["wall", "cpu"] = "wall"
    batch_atoms: int = Field(100, ge=1)
    optimiser: OptimiserName = "auto"
    learning_rate: float | None = Field(None, gt=0, description="by default 3e-3 with Muon, 2e-3 with AdamW")
    new_share: float = Field(0.3, gt=0, le=1, description="share of each batch that is drawn from the new labels")
    tolerance: float = Field(0.1, ge=0, description="promotion: relative loss of accuracy allowed on any size bin")
    size_bins: tuple[int, ...] = Field((20, 35, 55, 100), description="upper edges of the validation bins, atoms")
    energy_weight: float = Field(10.0, ge=0)
    force_weight: float = Field(1.0, ge=0)
    huber: float = Field(0.3, gt=0)
    clip: float = Field(10.0, gt=0)
    ema: float = Field(0.98, ge=0, lt=1)
    bootstrap: float = Field(0.5, ge=0)
    warm_up: float = Field(0.1, ge=0, lt=1)
    final_rate: float = Field(0.02, gt=0, le=1)
    weight_decay: float = Field(0.1, ge=0)
    device: DeviceName = "auto"

    @model_validator(mode="after")
    def _bins_rise(self) -> UpdateSettings:
        if list(self.size_bins) != sorted(set(self.size_bins)):
            raise ValueError(f"size_bins must rise, got {self.size_bins}")
        return self
