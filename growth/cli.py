"""The `kossel` command. Commands load what they need when they run, so that `kossel --help` answers at once."""

import contextlib
import errno
import json
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

UsageErrors: Any = typer.BadParameter.__mro__[2]
"""Click's `ClickException`, whichever click this typer brings: wrong options, missing arguments."""
INTERRUPTED = 130
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""A disk that takes no more."""
LONGEST_LINE = 800
"""Characters of an error: what came may be a whole file."""
LAST_SEED = 2**63 - 1

ABOUT = """Grow crystals atom by atom on an energy surface that is learned while they grow.

A first session:

\b
  kossel doctor                                 is everything there?
  kossel grow --run-dir runs/first              grow two Al crystals, EMT as the oracle
  kossel status runs/first                      what is it doing?
  kossel report runs/first                      look: open runs/first/report.html
  kossel study runs/first --out runs/study      the energy landscape of what grew

Your own labels:

\b
  kossel label x.extxyz --method gpaw.yaml --dataset data/x
  kossel train --data data/x --out models/x
  kossel evaluate models/x test.extxyz

`kossel COMMAND --help` has examples; docs/first-hour.md takes it slowly.
"""

app = typer.Typer(
    help=ABOUT,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
dataset_app = typer.Typer(help="Look at, import, export and repair datasets.")
app.add_typer(dataset_app, name="dataset")


Overrides = Annotated[list[str] | None, typer.Option("--set", help="section.key=value, as often as needed")]
MethodFile = Annotated[Path, typer.Option("--method", help="method file (YAML)")]
DatasetDir = Annotated[Path, typer.Argument(help="dataset directory")]
Timeout = Annotated[float, typer.Option(help="seconds for a label")]
Ranks = Annotated[int, typer.Option(help="MPI ranks for a label")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input is one line on stderr and exit code 2, an interruption exit code 130."""
    from growth.errors import CampaignError
    from growth.errors import InputError as GrowthInputError
    from learner.errors import InputError as LearnerInputError
    from oracle.errors import InputError as OracleInputError

    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with _short_warnings():
            code = app(args=words, prog_name="kossel", standalone_mode=False) or 0
    except UsageErrors as error:
        context = getattr(error, "ctx", None)
        _stop(
            f"error: {error.format_message().rstrip('.')}; see {context.command_path if context else 'kossel'} --help",
            2,
        )
    except (GrowthInputError, LearnerInputError, OracleInputError) as error:
        _stop(f"error: {error}", 2)
    except CampaignError as error:
        _stop(f"stopped: {error}", 1)
    except OSError as error:
        if error.errno in FULL:
            _stop(f"stopped: {(error.strerror or '').lower()}; make room, and the same command goes on from here", 1)
        if error.filename is None:  # of no file: an accident, not an input
            raise
        _stop(f"error: {error.filename}: {error.strerror}; give another path, or mend this one", 2)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:
        resumes = words[0] in ("grow", "label", "make-dataset") or words[:2] == ["dataset", "relabel"]
        _stop("interrupted; the same command goes on from here" if resumes else "interrupted", code)
    if code:
        sys.exit(code)


def _stop(text: str, code: int) -> NoReturn:
    sys.stdout.flush()
    print(_one_line(text), file=sys.stderr)
    sys.exit(code)


def _one_line(text: str) -> str:
    """`text` as a line that a terminal can show.

    >>> _one_line("of\\nmany  lines \\x1b[31m" + "." * 9999)
    'of many lines \\\\x1b[31m...
    """
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE // 2]} … {line[-LONGEST_LINE // 2 :]}"


