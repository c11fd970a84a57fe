"""Every table and figure of the paper, and the page that gathers them: docs/results/paper.md.

python scripts/reproduce_paper.py --scale small --workers 2      (hours; rerun to go on; --scale smoke: minutes)
python scripts/reproduce_paper.py --scale full --workers 16      (the paper's sizes)
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle.durable import write_whole
from reproduction.scale import parse

PARTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "reproduce_table1": (
        "Table 1: each strategy in turn",
        "Bond types as an edge feature (MPNN), messages by bond type (VIMPNN) and each auxiliary target, each alone, "
        "lower the error of the baseline that sees distances only.",
        ("table1",),
    ),
    "reproduce_convergence": (
        "Table 1, why: optimisation, capacity or data",
        "(ours) where a strategy does not beat the baseline, the error on the training structures says why.",
        ("convergence",),
    ),
    "reproduce_table2": (
        "Table 2: MPNN against VIMPNN",
        "VIMPNN has the lower error on all datasets.",
        ("table2",),
    ),
    "reproduce_table3": (
        "Table 3: how messages are combined",
        "A scalar weight for each bond type (a.ii) is best.",
        ("table3",),
    ),
    "reproduce_table4": (
        "Table 4: combinations of auxiliaries",
        "Auxiliary physical targets lower the error of the energy.",
        ("table4",),
    ),
    "reproduce_figure3": (
        "Figure 3: energy curves of two molecules",
        "VIMPNN finds the stable distance of C3H4O3 and C5H7N3O better than MPNN.",
        ("figure3",),
    ),
    "reproduce_figure4": (
        "Figure 4: error by type of atom",
        "The atom-count auxiliary lowers the error for all types of atoms.",
        ("figure4",),
    ),
    "reproduce_forces": (
        "Beyond the paper: training with forces, and figure 6, error against size",
        "What it leaves open: large crystals lose the minimum, energies carry an offset; the error grows beyond the "
        "sizes that were learnt.",
        ("forces", "figure6"),
    ),
    "reproduce_figure5": (
        "Figure 5: energy curves at 15 and 75 atoms",
        "The minimum is found at 15 atoms and gets lost at 75.",
        ("figure5",),
    ),
    "reproduce_figure7": (
        "Figure 7: contributions of atoms while one is moved",
        "At a stable position all atoms contribute alike.",
        ("figure7",),
    ),
}
SPEED = (
    "Speed",
    "0.007 s an estimate; VIMPNN takes 1.3 times as long as MPNN; 10⁵ times faster than DFT.",
    "estimates",
)
HEAD = """# The paper's results, from this repository

"VIMPNN: a physics informed DNN to estimate potential energies of unstable systems" (2019), on our labels: GFN2-xTB for
molecules, EMT for crystals. Each part gives the paper's claim in words, our numbers, mean (std over random seeds of
weights, order and split), and whether the claim holds here: a difference counts where it is more than twice its
standard error over the seeds. "Last fifth" is by how much the validation error still fell in the last fifth of the
budget: what has not converged. Budgets are equal: {minutes:g} CPU minutes of one core for a network ({variants:g} in
tables 3 and 4).

Scale: **{scale}**. All of it by one command, `python scripts/reproduce_paper.py --scale {scale}`; each part by its own.
"""


def page(scale) -> str:
    """The page from what the parts have written."""
    minutes = {"minutes": scale.cpu_minutes, "variants": scale.cpu_minutes_variants, "scale": scale.name}
    text = [HEAD.format(**minutes)]
    datasets = scale.out / "datasets.md"
    if datasets.exists():
        text += [datasets.read_text()]
    for script, (title, claim, names) in PARTS.items():
        text += [f"## {title}", "", f"Claim: {claim}", "", f"`python scripts/{script}.py --scale {scale.name}`", ""]
        for name in names:
            if (scale.out / f"{name}.md").exists():
                text += [(scale.out / f"{name}.md").read_text()]
            if (scale.out / f"{name}.png").exists():
                text += [f"![{name}](paper/{name}.png)", ""]
    title, claim, name = SPEED
    if (scale.out / f"{name}.md").exists():
        command = "python scripts/benchmark_estimates.py --out docs/results/paper"
        text += [f"## {title}", "", f"Claim: {claim}", "", f"`{command}`", "", (scale.out / f"{name}.md").read_text()]
    notes = scale.out / "notes.md"
    if notes.exists():
        text += [notes.read_text()]
    return "\n".join(text)


def main() -> None:
    """Run every part, then write the page."""
    scale = parse(__doc__ or "")
    here = Path(__file__).resolve().parent
    for script in PARTS:
        print(f"== {script}", flush=True)
        done = subprocess.run([sys.executable, str(here / f"{script}.py"), *sys.argv[1:]], check=False)
        if done.returncode:
            sys.exit(f"{script}.py failed; run this again to go on")
    path = scale.out.parent / "paper.md"
    write_whole(path, page(scale))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
