"""What the paper varies, as typed options."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Auxiliary = Literal["atoms", "orbitals", "scale"]
AUXILIARIES: tuple[Auxiliary, ...] = ("atoms", "orbitals", "scale")


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PaperSettings(_Settings):
    """One network of the paper; the symbols are those of `learner/paper/network.py`."""

    network: Literal["baseline", "mpnn", "vimpnn"] = Field("vimpnn", description="what the bond type is used for")
    combination: Literal["a.i", "a.ii", "b.i", "b.ii", "c"] = Field("a.ii", description="of the messages by bond type")
    message: Literal["shared", "per_type"] = Field("shared", description="one M for all bond types, or one each")
    bond_types: Literal["hard", "valence"] = Field("hard", description="of the stable structure, or smooth in r")
    edge_features: bool = Field(False, description="vimpnn: the bond type is a feature of the edge too")
    n_steps: int = Field(3, ge=1, description="message passing steps T, 3 to 8 in the paper")
    n_features: int = Field(32, ge=2, description="width of the hidden state h")
    n_radial: int = Field(16, ge=1, description="radial functions of the distance")
    n_readout: int = Field(64, ge=1, description="hidden width of the readouts")
    cutoff: float = Field(6.0, gt=0, description="neighbours within, Å")
    auxiliaries: tuple[Auxiliary, ...] = Field((), description="what is read out beside the energy")
    auxiliary_level: Literal["structure", "atom"] = Field("structure", description="who reads the auxiliaries out")
    n_scale_bins: int = Field(25, ge=2, description="points at which the scale's Gaussian is read out")
    dtype: Literal["float32", "float64"] = Field("float32", description="precision")

    @model_validator(mode="after")
    def _consistent(self) -> PaperSettings:
        if self.network != "vimpnn" and (self.message == "per_type" or self.edge_features):
            raise ValueError(f"message: per_type and edge_features belong to vimpnn, not to {self.network}")
        if len(set(self.auxiliaries)) < len(self.auxiliaries):
            raise ValueError(f"auxiliaries name one twice: {self.auxiliaries}")
        return self


class PaperTrainSettings(_Settings):
    """How a network of the paper is trained; the budget is `cpu_minutes` of this process if given, else `steps`."""

    steps: int = Field(2000, ge=1, description="gradient steps, unless cpu_minutes is given")
    cpu_minutes: float | None = Field(None, gt=0, description="CPU time on one core, validation apart")
    batch_atoms: int = Field(300, ge=1, description="atoms in a batch, about")
    learning_rate: float = Field(3e-3, gt=0)
    warm_up: float = Field(0.05, gt=0, lt=1, description="share of the budget in which the rate rises")
    final_rate: float = Field(0.01, gt=0, le=1, description="rate at the end, relative to its peak")
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the running mean of the weights")
    alpha: float = Field(0.3, ge=0, description="weight of the auxiliaries")
    force_weight: float = Field(0.0, ge=0, description="weight of the forces; 0 is the paper's training on energies")
    n_looks: int = Field(10, ge=1, description="looks at the validation set, spread evenly over the budget")