@contextlib.contextmanager
def _short_warnings() -> Iterator[None]:
    """Warnings in one line each, without the place in the source."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        print(_one_line(f"warning: {message}"), file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _label_settings(timeout: float, ranks: int = 1) -> Any:
    from growth.config import check_settings
    from oracle.settings import LabelSettings

    return check_settings(LabelSettings, {"timeout_s": timeout, "n_ranks": ranks}, "--timeout, --ranks")


def _method(path: Path) -> Any:
    from growth.teacher import Method  # which makes Kossel's own models a kind of method

    return Method.load(path)


def _report_labels(summary: Mapping[str, Any]) -> None:
    """Print the counts of a labelling; exit code 1 where labels failed."""
    typer.echo(json.dumps(summary, indent=1))
    n_failed = sum(summary["failed"].values())
    if n_failed:
        _stop(f"labels that failed: {n_failed}; `kossel dataset retry {summary['dataset']}` labels them again", 1)


@app.command()
def grow(
    config: Annotated[Path | None, typer.Argument(help="campaign config (YAML); default: the demo")] = None,
    run_dir: Annotated[Path | None, typer.Option("--run-dir", help="run directory; default runs/NAME")] = None,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what the run will cost, and stop")] = False,
) -> None:
    """Grow crystals with an oracle and a learner; the same command resumes a run."""
    from growth.config import load_config
    from growth.estimate import estimate_lines

    settings = load_config(config or Path(__file__).parent / "configs" / "al_emt.yaml", overrides or [])
    if dry_run:
        for line in estimate_lines(settings):
            typer.echo(line)
        return
    from growth.run import launch, resolve_run_dir

    launch(settings, resolve_run_dir(run_dir, settings))


@app.command()
def label(
    structures: Annotated[Path, typer.Argument(help="structures to label, any format that ASE reads")],
    method: MethodFile,
    dataset: Annotated[Path, typer.Option("--dataset", help="dataset directory, created or extended")],
    timeout: Timeout = 3600.0,
    ranks: Ranks = 1,
) -> None:
    """Label structures with a method; what the dataset has already is skipped. Exit code 1: some labels failed."""
    from oracle.campaign import label_file

    settings = _label_settings(timeout, ranks)
    summary = label_file(structures, _method(method), dataset, settings, progress=typer.echo)
    _report_labels(summary)


@app.command("make-dataset")
def make_dataset(
    benchmark: Annotated[str, typer.Argument(help="augmented-qm9, infinite-crystal or crystal-growth")],
    method: MethodFile,
    out: Annotated[Path, typer.Option(help="dataset directory, created or gone on with")],
    sizes: Annotated[str | None, typer.Option(help="crystal-growth: atoms, such as 15-75; default: 15-114")] = None,
    limit: Annotated[
        int | None, typer.Option(help="a part, evenly spread: molecules, points of each element, or structures")
    ] = None,
    seed: Annotated[int, typer.Option(help="crystal-growth: random seed of the growth seeds")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="labels side by side; default: this machine's cores")
    ] = None,
    qm9: Annotated[Path | None, typer.Option(help="QM9's archive, folder or CSV file; default: qm9pack's")] = None,
    lattice_constant: Annotated[
        list[str] | None, typer.Option(help="Å at scale 1, such as Al=3.995; default: measured ones")
    ] = None,
) -> None:
    """Label one of the paper's datasets by any method; the same command resumes. Exit code 1: some labels failed."""
    from growth.benchmark_settings import BenchmarkSettings, parse_lattice_constants, parse_sizes
    from growth.label_progress import LabelProgress
    from growth.make_dataset import make_dataset as make
    from growth.oracle_pool import open_oracle_pool
    from growth.process import absolute, n_cores
    from oracle import LabelSettings

    settings = BenchmarkSettings(
        benchmark, limit, parse_sizes(sizes), seed, parse_lattice_constants(lattice_constant or []), qm9
    )
    surface, directory = _method(method), absolute(out, "--out")

    def open_pool(n_chunks: int, logs: Path, cache: Path | None) -> Any:
        return open_oracle_pool(surface, LabelSettings(), min(workers or n_cores(), n_chunks), logs, cache)

    with LabelProgress().shown() as progress:
        summary = make(settings, surface, directory, open_pool, progress)
    _report_labels(summary)


@dataset_app.command("info")
def dataset_info(directory: DatasetDir) -> None:
    """Size, species, method and problems of a dataset."""
    from oracle.campaign import dataset_info as info

    typer.echo(json.dumps(info(directory), indent=1))


@dataset_app.command("export")
def dataset_export(
    directory: DatasetDir, target: Annotated[Path, typer.Argument(help="X.extxyz, X.db or X.aselmdb")]
) -> None:
    """Write a dataset as one extxyz file or an ASE database (SQLite or LMDB)."""
    from oracle import Dataset

    dataset = Dataset.read(directory)
    dataset.export(target)
    typer.echo(f"{len(dataset)} structures written to {target}")


