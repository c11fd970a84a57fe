"""What a campaign will cost, before it is paid: `--dry-run`."""

from growth.config import Config

LCAO_FAST_CORE_SECONDS = (0.21, 1.55)
"""Core seconds of one `lcao-fast` label of n Al atoms are about 0.21 n^1.55 (16 atoms 15 s, 30 atoms 40 s)."""
METHOD_FACTOR = {"lcao-fast": 1.0, "lcao": 1.7, "pw": 4.0}
QUERIED_SHARE = 0.5
"""Share of steps that asked the oracle in the runs of docs/results."""


def expected_labels(config: Config) -> int:
    """Labels of the initial set and of about half of the steps, within the budget."""
    steps = config.walkers * max(config.growth.n_atoms - 14, 0)
    labels = config.initial.n + round(QUERIED_SHARE * steps * config.ask.sites_per_query)
    return labels if config.budget.labels is None else min(labels, config.budget.labels)


def core_seconds(config: Config, n_atoms: float) -> float:
    """Core seconds of one label of `n_atoms` atoms; cheap methods count as milliseconds an atom."""
    if config.oracle.method["kind"] != "gpaw":
        return 1e-4 * n_atoms
    a, b = LCAO_FAST_CORE_SECONDS
    return METHOD_FACTOR.get(config.oracle.method.get("preset", "lcao"), 4.0) * a * n_atoms**b


def estimate_lines(config: Config) -> list[str]:
    """The estimate as lines of text."""
    labels = expected_labels(config)
    size = (14 + config.growth.n_atoms) / 2
    steps = config.certificate.path_steps
    held_out = steps + config.certificate.site_steps * (config.growth.sites.n_competing - 1) + config.walkers
    hours = (labels + held_out) * core_seconds(config, size) / 3600
    gigabytes = 1.5 + (0.4 + 0.035 * max(config.growth.n_atoms - 14, 0)) * config.oracle.actors * (
        config.oracle.method["kind"] == "gpaw"
    )
    return [
        f"campaign {config.name}: {config.walkers} walkers to {config.growth.n_atoms} atoms",
        f"labels: about {labels} to learn from, up to {held_out} for the certificate",
        f"oracle: about {hours:.1f} core-hours on {config.oracle.actors} actor(s)",
        f"memory: about {gigabytes:.1f} GB",
    ]
