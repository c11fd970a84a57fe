"""The certificate: how wrong the surrogate was on what it accepted unasked, measured with labels it never saw.

Crystals of accepted steps, and every competing site of some of them, go to the oracle after the growth. They are scored
by what the model version that accepted them said at that moment, as `sites/` holds it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.optimize import LBFGS
from jaxtyping import Float

from growth.calibration import LEVEL, audits_of, held
from growth.carve import affordable, carve_together
from growth.config import CertificateSettings, Config
from growth.events import standing
from growth.held_out import ERRORS, assessed, errors_of, extension, newest_version
from growth.pool import Pool, Task
from growth.relax import rms_moved
from growth.run_directory import RunDirectory
from growth.verdict import free_energy, worst_force_error
from oracle import Dataset, FailedLabel, Method, uid
from oracle.cache import LabelCache

CERTIFICATE = 5
"""First word of the seed of the random stream that draws steps (the loop has 1 to 4, and 6)."""
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Step:
    """An accepted step: its walker and number, and its sites with predicted energies, the accepted one first.

    Of one that `climbed` a barrier the sites are where it led, the saddle and where it came from. Of a crystal too
    large for the oracle they are clusters `carved` out of it, as the model `version` that took the step has them. One
    that was `doubted` would have been asked about, had there been labels left. `promised` holds the half-widths of the
    intervals told then, as `Radii.told` gives them.
    """

    walker: int
    step: int
    sites: list[Atoms]
    with_rivals: bool
    climbed: bool = False
    doubted: bool = False
    carved: bool = False
    version: int = 0
    promised: Mapping[str, Any] = field(default_factory=dict)

    @property
    def to_label(self) -> list[Atoms]:
        return self.sites if self.with_rivals else self.sites[:1]


def unseen_steps(
    run: RunDirectory, dataset: Dataset, method_hash: str, settings: CertificateSettings, rng: np.random.Generator
) -> list[Step]:
    """Steps that were accepted unasked at the first attempt, `path_steps` of them drawn at random.

    Left out are events in time that passed beyond doubt, whose structures are not kept, a step of which any site has a
    label in the dataset, and one that was tried before or rolled back: labels of sites much like its own were learnt.

    Args:
        run: the run directory.
        dataset: labels that trained or validated a model.
        method_hash: of the oracle's method.
        settings: how many steps, and of how many the rivals too.
        rng: draws them.
    """
    learnt = set(dataset.uids)
    lines = run.lines("events")
    times = Counter((line["walker"], line["step"]) for line in lines)
    accepted = [
        e
        for e in standing(lines)
        if e["fate"] == "accepted"
        and e["accepted"]
        and times[e["walker"], e["step"]] == 1
        and e["energy_std"] is not None
    ]
    steps: list[Step] = []
    for k in rng.permutation(len(accepted)):
        line = accepted[k]
        sites = run.read_sites(line["walker"], line["step"])
        if not sites or any(uid(site, method_hash) in learnt for site in sites):
            continue
        with_rivals, climbed = len(steps) < settings.site_steps, line.get("barrier") is not None
        steps.append(
            Step(
                line["walker"],
                line["step"],
                sites,
                with_rivals,
                climbed,
                doubted=line["reason"] is not None,
                version=line["model_version"],
                promised=line["promised"],
            )
        )
    steps.sort(key=lambda step: not step.with_rivals)
    return steps[: settings.path_steps]


def carved_steps(
    steps: Sequence[Step], max_atoms: int | None, run: RunDirectory, pool: Pool, learnt: Dataset, method_hash: str
) -> list[Step]:
    """The steps, those of crystals of more than max_atoms as clusters cut out of them, around the accepted site.

    A competing site that is too far away for that is left out, and a step of which any cluster was `learnt`, or whose
    model is lost.
    """
    steps = [s for s in steps if max_atoms is None or len(s.sites[0]) <= max_atoms or run.has_model(s.version)]
    pieces: dict[int, list[Atoms]] = {}
    numbers: dict[int, dict[int, list[int]]] = {}
    for k, step in enumerate(steps):
        if max_atoms is not None and len(step.sites[0]) > max_atoms:
            found = carve_together(step.to_label, max_atoms)
            pieces[k] = [piece for piece in found if piece is not None]
            numbers.setdefault(step.version, {})[k] = [n for n, piece in enumerate(found) if piece is not None]
    wanted = {version: [piece for k in of for piece in pieces[k]] for version, of in numbers.items()}
    result = list(steps)
    for version, answers in assessed(wanted, run, pool).items():
        said = iter(answers)
        for k, kept in numbers[version].items():
            promised = {**steps[k].promised, "delta_e": [steps[k].promised["delta_e"][n] for n in kept]}
            result[k] = replace(steps[k], sites=[next(said) for _ in kept], carved=True, promised=promised)
    known = set(learnt.uids)
    return [step for step in result if not step.carved or not known & {uid(site, method_hash) for site in step.sites}]


def label_unseen(
    structures: Sequence[Atoms], held_out: Dataset, learnt: Dataset, method_hash: str, pool: Pool, report: Report
) -> dict[str, Atoms]:
    """Labels of `structures` by uid; what either dataset has is not asked again, what is new goes to `held_out`."""
    by_uid = {uid(structure, method_hash): structure for structure in structures}
    waiting = [key for key in by_uid if held_out.find(key) is None and learnt.find(key) is None]
    for key in waiting:
        structure = by_uid[key].copy()
        structure.calc = None
        structure.info = {"config_type": "certificate", "reason": "certificate"}
        structure.arrays.pop("forces_std", None)
        pool.submit(Task("oracle", "label", key, ([structure],)))
    finished = 0
    while finished < len(waiting):
        for done in pool.wait(timeout=5.0):
            finished += 1
            outcomes = done.result or [FailedLabel(by_uid[done.task.key], "crash", str(done.error))]
            held_out.add([outcome for outcome in outcomes if isinstance(outcome, Atoms)])
            held_out.add_failures([outcome for outcome in outcomes if isinstance(outcome, FailedLabel)])
            report({"what": "certificate", "done": finished, "of": len(waiting)})
    found = {key: held_out.find(key) or learnt.find(key) for key in by_uid}
    return {key: label for key, label in found.items() if label is not None}


def step_errors(steps: Sequence[Step], labels: Mapping[str, Atoms], method_hash: str) -> dict[str, Any]:
    """Errors over accepted steps: energy, forces, ΔE among competing sites, and how often the best site came first.

    Returns:
        A mapping of figures; energies in meV/atom, forces in meV/Å, ΔE in meV. `path` holds the points behind them.
    """
    path, deltas, firsts, regrets, barriers = [], [], [], [], []
    unlabelled = 0
    for step in steps:
        found = [labels.get(uid(site, method_hash)) for site in step.to_label]
        unlabelled += sum(label is None for label in found)
        if found[0] is None:
            continue
        path.append(path_point(step, found[0]))
        answered = [(site, label) for site, label in zip(step.to_label, found, strict=True) if label is not None]
        if step.with_rivals and len(answered) > 1:
            predicted = np.array([site.get_potential_energy() for site, _ in answered])
            labelled = np.array([free_energy(label) for _, label in answered])
            if step.climbed:
                barriers += [abs(float(error)) for error in np.diff(predicted - labelled)]
                continue
            deltas.extend(delta_e_errors(predicted, labelled).tolist())
            firsts.append(bool(predicted.argmin() == labelled.argmin()))
            regrets.append(float(labelled[predicted.argmin()] - labelled.min()))
    return {
        "n_steps": len(path),
        "n_carved": sum(step.carved for step in steps),
        "n_without_label": unlabelled,
        **mean_and_error("energy_mae_mev_per_atom", [abs(p["energy_error"]) / p["n_atoms"] * 1e3 for p in path]),
        **mean_and_error("force_mae_mev_per_A", [p["force_mae"] * 1e3 for p in path]),
        "energy_bias_mev_per_atom": _mean([p["energy_error"] / p["n_atoms"] * 1e3 for p in path]),
        "n_site_steps": len(firsts),
        "n_delta_e": len(deltas),
        **mean_and_error("delta_e_mae_mev", [abs(d) * 1e3 for d in deltas]),
        **mean_and_error("barrier_mae_mev", [b * 1e3 for b in barriers]),
        "best_site_first": int(sum(firsts)),
        "regret_mean_mev": _mean([r * 1e3 for r in regrets]),
        "path": path,
    }


def path_point(step: Step, label: Atoms) -> dict[str, Any]:
    """One accepted crystal: predicted against labelled."""
    accepted = step.sites[0]
    predicted = float(accepted.get_potential_energy())
    return {
        "walker": step.walker,
        "step": step.step,
        "n_atoms": len(accepted),
        "predicted": predicted,
        "labelled": free_energy(label),
        "energy_error": predicted - free_energy(label),
        "energy_std": float(np.std(accepted.info["member_energies"])),
        "force_mae": float(
            np.mean(np.abs(accepted.get_forces(apply_constraint=False) - label.get_forces(apply_constraint=False)))
        ),
        "force_std_mean": float(np.mean(accepted.arrays["forces_std"])),
    }


def delta_e_errors(
    predicted: Float[np.ndarray, " n_sites"], labelled: Float[np.ndarray, " n_sites"]
) -> Float[np.ndarray, " n_rivals"]:
    """Errors of E_i − E_0, eV, where site 0 is the lowest as predicted.

    >>> delta_e_errors(np.array([1.0, 1.5, 1.2]), np.array([2.0, 2.4, 2.3])).round(3).tolist()
    [0.1, -0.1]
    """
    lowest = int(predicted.argmin())
    errors = (predicted - predicted[lowest]) - (labelled - labelled[lowest])
    return np.delete(errors, lowest)


def relax_with_method(crystal: Atoms, method: Method, fmax: float = 0.01, steps: int = 500) -> dict[str, Any]:
    """Is the crystal a minimum of the oracle too? Relax it there: energies in eV, how far atoms went in Å."""
    relaxed = crystal.copy()
    relaxed.calc = method.calculator(relaxed)
    before = float(relaxed.get_potential_energy())
    force = float(np.linalg.norm(relaxed.get_forces(apply_constraint=False), axis=1).max())
    converged = bool(LBFGS(relaxed, logfile=None).run(fmax=fmax, steps=steps))
    return {
        "n_atoms": len(crystal),
        "energy": before,
        "max_force": force,
        "relaxed_energy": float(relaxed.get_potential_energy()),
        "relaxation_rms_A": rms_moved(crystal, relaxed),
        "converged": converged,
    }


def certify(
    run: RunDirectory,
    dataset: Dataset,
    crystals: Sequence[Atoms],
    pool: Pool,
    method: Method,
    config: Config,
    report: Report,
) -> dict[str, Any]:
    """Label what was accepted unasked, compare, write RUN/certificate.json and return it.

    Crystals of more than `oracle.max_atoms` get no label of their own; clusters cut out of them are labelled.
    """
    settings, tolerances, max_atoms = config.certificate, config.ask.tolerances, config.oracle.max_atoms
    unseen = unseen_steps(run, dataset, method.hash, settings, np.random.default_rng([CERTIFICATE, config.seed]))
    steps = carved_steps(unseen, max_atoms, run, pool, dataset, method.hash)
    ends = [next(iter(affordable([crystal], max_atoms)), None) for crystal in crystals]
    with Dataset.open(run.path / "certificate", method=method) as held_out:
        wanted = [site for step in steps for site in step.to_label]
        wanted += [end for end in ends if end is not None and settings.label_final]
        labels = label_unseen(wanted, held_out, dataset, method.hash, pool, report)
        LabelCache(run.paid).forget(held_out.uids)  # safe here, and not to be learnt from
        result = step_errors(steps, labels, method.hash)
        answers = [None if end is None else labels.get(uid(end, method.hash)) for end in ends]
        learnt, newest = set(dataset.uids), newest_version(run)
        result["final"] = final_points(crystals, answers, learnt, newest, run, pool)
        result["extension"] = extension([a for a in held_out if a.info["uid"] not in learnt], newest, run, pool)
        if settings.relax_final and method.cheap:
            result["final_relaxed"] = [relax_with_method(crystal, method) for crystal in crystals]
        asked = [line for line in run.lines("metrics") if line["what"] == "error"]
        result["intervals"] = {
            "level": LEVEL,
            "tolerances": tolerances,
            "audits": audits_of(asked, tolerances),
            "afterwards": promises_held([s for s in steps if not s.doubted], labels, method.hash, tolerances),
            "doubted": promises_held([s for s in steps if s.doubted], labels, method.hash, tolerances),
        }
        result["n_labels"] = len(held_out)
        result["n_failed"] = len(held_out.failures())
    run.write_json("certificate.json", result)
    return result


def final_points(
    crystals: Sequence[Atoms],
    labels: Sequence[Atoms | None],
    learnt: Set[str],
    newest: int | None,
    run: RunDirectory,
    pool: Pool,
) -> list[dict[str, Any]]:
    """The oracle's word on grown crystals, and how far the newest model is from it.

    None where there is no label, and of the model where it has learnt that label.

    Args:
        crystals: whole.
        labels: of each, or of the cluster cut out of it around its last atom, which tells of that alone.
        learnt: uids of labels that are no test. newest: model version; None where there is none.
    """
    tests = [label for label in labels if label is not None and label.info["uid"] not in learnt]
    said = assessed({newest: tests}, run, pool)[newest] if tests and newest else []
    errors = {test.info["uid"]: errors_of([own], [test]) for own, test in zip(said, tests, strict=False)}
    points = []
    for crystal, label in zip(crystals, labels, strict=True):
        names = ("oracle_free_energy", "oracle_max_force", "labelled_atoms", *ERRORS)
        point: dict[str, Any] = {"n_atoms": len(crystal), **dict.fromkeys(names)}
        if label is not None:
            point |= {"labelled_atoms": len(label), **errors.get(label.info["uid"], {})}
            if len(label) == len(crystal):
                force = np.linalg.norm(label.get_forces(apply_constraint=False), axis=1).max()
                point |= {"oracle_free_energy": free_energy(label), "oracle_max_force": float(force)}
        points.append(point)
    return points


def promises_held(
    steps: Sequence[Step], labels: Mapping[str, Atoms], method_hash: str, tolerances: Mapping[str, float]
) -> dict[str, Any]:
    """How often the intervals promised at acceptance hold the truth, by quantity; see `growth.calibration.held`.

    Of each step the energy per atom and the worst force near the adatom of what was accepted, and ΔE to the site that
    was its nearest competitor by the surrogate. The energy per atom of a carve is nothing that was promised.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in tolerances}
    for step in steps:
        answers = {k: labels.get(uid(site, method_hash)) for k, site in enumerate(step.to_label)}
        predicted = {k: float(step.sites[k].get_potential_energy()) for k in answers}
        errors = {k: predicted[k] - free_energy(label) for k, label in answers.items() if label is not None}
        accepted, label, promised = step.sites[0], answers[0], step.promised
        if label is None:
            continue
        if not step.carved:
            found["energy"].append((errors[0] / len(accepted), promised["energy"]))
        worst = worst_force_error(accepted.get_forces(apply_constraint=False), label)
        found["forces"].append((worst, promised["forces"]))
        rivals = sorted(set(errors) - {0}, key=lambda k: abs(predicted[k] - predicted[0]))
        if rivals:
            found["delta_e"].append((errors[rivals[0]] - errors[0], promised["delta_e"][rivals[0]]))
    told = {}
    for name, pairs in found.items():
        off = np.array([error for error, _ in pairs])
        radii = np.array([np.inf if radius is None else radius for _, radius in pairs])
        told[name] = held(off, radii, tolerances[name])
    return told


def mean_and_error(name: str, values: Sequence[float]) -> dict[str, float | None]:
    """Mean and standard error of the mean under NAME and NAME_se.

    >>> mean_and_error("x", [1.0, 3.0])
    {'x': 2.0, 'x_se': 1.0}
    """
    if not values:
        return {name: None, f"{name}_se": None}
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return {name: float(np.mean(values)), f"{name}_se": error}


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
