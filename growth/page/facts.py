"""The numbers that a reader, and the rules of `findings`, judge a run by."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from growth.page.crystals import Growth
from growth.page.run_files import RunFiles
from growth.page.series import busy

SPENT, SPARED = "budget spent", "spared"
"""How the reasons of steps begin that were in doubt and taken without a label."""


@dataclass(frozen=True)
class Crystal:
    """What one walker has: its size, what it is to have, energy and std per atom in eV, whether it is grown."""

    walker: int
    n_atoms: int
    of: int
    grown: bool
    energy_per_atom: float | None = None
    std_per_atom: float | None = None


@dataclass(frozen=True)
class Facts:
    """A run in numbers.

    Attributes:
        state: see `RunFiles.state`. run: its directory as commands have it. crystals: by walker.
        n_steps: that hold; of them `n_spent` were in doubt after the last label was spent, `n_spared` in doubt and let
            pass to make labels last.
        n_labels: paid for by growth. budget: of labels; None without limit. failed: labels that failed, by reason.
        n_models, n_kept: model versions, and trainings whose model did not take over.
        audits, afterwards: `growth.calibration.held` by quantity, of sure steps audited at random, and of sure steps
            that the certificate labelled. level: of the promised intervals. risk: chance of a larger error that is
            borne. tolerances: by quantity, eV, eV/atom, eV/Å.
        certificate: certificate.json; empty before. busy: share of the wall time by role. workers: by role.
        expensive: whether a label is a calculation of its own. damage: of files, one line each.
    """

    state: str
    run: str
    crystals: Sequence[Crystal] = ()
    n_steps: int = 0
    n_spent: int = 0
    n_spared: int = 0
    n_labels: int = 0
    budget: int | None = None
    failed: Mapping[str, int] = field(default_factory=dict)
    n_models: int = 0
    n_kept: int = 0
    audits: Mapping[str, Any] = field(default_factory=dict)
    afterwards: Mapping[str, Any] = field(default_factory=dict)
    level: float = 0.9
    risk: float = 0.2
    tolerances: Mapping[str, float] = field(default_factory=dict)
    certificate: Mapping[str, Any] = field(default_factory=dict)
    busy: Mapping[str, float] = field(default_factory=dict)
    workers: Mapping[str, int] = field(default_factory=dict)
    expensive: bool = False
    max_atoms: int | None = None
    damage: Sequence[str] = ()

    def certified(self, key: str) -> float | None:
        """A figure of the certificate, None where it was not measured."""
        value = self.certificate.get(key)
        return None if value is None else float(value)


def facts_of(run: RunFiles, growths: Sequence[Growth], name: str, audits: Mapping[str, Any], cheap: bool) -> Facts:
    """The facts of a run.

    Args:
        run: its files. growths: of its walkers. name: the run directory as commands have it.
        audits: `growth.calibration.audits_of`. cheap: whether labels are.
    """
    ask, labels = run.config["ask"], run.status["labels"]
    models = run.metric("model")
    intervals = run.certificate.get("intervals", {})
    roles = busy(run)
    return Facts(
        state=run.state,
        run=name,
        crystals=[_crystal(run, growth) for growth in growths],
        n_steps=len(run.steps),
        n_spent=_n_because(run, SPENT),
        n_spared=_n_because(run, SPARED),
        n_labels=labels["n"] - labels["given"],
        budget=labels["budget"],
        failed=dict(Counter(labels["failed"])),
        n_models=max((line["version"] for line in models), default=0),
        n_kept=sum(not line["promoted"] for line in models),
        audits=audits,
        afterwards=intervals.get("afterwards", {}),
        level=intervals.get("level", 0.9),
        risk=ask["risk"],
        tolerances={name: ask[f"{key}_tolerance"] for name, key in TOLERANCES.items()},
        certificate=run.certificate,
        busy={role["role"]: role["share"] for role in roles if role["share"] is not None},
        workers={role["role"]: role["workers"] for role in roles},
        expensive=not cheap,
        max_atoms=run.config["oracle"]["max_atoms"],
        damage=run.status["damage"],
    )


TOLERANCES = {"delta_e": "delta_e", "energy": "energy", "forces": "force"}
"""What the settings call each quantity."""


def energy_error(facts: Facts) -> float | None:
    """How far energies per atom are off, meV/atom: as the certificate measured, else twice the largest std."""
    measured = facts.certified("energy_mae_mev_per_atom")
    if measured is not None:
        return measured
    stds = [2e3 * crystal.std_per_atom for crystal in facts.crystals if crystal.std_per_atom]
    return max(stds, default=None)


def _crystal(run: RunFiles, growth: Growth) -> Crystal:
    told, last = run.status["walkers"][growth.walker], growth.last
    n, line = len(last.crystal), last.line or {}
    energy, std = line.get("energy"), line.get("energy_std")
    return Crystal(
        growth.walker,
        n,
        told["of"],
        told["grown"],
        None if energy is None else energy / n,
        None if std is None else std / n,
    )


def _n_because(run: RunFiles, words: str) -> int:
    return sum((line.get("reason") or "").startswith(words) for line in run.steps)
