"""Logs of a training: CSV files, and TensorBoard's (extra `tensorboard`).

All are callbacks with a memory: when a training is resumed from a checkpoint, its logs are
cut back to that checkpoint and then grow as they would have. Nothing in the CSV files depends on
the time of day, so the same run writes the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import os
import time
import zlib
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hunch.errors import FolderError, MissingDependencyError, warn_user
from hunch.rl.agents.agent import Agent
from hunch.rl.agents.history import SHOWN_EPISODES
from hunch.rl.networks.value_networks import noise_size, noisy_layers
from hunch.rl.runs.callbacks import Evaluate
from hunch.rl.runs.quantities import quantities
from hunch.storage import as_written
from hunch.validation import whole_number

EPISODES: Final = "episodes.csv"
PROGRESS: Final = "progress.csv"
EVALUATIONS: Final = "evaluations.csv"
NOISE: Final = "noise.csv"


class _Log:
    """What both logs are told, and how far they have come."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: int = 1_000,
        evaluation: Evaluate | None = None,
    ) -> None:
        self.folder = Path(folder).expanduser()
        self.every = whole_number("every", every, at_least=1)
        self.evaluation = evaluation
        self._scores = self._updates = 0
        self._start()

    def _start(self) -> None:
        """Prepare a log that has nothing yet."""