@dataset_app.command("import")
def dataset_import(
    directory: DatasetDir,
    source: Annotated[Path, typer.Argument(help="labelled structures, any format that ASE reads")],
    method: MethodFile,
    energy_key: Annotated[
        str | None, typer.Option(help="info key of the energy, if not REF_ or a calculator's")
    ] = None,
    forces_key: Annotated[str | None, typer.Option(help="array key of the forces")] = None,
) -> None:
    """Take labelled structures from a file into a dataset; --method says which energy surface they are on."""
    from oracle.campaign import import_labelled

    added = import_labelled(source, directory, _method(method), energy_key, forces_key)
    typer.echo(f"{added} structures added to {directory}")


@dataset_app.command("merge")
def dataset_merge(
    directory: DatasetDir,
    others: Annotated[list[Path], typer.Argument(metavar="OTHER...", help="datasets of the same method")],
) -> None:
    """Take labels and failures of other datasets into one, each label once; the others stay as they are."""
    from oracle.merge import merge

    typer.echo(json.dumps(merge(directory, others), indent=1))


@dataset_app.command("relabel")
def dataset_relabel(
    directory: DatasetDir,
    method: MethodFile,
    out: Annotated[Path, typer.Option(help="the new dataset, created or gone on with")],
    timeout: Timeout = 3600.0,
    ranks: Ranks = 1,
) -> None:
    """Label the same structures by another method; the same command resumes. Exit code 1: some labels failed."""
    from oracle.relabel import relabel

    settings = _label_settings(timeout, ranks)
    _report_labels(relabel(directory, _method(method), out, settings, progress=typer.echo))


@dataset_app.command("split")
def dataset_split(
    directory: DatasetDir,
    out: Annotated[Path, typer.Option(help="folder for train, validation and test .extxyz")],
    ratio: Annotated[str, typer.Option(help="shares of train, validation and test")] = "80/10/10",
    by: Annotated[str | None, typer.Option(help="info key; structures that share its value stay together")] = None,
    seed: Annotated[int, typer.Option(help="another number gives another split")] = 0,
) -> None:
    """Write training, validation and test files that cut no group; equal input gives equal files."""
    from oracle.split import parse_ratio, split

    typer.echo(json.dumps(split(directory, out, parse_ratio(ratio), by, seed), indent=1))


@dataset_app.command("retry")
def dataset_retry(
    directory: DatasetDir,
    method: MethodFile,
    timeout: Timeout = 3600.0,
) -> None:
    """Label again what failed. Exit code 1: some failed again."""
    from oracle.campaign import retry_failed

    summary = retry_failed(directory, _method(method), _label_settings(timeout), progress=typer.echo)
    _report_labels(summary)


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="dataset directory or a file of labelled structures")],
    out: Annotated[Path, typer.Option(help="model directory to write")],
    start: Annotated[Path | None, typer.Option("--from", help="model directory to go on from")] = None,
    minutes: Annotated[float | None, typer.Option(help="wall-clock budget")] = None,
    seed: Annotated[int, typer.Option(min=0, max=LAST_SEED, help="random seed")] = 0,
    threads: Annotated[int, typer.Option(min=1, max=1000, help="cores that torch uses; its matrices are small")] = 1,
    overrides: Overrides = None,
    energy_key: Annotated[
        str | None, typer.Option(help="info key of the energy, if not REF_ or a calculator's")
    ] = None,
    forces_key: Annotated[str | None, typer.Option(help="array key of the forces")] = None,
) -> None:
    """Train a committee on labelled structures, from scratch or onwards."""
    from growth.training import train_model
    from growth.workers import set_threads

    set_threads(threads)
    train_model(data, out, start, minutes, seed, overrides or [], (energy_key, forces_key), typer.echo)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="model directory")],
    structures: Annotated[Path, typer.Argument(help="labelled structures")],
    out: Annotated[Path | None, typer.Option("--json", help="write the figures here too")] = None,
    energy_key: Annotated[
        str | None, typer.Option(help="info key of the energy, if not REF_ or a calculator's")
    ] = None,
    forces_key: Annotated[str | None, typer.Option(help="array key of the forces")] = None,
) -> None:
    """Errors of a model on labelled structures."""
    from growth.training import evaluate_model

    figures = evaluate_model(model, structures, (energy_key, forces_key))
    text = json.dumps(figures, indent=1)
    if out is not None:
        from oracle.durable import write_whole

        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, text)
    typer.echo(text)


