"""What stands out in a run, and what to do about it: a table of rules, each a pure function of the facts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from growth.page.facts import Crystal, Facts, energy_error

Weight = Literal["act", "note", "good"]
NAMES = {"delta_e": "energy differences between sites", "energy": "energies per atom", "forces": "the worst forces"}
FEW_BUSY, MUCH_BUSY = 0.5, 0.9
"""Share of the wall time below which an oracle idles, above which all waits for it."""
LAGS = 0.7
"""Size against the largest crystal's below which a walker that still grows lags."""
MANY_FAILED, MANY_KEPT = 0.05, 0.3
"""Shares of labels that failed, and of trainings whose model did not take over, from which on they are many."""
REMEDIES = {
    "timeout": "Give a label more time with `--set oracle.labels.timeout_s=...`, or carve smaller clusters with "
    "`oracle.max_atoms`.",
    "not_converged": "Look at one of them in dataset/failed_labels.jsonl; another smearing or mixer in `oracle.method` "
    "may converge (a method with another smearing is another energy surface: a new run).",
    "crash": "The log of one calculation is named in dataset/failed_labels.jsonl; often memory or the installation is "
    "the cause (`kossel doctor` tests it). Mended, `kossel dataset retry` labels them again.",
    "gate_before": "The surrogate proposes atoms that overlap: it has not learnt short distances. Add squeezed "
    "structures to the first labels (`initial.n`, `initial.far_scales`).",
    "gate_after": "The method's answer was not credible (force cap, net force). Look at one in "
    "dataset/failed_labels.jsonl before trusting labels much like it.",
}


@dataclass(frozen=True)
class Finding:
    """weight: `act` (do something), `note` (know it), `good`. title, meaning, next_step: sentences; `x` marks code."""

    weight: Weight
    title: str
    meaning: str
    next_step: str


Rule = Callable[[Facts], Finding | None]


def damaged(facts: Facts) -> Finding | None:
    """Files do not match their checksums."""
    if not facts.damage:
        return None
    what = f"{len(facts.damage)} of the run's files are damaged" if len(facts.damage) > 1 else "A file is damaged"
    meaning = f"The page shows what is whole. First: {facts.damage[0]}."
    return Finding("act", what, meaning, f"`kossel doctor {facts.run}` lists them; restore them from a copy.")


def interrupted(facts: Facts) -> Finding | None:
    """Nobody works on a run that is not at its end."""
    if facts.state != "stopped":
        return None
    grown = sum(crystal.grown for crystal in facts.crystals)
    meaning = f"{grown} of {len(facts.crystals)} crystals are grown; no process works on the run, and nothing is lost."
    if facts.crystals and grown == len(facts.crystals):
        meaning = "All crystals are grown, but the run was stopped before its certificate was complete."
    return Finding("act", "The run stopped before its end", meaning, f"Go on: `{resume_command(facts.run)}`.")