class CsvLog(_Log):
    """Tables that grow while an agent learns.

    `episodes.csv` has a row for each training episode: replica, number, environment step at its
    end, return, length, and the numbers in the environment's last `info`, a column for each name
    that any episode had; one that is called like a column before it has `info.` in front.
    `progress.csv` has a row every so often: steps, updates, mean return of the last 20 episodes of
    all replicas, mean loss since the row before. `evaluations.csv` has a row for each evaluation of
    a replica. Of an agent with noisy layers `noise.csv` has a row as often as `progress.csv`: the
    mean size |σ| of each layer's noise, over its weights and the replicas.

    Args:
        folder: where the files go; it is made.
        every: environment steps from one writing to the next.
        evaluation: an `Evaluate` before this one in the list, whose scores are written.

    Example:
        >>> import tempfile
        >>> from hunch.rl import DQN
        >>> folder = tempfile.mkdtemp()
        >>> log = CsvLog(folder, every=100)
        >>> agent = DQN("CartPole-v1").learn(200, callbacks=[log], progress=False)
        >>> print(Path(folder, "episodes.csv").read_text().splitlines()[0])
        replica,episode,step,return,length

    Note:
        A file that was deleted meanwhile is written again as far as the agent remembers it.
    """

    def _start(self) -> None:
        self._bytes: dict[str, int] = {}  # written so far, by name of the file
        self._sums: dict[str, int] = {}  # their checksums (CRC-32)
        self._episodes: list[int] = []  # written so far, by replica
        self._infos: list[str] = []  # names of the columns of infos written so far

    def __call__(self, agent: Agent) -> None:
        """Write what is new since the last call."""
        losses: list[float] = getattr(agent, "losses", [])[self._updates :]
        self._updates = agent.updates
        last = [value for h in agent.histories for value in h.returns[-SHOWN_EPISODES:]]
        row = [
            agent.steps,
            agent.updates,
            float(np.mean(last)) if last else "",
            float(np.mean(losses)) if losses else "",
        ]
        self._append(PROGRESS, ["step", "updates", "mean_return", "loss"], [row])
        if sizes := [noise_size(layer) for layer in noisy_layers(agent.network)]:
            head = ["step", *(f"layer_{i + 1}" for i in range(len(sizes)))]
            self._append(NOISE, head, [[agent.steps, *sizes]])
        self.flush(agent)

    def flush(self, agent: Agent) -> None:
        """Write the episodes and evaluations that are not written yet, at the end of a training."""
        self._write_episodes(agent)
        if self.evaluation is not None:
            new = self.evaluation.scores[self._scores :]
            self._scores += len(new)
            head = ["step", "replica", "mean_return", "std_return", "min_return", "max_return"]
            rows = [
                [
                    s.step,
                    s.replica,
                    s.mean,
                    float(np.std(s.returns)),
                    min(s.returns),
                    max(s.returns),
                ]
                for s in new
            ]
            self._append(EVALUATIONS, head, rows)

    def _write_episodes(self, agent: Agent) -> None:
        if len(self._episodes) != agent.replicas:
            self._episodes = [0] * agent.replicas
        names = set(self._infos)
        for done, history in zip(self._episodes, agent.histories, strict=True):
            names.update(name for info in history.infos[done:] for name in info)
        if names != set(self._infos):
            # One table has one head, so it is written anew.
            self._infos = sorted(names)
            self._episodes = [0] * agent.replicas
            self._bytes.pop(EPISODES, None)
        rows: list[tuple[int, int, int]] = []  # (step, replica, episode): the order of the file
        for r, history in enumerate(agent.histories):
            rows += [(history.ends[i], r, i) for i in range(self._episodes[r], len(history.ends))]
            self._episodes[r] = len(history.ends)
        if not rows:
            return
        rows.sort()
        table = []
        for step, r, i in rows:
            history = agent.histories[r]
            info = [history.infos[i].get(name, "") for name in self._infos]
            table.append([r, i + 1, step, history.returns[i], history.lengths[i], *info])
        self._append(EPISODES, _episodes_head(self._infos), table)

    def _append(self, name: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        if not rows:
            return
        begun = self._bytes.get(name, 0) > 0
        content = _csv(rows if begun else [head, *rows])
        with self._saying_what_fails(name):
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / name).open("ab" if begun else "wb") as file:
                file.write(content)
        self._sums[name] = zlib.crc32(content, self._sums.get(name, 0) if begun else 0)
        self._bytes[name] = self._bytes.get(name, 0) + len(content)

    def state_dict(self) -> dict[str, Any]:
        """How far the files are written."""
        return {
            "bytes": dict(self._bytes),
            "sums": dict(self._sums),
            "episodes": list(self._episodes),
            "infos": list(self._infos),
            "scores": self._scores,
            "updates": self._updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Cut the files back to where they were.

        One that is gone or damaged is written anew. Of `progress.csv` the agent does not remember
        the rows: what there is of them is kept beside it, and a warning says so.
        """
        self._bytes, self._episodes = dict(state["bytes"]), list(state["episodes"])
        self._infos = list(state.get("infos", []))  # older checkpoints do not have it
        self._scores, self._updates = int(state["scores"]), int(state["updates"])
        whole = {name for name in self._bytes if _is_whole(self.folder / name, name, state)}
        if EPISODES in whole and not self._has_head(self.folder / EPISODES):
            whole.remove(EPISODES)
        for name, size in list(self._bytes.items()):
            if name in whole:
                self._cut(name, size)
                continue
            del self._bytes[name]
            if name == EPISODES:
                self._episodes = []
            elif name == EVALUATIONS:
                self._scores = 0
            elif (self.folder / name).exists():
                self._keep_beside(name)
        # Not those of the checkpoint, which may be an older one and have none.
        self._sums = {name: _sum(self.folder / name, size) for name, size in self._bytes.items()}

    def _cut(self, name: str, size: int) -> None:
        with self._saying_what_fails(name):
            os.truncate(self.folder / name, size)

    @contextmanager
    def _saying_what_fails(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FolderError(
                f"cannot write {str(self.folder / name)!r}: {error.strerror}."
            ) from error

    def _keep_beside(self, name: str) -> None:
        file = self.folder / name
        kept = file.with_name(f"damaged-{name}")
        with self._saying_what_fails(name):
            os.replace(file, kept)
        warn_user(
            f"{str(file)!r} is damaged and begins anew; what there is of it is {kept.name!r}."
        )

    def _has_head(self, file: Path) -> bool:
        """Whether a table of episodes has no columns that came after the checkpoint."""
        head = _csv([_episodes_head(self._infos)])
        try:
            with file.open("rb") as content:
                return content.read(len(head)) == head
        except OSError:
            return False


def damaged_logs(folder: Path, state: Mapping[str, Any]) -> list[Path]:
    """The tables in a folder that are not as a `CsvLog` wrote them.

    Args:
        folder: where they are.
        state: what `CsvLog.state_dict` gave.

    Example:
        >>> damaged_logs(Path("logs"), {"bytes": {}})
        []
    """
    return [folder / name for name in state["bytes"] if not _is_whole(folder / name, name, state)]


def columns_of_log(file: Path) -> dict[str, NDArray[np.float64]]:
    """The numbers of a log, by column; an empty cell is NaN. Of no file there are no columns.

    Raises:
        FolderError: if it is not as a `CsvLog` wrote it.

    Example:
        >>> columns_of_log(Path("no-such-file.csv"))
        {}
    """
    if not file.exists():
        return {}
    with as_written(file), file.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
        names = rows[0] if rows else []
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}


def _is_whole(file: Path, name: str, state: Mapping[str, Any]) -> bool:
    """Whether a table has all that was written before a checkpoint, as it was written."""
    size = int(state["bytes"][name])
    if not file.is_file() or file.stat().st_size < size:
        return False
    sums = state.get("sums", {})  # older checkpoints do not have it
    return name not in sums or _sum(file, size) == sums[name]


def _sum(file: Path, size: int) -> int:
    found = 0
    with file.open("rb") as content:
        while size > 0 and (part := content.read(min(size, 1 << 20))):
            found, size = zlib.crc32(part, found), size - len(part)
    return found


def _episodes_head(infos: Sequence[str]) -> list[str]:
    own = ["replica", "episode", "step", "return", "length"]
    return own + [f"info.{name}" if name in own else name for name in infos]


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


class CurveLog(_Log, ABC):
    """Curves for a dashboard: what `TensorBoardLog` and those of other dashboards have in common.

    Of each replica R `episode/return/R`, `episode/length/R` and `evaluation/return/R`; of all of
    them `train/loss`, the mean since the last writing, `time/steps_per_second`, evaluations and
    checkpoints included, and what `hunch.rl.runs.quantities` knows: `train/learning_rate`,
    `train/epsilon`, `train/value`, `noise/layer_N`.

    A subclass says how a dashboard is opened (`_open`) and how points get there (`_write`).
    """

    def _start(self) -> None:
        self._opened = False
        self._step = 0
        self._clock: tuple[float, int] | None = None  # and the steps then

    def check(self, agent: Agent) -> None:
        """Begin to measure the speed, when a training begins."""
        self._clock = time.perf_counter(), agent.steps

    def __call__(self, agent: Agent) -> None:
        """Write what is new since the last call."""
        if not self._opened:
            self._open(agent)
            self._opened = True
        points = list(self._points(agent))
        self._step, self._updates = agent.steps, agent.updates
        if self.evaluation is not None:
            self._scores = len(self.evaluation.scores)
        self._write(points, agent.steps)

    def flush(self, agent: Agent) -> None:
        """Write what is not written yet, at the end of a training."""
        if agent.steps > self._step:
            self(agent)

    @abstractmethod
    def _open(self, agent: Agent) -> None:
        """Begin, or go on from `self._step`."""

    @abstractmethod
    def _write(self, points: Sequence[tuple[str, int, float]], step: int) -> None:
        """Write points: name, environment step, value."""

    def _points(self, agent: Agent) -> Iterator[tuple[str, int, float]]:
        for r, history in enumerate(agent.histories):
            for i in range(bisect_right(history.ends, self._step), len(history.ends)):
                yield f"episode/return/{r}", history.ends[i], history.returns[i]
                yield f"episode/length/{r}", history.ends[i], history.lengths[i]
        losses: list[float] = getattr(agent, "losses", [])[self._updates :]
        if losses:
            yield "train/loss", agent.steps, float(np.mean(losses))
        if self.evaluation is not None:
            for score in self.evaluation.scores[self._scores :]:
                yield f"evaluation/return/{score.replica}", score.step, score.mean
        for name, value in quantities(agent).items():
            yield name, agent.steps, value
        now = time.perf_counter()
        if self._clock is not None and now > self._clock[0] and agent.steps > self._clock[1]:
            made = (agent.steps - self._clock[1]) * agent.replicas
            yield "time/steps_per_second", agent.steps, made / (now - self._clock[0])
        self._clock = now, agent.steps

    def state_dict(self) -> dict[str, Any]:
        """How far the curves are written."""
        return {"step": self._step, "scores": self._scores, "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._step, self._scores = int(state["step"]), int(state["scores"])
        self._updates = int(state["updates"])
        self.close()

    def close(self) -> None:
        """Let go of the dashboard; else the end of the program does."""
        if self._opened:
            self._close()
            self._opened = False

    def _close(self) -> None:
        """Let go of what `_open` opened."""


class TensorBoardLog(CurveLog):
    """Curves for TensorBoard, and the agent's settings.

    Of each replica R there are `episode/return/R`, `episode/length/R` and `evaluation/return/R`; of
    all of them `train/loss`, `train/learning_rate`, `train/epsilon`, `train/value` (the mean
    predicted return of the observations in sight), `noise/layer_N` (the mean |σ| of each noisy
    layer) and `time/steps_per_second`. The arguments of the agent stand under HPARAMS.

    Args:
        folder: where the event files go.
        every: environment steps from one writing to the next.
        evaluation: an `Evaluate` before this one in the list, whose scores are written.

    Raises:
        MissingDependencyError: if tensorboard is not installed.
    """

    def _start(self) -> None:
        super()._start()
        self._writer_class = _summary_writer()
        self._writer: Any = None

    def _open(self, agent: Agent) -> None:
        # TensorBoard then leaves out what a killed training wrote after its checkpoint.
        self._writer = self._writer_class(str(self.folder), purge_step=self._step + 1)
        if self._step == 0:
            self._write_settings(agent)

    def _write_settings(self, agent: Agent) -> None:
        from torch.utils.tensorboard.summary import hparams

        score = "episode" if self.evaluation is None else "evaluation"
        names = {f"{score}/return/{r}": 0.0 for r in range(agent.replicas)}
        for summary in hparams(plain_settings(agent), names):
            self._writer.file_writer.add_summary(summary)

    def _write(self, points: Sequence[tuple[str, int, float]], step: int) -> None:
        for name, at, value in points:
            self._writer.add_scalar(name, value, at)
        self._writer.flush()

    def _close(self) -> None:
        self._writer.close()
        self._writer = None


def plain_settings(agent: Agent) -> dict[str, bool | int | float | str]:
    """The arguments that made an agent, its class among them, as dashboards take them.

    Example:
        >>> from hunch.rl import DQN
        >>> found = plain_settings(DQN("CartPole-v1", hidden_sizes=(8, 8)))
        >>> found["agent"], found["hidden_sizes"], found["double"]
        ('DQN', '[8, 8]', False)
    """
    settings = {"agent": type(agent).__name__, **agent.settings}
    return {
        name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
        for name, value in settings.items()
    }


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependencyError(
            'TensorBoard logs need tensorboard: pip install "torch-hunch[tensorboard]".'
        ) from error
    return SummaryWriter