@app.command("study")
def study_command(
    subject: Annotated[Path, typer.Argument(help="run directory, or structures in any format that ASE reads")],
    out: Annotated[Path, typer.Option(help="folder for what comes out, created or gone on with")],
    model: Annotated[Path | None, typer.Option(help="model directory; default: the run's newest")] = None,
    method: Annotated[Path | None, typer.Option(help="method file (YAML) instead of a model")] = None,
    oracle: Annotated[Path | None, typer.Option(help="method file (YAML) that draws a few points on top")] = None,
    what: Annotated[str | None, typer.Option(help="studies, parted by commas, or all; default: the quick ones")] = None,
    seed: Annotated[int, typer.Option(min=0, max=LAST_SEED, help="random seed")] = 0,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="study.setting=value, as often as needed")
    ] = None,
) -> None:
    """What grew, and the energy landscape it grew on; the same command goes on, another --what adds to it.

    \b
    kossel study runs/al --out runs/al/study
    kossel study al13.extxyz --method emt.yaml --out al13 --what network,vibrations
    """
    from growth.study.command import Surface, study

    study(
        subject,
        Surface(model, method, oracle),
        out,
        what.split(",") if what else None,
        overrides or [],
        seed,
        typer.echo,
    )


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="run directory")],
    out: Annotated[Path | None, typer.Option(help="file to write; default: RUN/report.html")] = None,
    serve: Annotated[bool, typer.Option("--serve", help="show it on this machine while the run goes on")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="to serve on; 0: any that is free")] = 0,
) -> None:
    """One page about a run: the crystals in 3D, how sure we are, what it cost, what to do next. Opens offline.

    \b
    kossel report runs/al
    kossel report runs/al --serve
    """
    from growth.page.page import write_report

    if serve:
        from growth.page.serve import serve as show

        show(run, port)
    else:
        typer.echo(str(write_report(run, out)))


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="run directory")],
    out: Annotated[Path | None, typer.Option(help="folder to write to; default: RUN/export")] = None,
    form: Annotated[
        str, typer.Option("--format", help="extxyz, cif, poscar, lammps-data, pymatgen, or tensorboard")
    ] = "extxyz",
) -> None:
    """What grew for other programs: trajectories and labels as extxyz, crystals in other formats, or a run's curves.

    \b
    kossel export runs/al                           trajectories and labels, for ASE, OVITO, pymatgen
    kossel export runs/al --format lammps-data      the crystals as they stand
    kossel export runs/al --format tensorboard      curves; tensorboard --logdir runs/al/export
    """
    from growth.export import export_run
    from growth.tensorboard_files import write_tensorboard

    target = out or run / "export"
    written = write_tensorboard(run, target) if form == "tensorboard" else export_run(run, target, form)
    for path in written:
        typer.echo(str(path))


@app.command()
def status(
    run: Annotated[Path, typer.Argument(help="run directory")],
    as_json: Annotated[bool, typer.Option("--json", help="plain values instead of a table")] = False,
) -> None:
    """What a run is doing, from its files alone: also of one on another machine, or long over."""
    from rich.console import Console

    from growth.status import print_status, status_of

    found = status_of(run)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        print_status(Console(highlight=False), found)


@app.command()
def doctor(
    run: Annotated[Path | None, typer.Argument(help="run directory to look at too")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="plain values instead of a table")] = False,
) -> None:
    """What would go wrong on this machine, and what to do; exit code 1 where something is bad."""
    import os

    from rich.console import Console

    from growth.doctor import examine, print_findings, told

    findings = examine(os.environ, run)
    if as_json:
        typer.echo(json.dumps(told(findings), indent=1))
    else:
        print_findings(Console(highlight=False), findings)
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)


@app.command()
def schema(out: Annotated[Path | None, typer.Option(help="file to write; default: standard output")] = None) -> None:
    """JSON schema of a campaign config, for editors."""
    from growth.config import Config

    text = json.dumps(Config.model_json_schema(), indent=1)
    if out is None:
        typer.echo(text)
    else:
        out.write_text(text + "\n")


if __name__ == "__main__":
    main()
