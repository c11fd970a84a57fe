"""How a label is made: time, processes, gates. Nothing here changes the energy surface (that is the method's)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

LONGEST_S = 1e7
MOST_RANKS = 100_000


class LabelSettings(BaseModel):
    """Settings of the label runner. Distances in Å, energies in eV, times in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    timeout_s: float = Field(
        default=1800.0, gt=0, le=LONGEST_S, description="wall time for one costly label, retries included (s)"
    )
    cheap_timeout_s: float = Field(
        default=60.0, gt=0, le=LONGEST_S, description="wall time for one structure in the batch worker (s)"
    )
    n_parallel: int = Field(default=1, ge=1, le=1000, description="costly labels that run at the same time")
    n_ranks: int = Field(
        default=1, ge=1, le=MOST_RANKS, description="MPI ranks of one costly label; 1 runs without MPI"
    )
    tries: int = Field(default=3, ge=1, description="how often a label is begun that something outside kills")
    threads: int = Field(default=1, ge=1, le=1000, description="OpenMP and BLAS threads of a label process")
    mpirun: tuple[str, ...] = Field(
        default=("mpirun", "--oversubscribe", "--bind-to", "none"), description="MPI launcher; '-n N' is appended"
    )
    failure_budget: int = Field(default=20, ge=1, description="failures in a row that stop the labelling of a file")

    max_atoms: int = Field(default=200, ge=1, description="gate before: larger structures are refused")
    overlap_fraction: float = Field(
        default=0.5, ge=0, description="gate before: least distance / sum of covalent radii"
    )
    force_cap: float = Field(default=100.0, gt=0, description="gate after: largest force on an atom (eV/Å)")
    net_force_per_atom: float = Field(
        default=0.1, gt=0, description="gate after: |sum of forces| / n_atoms, clusters only (eV/Å)"
    )
    energy_per_atom_window: tuple[float, float] | None = Field(
        default=None, description="gate after: allowed energy per atom (eV); by default the method's own window"
    )
