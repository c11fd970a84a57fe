"""About what a campaign will cost, before it is paid: `--dry-run`."""

from growth.config import Config
from growth.seeds import make_seed

LCAO_FAST_CORE_SECONDS = (0.21, 1.55)
"""Core seconds of one `lcao-fast` label of n Al atoms are about 0.21 n^1.55 (16 atoms 15 s, 30 atoms 40 s)."""
METHOD_FACTOR = {"lcao-fast": 1.0, "lcao": 1.7, "pw": 4.0}
LABEL_GIGABYTES = (0.4, 0.035, 14)
"""One GPAW label takes about 0.4 GB at 14 atoms and 0.035 GB for each atom more."""
QUERIED_SHARE = 0.5
"""A guess at the share of steps that ask the oracle; it falls with looser tolerances."""


def expected_steps(config: Config, n_seed: int) -> int:
    """Events of all walkers, hops included, from a seed of n_seed atoms."""
    return config.walkers * max(config.growth.n_atoms - n_seed, 0) * (1 + config.growth.hops_per_step)


def expected_labels(config: Config, n_seed: int) -> int:
    """Labels of the initial set and of about half of the steps, within the budget."""
    queried = round(QUERIED_SHARE * expected_steps(config, n_seed) * config.ask.sites_per_query)
    labels = config.initial.n + queried
    return labels if config.budget.labels is None else min(labels, config.budget.labels)


def certificate_labels(config: Config, n_seed: int) -> int:
    """Labels of the certificate at most: accepted crystals, the rivals of some, the grown crystals."""
    steps = min(config.certificate.path_steps, expected_steps(config, n_seed))
    rivals = min(config.certificate.site_steps, steps) * (config.growth.sites.n_competing - 1)
    return steps + rivals + config.walkers


def core_seconds(config: Config, n_atoms: float) -> float:
    """Core seconds of one label of `n_atoms` atoms; cheap methods count as a fraction of a millisecond an atom."""
    if config.oracle.method["kind"] != "gpaw":
        return 1e-4 * n_atoms
    a, b = LCAO_FAST_CORE_SECONDS
    return METHOD_FACTOR.get(config.oracle.method.get("preset", "lcao"), 4.0) * a * n_atoms**b


def gigabytes(config: Config, n_atoms: int) -> float:
    """Memory of the processes of a run, its largest labels of `n_atoms` atoms."""
    at_first, an_atom, n_first = LABEL_GIGABYTES
    labels = config.oracle.actors * (at_first + an_atom * max(n_atoms - n_first, 0))
    return 1.5 + (labels if config.oracle.method["kind"] == "gpaw" else 0.0)


def estimate_lines(config: Config) -> list[str]:
    """The estimate as lines of text.

    Raises:
        InputError: the seed cannot be made.
    """
    n_seed = len(make_seed(config.structure))
    n_atoms = max(config.growth.n_atoms, n_seed)
    labels, held_out = expected_labels(config, n_seed), certificate_labels(config, n_seed)
    hours = (labels + held_out) * core_seconds(config, (n_seed + n_atoms) / 2) / 3600
    return [
        f"campaign {config.name}: {config.walkers} walkers from {n_seed} to {n_atoms} atoms",
        f"labels: about {labels} to learn from, up to {held_out} for the certificate",
        f"oracle: about {hours:.1f} core-hours on {config.oracle.actors} actor(s)",
        f"memory: about {gigabytes(config, n_atoms):.1f} GB",
    ]
