"""The persistent worker of cheap methods: one child process, killed and started anew when a structure breaks it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from typing import Literal

from ase import Atoms

from oracle.methods import Method
from oracle.outcome import RawFailure, RawLabel
from oracle.runner import KILLS, clean_environment, kill_group, to_raw
from oracle.settings import LabelSettings
from oracle.worker import pack

_START_S = 120.0  # imports on a busy machine
_PIECE = 256  # structures that one message carries, however large the batch


class GoneError(Exception):
    """The worker ended (`crash`) or said nothing in time (`timeout`); `killed`: something outside ended it."""

    def __init__(self, reason: Literal["crash", "timeout"], message: str, killed: bool = False) -> None:
        super().__init__(message)
        self.reason: Literal["crash", "timeout"] = reason
        self.killed = killed


class BatchWorker:
    """Labels batches of structures in a child process that lives from one batch to the next.

    The child answers structure by structure, so that the one that hangs or kills it is known: that one fails, the
    child is started anew, and the rest of the batch goes on. Where something outside kills the child, the structure
    that it was at is begun anew, a few times.
    """

    def __init__(self, method: Method, settings: LabelSettings) -> None:
        self.method = method
        self.settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = bytearray()

    def __call__(self, structures: Sequence[Atoms]) -> Generator[RawLabel | RawFailure, None, None]:
        """Yield one result a structure, in order, as they come."""
        done, begun = 0, 1
        while done < len(structures):
            for result in self._serve(structures[done : done + _PIECE]):
                if isinstance(result, RawFailure) and result.killed and begun < self.settings.tries:
                    begun += 1
                    continue
                done, begun = done + 1, 1
                yield result

    def close(self) -> None:
        """End the child."""
        process, self._process = self._process, None
        self._buffer.clear()
        if process is not None:
            _end(process)

    def _serve(self, structures: Sequence[Atoms]) -> Generator[RawLabel | RawFailure, None, None]:
        """Yield results until all is done or one structure breaks the child; that one is then a failure, the last."""
        whole = False
        try:
            self._send(structures)
            assert self._process is not None
            for _ in structures:
                try:
                    line = self._line(self._process, self.settings.cheap_timeout_s)
                except GoneError as gone:
                    yield RawFailure(gone.reason, str(gone), gone.killed)
                    return
                yield to_raw(json.loads(line))
            whole = True
        finally:
            if not whole:  # broken, or left in the middle: replies still to come must not reach the next batch
                self.close()

    def _send(self, structures: Sequence[Atoms]) -> None:
        """Send a batch, to a new child when the old one has died between two batches.

        Raises:
            RuntimeError: no child starts, or each that does is killed at once.
        """
        packed = [pack(structure) for structure in structures]
        job = {"home": self.method.home, "method": self.method.to_dict(), "structures": packed}
        message = json.dumps(job).encode() + b"\n"
        why = ""
        for _ in range(1 + self.settings.tries):  # the one that is there may have died long ago
            try:
                if self._process is None:
                    self._process = self._start()
                self._write(self._process, message)
            except BrokenPipeError:
                why = "it is killed as soon as it is there"
                self.close()
            except GoneError as gone:
                why = str(gone)
                if not gone.killed:
                    break
            else:
                return
        raise RuntimeError(f"the batch worker does not start: {why}")

    @staticmethod
    def _write(process: subprocess.Popen[bytes], message: bytes) -> None:
        assert process.stdin is not None
        if process.poll() is not None:
            raise BrokenPipeError
        process.stdin.write(message)
        process.stdin.flush()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "oracle.worker", "batch", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean_environment(os.environ, self.settings.threads),
            process_group=0,
        )
        try:
            self._line(process, _START_S)
        except BaseException:
            self._buffer.clear()
            _end(process)
            raise
        return process

    def _line(self, process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
        """Return the next line that the child writes."""
        assert process.stdout is not None
        deadline = time.monotonic() + timeout_s
        handle = process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(handle, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise GoneError("timeout", f"no answer within {timeout_s:g} s")
                chunk = os.read(handle, 1 << 16)
                if not chunk:
                    status = process.wait()
                    raise GoneError("crash", f"the batch worker ended with status {status}", -status in KILLS)
                self._buffer += chunk
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a child and close its pipes."""
    kill_group(process)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # what was not yet sent is lost with the child
                pipe.close()
