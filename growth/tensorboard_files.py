"""A run's measurements as event files, which TensorBoard shows (extra `tensorboard`)."""

from collections import Counter
from pathlib import Path
from typing import Any

from growth.errors import InputError
from growth.live import METRICS, Figure, figures
from oracle.durable import read_lines

CAMPAIGN = "campaign"
"""The folder of what belongs to no walker."""


def write_tensorboard(run: Path, out: Path) -> list[Path]:
    """Write OUT/wNN, curves of each walker against its steps, and OUT/campaign, the others against labels.

    What was there of an earlier call is written anew, so that it may be called again while the run goes on.

    Returns:
        The folders. `tensorboard --logdir OUT` shows them.

    Raises:
        InputError: `run` is no run directory, or TensorBoard is not installed.
    """
    config = run / "config.yaml"
    if not config.exists():
        raise InputError(f"{run}: not a run directory (no config.yaml); give the directory that `kossel grow` wrote")
    boards = _Boards(out)
    for line in read_lines(run / "events.jsonl"):
        for figure in figures("events", line):
            boards.add(figure, line["step"])
    n_labels = 0
    for line in read_lines(run / "metrics.jsonl"):
        n_labels = line.get("n_labels", n_labels)
        for figure in figures("metrics", line):
            boards.add(figure, n_labels)
    boards.tell("config", f"```yaml\n{config.read_text()}\n```")
    return boards.close()


class _Boards:
    """A writer for each walker and one for the campaign; counters are summed on the way."""

    def __init__(self, out: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InputError(
                f"TensorBoard is not installed ({error}); pip install 'kossel[tensorboard]', or read metrics.jsonl"
            ) from None
        self._make, self._out = SummaryWriter, out
        self._writers: dict[str, Any] = {}
        self._sums: Counter[str] = Counter()

    def add(self, figure: Figure, step: int) -> None:
        """One point of a curve, named by metric and tags."""
        tags = dict(figure.tags)
        walker = tags.pop("walker", None)
        name, value = "/".join([figure.name, *tags.values()]), figure.value
        if METRICS[figure.name].kind == "counter":
            self._sums[name] += int(value)
            value = self._sums[name]
        self._writer(CAMPAIGN if walker is None else f"w{walker}").add_scalar(name, value, step)

    def tell(self, name: str, text: str) -> None:
        """A page of text."""
        self._writer(CAMPAIGN).add_text(name, text)

    def close(self) -> list[Path]:
        """Finish the files; the folders they are in."""
        for writer in self._writers.values():
            writer.close()
        return [self._out / name for name in sorted(self._writers)]

    def _writer(self, name: str) -> Any:
        if name not in self._writers:
            for older in (self._out / name).glob("events.out.tfevents.*"):
                older.unlink()
            self._writers[name] = self._make(str(self._out / name))
        return self._writers[name]