def spent(facts: Facts) -> Finding | None:
    """Labels ran out while steps were in doubt."""
    if not facts.n_spent:
        return None
    share = facts.n_spent / max(facts.n_steps, 1)
    meaning = (
        f"{facts.n_spent} of {facts.n_steps} steps ({share:.0%}) were in doubt after the last label and were taken "
        "unasked: trust the crystal's late growth less than its early growth."
    )
    enough = facts.n_labels * facts.n_steps / max(facts.n_steps - facts.n_spent, 1)
    rounded = int(-(-enough // 10) * 10)
    return Finding("act", "The labels ran out before the end", meaning, f"Next time `--set budget.labels={rounded}`.")


def spared(facts: Facts) -> Finding | None:
    """Many doubtful steps were let pass so that labels last."""
    share = facts.n_spared / max(facts.n_steps, 1)
    if share <= 0.2:
        return None
    meaning = (
        f"{facts.n_spared} of {facts.n_steps} steps ({share:.0%}) were in doubt beyond the tolerances, less than "
        "others, and were taken unasked so that the labels last."
    )
    return Finding(
        "note", "Labels were rationed", meaning, "More labels (`budget.labels`), or wider tolerances (`ask`)."
    )


def overconfident(facts: Facts) -> Finding | None:
    """Intervals held less often than was promised, beyond chance."""
    for name, told in checked(facts):
        share, high = told["coverage"]["share"], told["coverage"]["high"]
        if high < facts.level:
            meaning = (
                f"Intervals for {NAMES[name]} promised to hold {facts.level:.0%} of the time held {share:.0%} of "
                f"{told['n']} times (at most {high:.0%} at 95% confidence) on steps that the surrogate was sure of."
            )
            step = "Audit more often (`--set ask.audit_probability=0.2`) and bear less risk (`--set ask.risk=0.1`)."
            return Finding("act", "The surrogate was surer than it should be", meaning, step)
    return None


def missed(facts: Facts) -> Finding | None:
    """Sure steps were wrong beyond tolerance more often than the risk that is borne."""
    worse = [(name, told) for name, told in checked(facts) if told["missed"]["low"] > facts.risk]
    if not worse:
        return None
    name, told = worse[0]
    meaning = (
        f"Of {told['n']} steps taken as sure {told['missed']['share']:.0%} were wrong in {NAMES[name]} beyond the "
        f"tolerance; {facts.risk:.0%} were to be expected."
    )
    step = "Bear less risk (`--set ask.risk=0.1`), or ask after fewer steps (`--set ask.max_unasked=2`)."
    return Finding("act", "Doubtful steps passed as sure", meaning, step)


def checked(facts: Facts) -> list[tuple[str, Mapping[str, Any]]]:
    """Quantity and outcome of every check on steps that the surrogate was sure of."""
    return [(name, told) for held in (facts.audits, facts.afterwards) for name, told in held.items() if told["n"]]


def sites_unresolved(facts: Facts) -> Finding | None:
    """ΔE between competing sites is more wrong than the tolerance."""
    error, tolerance = facts.certified("delta_e_mae_mev"), 1e3 * facts.tolerances.get("delta_e", 0.0)
    if error is None or error <= tolerance:
        return None
    meaning = (
        f"Energy differences between competing sites are off by {error:.0f} meV on average; {tolerance:.0f} meV was "
        "the tolerance. Where two sites lie closer than that, chance decided between them as much as physics."
    )
    step = "More labels near the end of growth (`budget.labels`), or a campaign that builds on this one's (`initial`)."
    return Finding("act", "Competing sites are not told apart well enough", meaning, step)


def energies_off(facts: Facts) -> Finding | None:
    """The energy per atom is more wrong than the tolerance."""
    error, tolerance = facts.certified("energy_mae_mev_per_atom"), 1e3 * facts.tolerances.get("energy", 0.0)
    if error is None or error <= tolerance:
        return None
    meaning = f"Off by {error:.1f} meV/atom on steps taken unasked; {tolerance:.0f} meV/atom was the tolerance."
    return Finding("act", "Energies are less accurate than was asked for", meaning, "Grow on with more labels.")


def unmeasured(facts: Facts) -> Finding | None:
    """No sure step was ever checked."""
    if checked(facts) or facts.state != "finished":
        return None
    meaning = "No step that the surrogate was sure of has a label, so how often it is wrong when sure is not known."
    step = "Audit some (`--set ask.audit_probability=0.1`) and certify some (`--set certificate.path_steps=16`)."
    return Finding("act", "Nobody has checked the sure steps", meaning, step)


def final_unlabelled(facts: Facts) -> Finding | None:
    """The grown crystals have no label of their own."""
    finals = facts.certificate.get("final", [])
    if not finals or any(final["oracle_free_energy"] is not None for final in finals):
        return None
    size = max(final["n_atoms"] for final in finals)
    why = f"they have more than `oracle.max_atoms` ({facts.max_atoms}) atoms, so clusters cut out of them were labelled"
    meaning = f"The oracle has not seen the grown crystals ({size} atoms) whole: "
    meaning += f"{why}." if facts.max_atoms and size > facts.max_atoms else "none was asked for, or the labels failed."
    step = f"Label them: `kossel label {facts.run}/grown/w00/STEP.extxyz --method METHOD.yaml --dataset DIR`."
    return Finding("note", "The final energies are the surrogate's", meaning, step)


def failing(facts: Facts) -> Finding | None:
    """Many labels failed for one reason."""
    total = sum(facts.failed.values())
    if total < 3 or total < MANY_FAILED * (facts.n_labels + total):
        return None
    reason, n = max(facts.failed.items(), key=lambda item: item[1])
    meaning = f"{total} labels failed against {facts.n_labels} that came; {n} of them with the reason {reason}."
    return Finding("act", f"Labels fail: {reason.replace('_', ' ')}", meaning, REMEDIES.get(reason, "Look at one."))


def idle(facts: Facts) -> Finding | None:
    """Oracles wait for questions."""
    share = facts.busy.get("oracle")
    if share is None or share >= FEW_BUSY or not facts.expensive or facts.workers["oracle"] < 2:
        return None
    meaning = f"Each of {facts.workers['oracle']} oracle workers computed {share:.0%} of the time."
    step = f"More walkers keep them busy (`--set walkers={2 * len(facts.crystals)}`), or reserve fewer oracles."
    return Finding("note", "The oracle idled", meaning, step)


def waiting(facts: Facts) -> Finding | None:
    """Everything waits for the oracle."""
    share = facts.busy.get("oracle")
    if share is None or share < MUCH_BUSY or not facts.expensive:
        return None
    n = facts.workers["oracle"]
    meaning = f"{n} oracle workers were busy {share:.0%} of the time: the wall time is that of the labels."
    step = f"With room for it, `--set oracle.actors={2 * n}` about halves the wall time."
    return Finding("note", "All waited for the oracle", meaning, step)


def lagging(facts: Facts) -> Finding | None:
    """A walker is far behind the others."""
    largest = max((crystal.n_atoms for crystal in facts.crystals), default=0)
    behind = [crystal for crystal in facts.crystals if not crystal.grown and crystal.n_atoms < LAGS * largest]
    if not behind:
        return None
    slow = min(behind, key=lambda crystal: crystal.n_atoms)
    meaning = f"Walker {slow.walker} has {slow.n_atoms} atoms where the largest crystal has {largest}."
    step = "Look at its latest steps: if it is asked about again and again, the surrogate lacks labels of its like."
    return Finding("note", f"Walker {slow.walker} lags", meaning, step)


def kept(facts: Facts) -> Finding | None:
    """Trainings brought no better model."""
    n = facts.n_models + facts.n_kept
    if facts.n_kept < 3 or facts.n_kept < MANY_KEPT * n:
        return None
    meaning = f"{facts.n_kept} of {n} trainings gave a model that was worse on the validation set and was not used."
    step = "Longer updates (`--set learner.update.steps=...`), or more labels in each (`learner.labels_per_update`)."
    return Finding("note", "Trainings often brought nothing", meaning, step)


def different(facts: Facts) -> Finding | None:
    """Crystals of one size have energies further apart than these are wrong."""
    ended = [c for c in facts.crystals if c.grown and c.energy_per_atom is not None]
    if len({c.n_atoms for c in ended}) != 1 or len(ended) < 2:
        return None
    lowest, highest = min(ended, key=_energy), max(ended, key=_energy)
    apart, error = 1e3 * (_energy(highest) - _energy(lowest)), energy_error(facts)
    if error is None or apart <= 2 * error:
        return None
    meaning = (
        f"Walker {lowest.walker} ended {apart:.0f} meV/atom below walker {highest.walker} at {lowest.n_atoms} atoms; "
        f"the energies are good to about {error:.0f} meV/atom. They are different structures, and the higher one is no "
        "ground state."
    )
    step = "Grow more walkers, or let atoms move between arrivals (`--set growth.hops_per_step=1`)."
    return Finding("note", "The walkers grew different structures", meaning, step)


def _energy(crystal: Crystal) -> float:
    assert crystal.energy_per_atom is not None
    return crystal.energy_per_atom


def sound(facts: Facts) -> Finding | None:
    """The certificate is within the tolerances."""
    error, deltas = facts.certified("energy_mae_mev_per_atom"), facts.certified("delta_e_mae_mev")
    if facts.state != "finished" or error is None or energies_off(facts) or sites_unresolved(facts):
        return None
    meaning = f"Steps taken unasked are right to {error:.1f} meV/atom"
    meaning += f", and energy differences between sites to {deltas:.0f} meV." if deltas is not None else "."
    step = f"`kossel study {facts.run}` shows the energy landscape that it grew on."
    return Finding("good", "The certificate is within the tolerances", meaning, step)


RULES: tuple[Rule, ...] = (
    damaged,
    interrupted,
    failing,
    overconfident,
    missed,
    sites_unresolved,
    energies_off,
    spent,
    unmeasured,
    different,
    final_unlabelled,
    spared,
    lagging,
    kept,
    idle,
    waiting,
    sound,
)


def findings(facts: Facts) -> list[Finding]:
    """What the rules find, in their order."""
    return [finding for rule in RULES if (finding := rule(facts)) is not None]


def resume_command(run: str) -> str:
    """The command that goes on with a run."""
    return f"kossel grow {run}/config.yaml --run-dir {run}"
