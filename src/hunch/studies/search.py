"""Settings that a study looks for: jobs are trials, and Optuna draws them (extra `optuna`).

    search.journal          all trials of all searches, in Optuna's own words; beside `study.json`

A trial is asked for by the process that does its job, and bears the job's number there, so that
whoever takes the job up finds the same settings. Optuna decides by what was told until then: which
settings a trial gets depends on which ones are done, and with one worker on nothing else.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from hunch.errors import ConfigurationError
from hunch.rl.agents.agent import Agent
from hunch.rl.runs.run import Run
from hunch.seeding import derive
from hunch.storage import as_written, check_own_file
from hunch.studies.executors import needed
from hunch.validation import real_number

JOURNAL: Final = "search.journal"
_JOB: Final = "job"  # what a trial is called by


@dataclass(frozen=True)
class Choice:
    """One of several values of a setting.

    Args:
        words: what people call the values; Optuna keeps these.
        values: the values themselves, as plans have them.
    """

    words: Sequence[str]
    values: Sequence[Any]

    def __post_init__(self) -> None:
        if not self.words or len(self.words) != len(self.values):
            raise ConfigurationError(f"`words` got {self.words!r}; expected one for each value.")

    def distribution(self, optuna: Any) -> Any:
        """As Optuna has it."""
        return optuna.distributions.CategoricalDistribution(list(self.words))

    def value(self, drawn: Any) -> Any:
        """What a plan gets."""
        return self.values[list(self.words).index(drawn)]


@dataclass(frozen=True)
class Range:
    """A number between two others, both included; a whole one if they are.

    Args:
        low: the least.
        high: the largest.
        log: whether logarithms are drawn evenly.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        real_number("low", self.low)
        real_number("high", self.high)
        if not isinstance(self.log, bool):
            raise ConfigurationError(f"`log` got {self.log!r}; expected true or false.")
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ConfigurationError(
                f"a range got low = {self.low}, high = {self.high}, log = {self.log}; expected low "
                "below high, and above 0 where logarithms are drawn."
            )

    def distribution(self, optuna: Any) -> Any:
        """As Optuna has it."""
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        kinds = optuna.distributions
        kind = kinds.IntDistribution if whole else kinds.FloatDistribution
        return kind(self.low, self.high, log=self.log)

    def value(self, drawn: Any) -> Any:
        """What a plan gets."""
        return drawn


@dataclass(frozen=True)
class Search:
    """What is looked for.

    Args:
        space: by name of the setting.
        prune: whether a trial ends whose evaluations are below the median of those before it.
    """

    space: Mapping[str, Choice | Range]
    prune: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"space": {n: asdict(d) for n, d in self.space.items()}, "prune": self.prune}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Search:
        """What `to_json` gave.

        Example:
            >>> search = Search({"learning_rate": Range(1e-4, 1e-2, log=True)})
            >>> Search.from_json(search.to_json()) == search
            True
        """
        made = {n: (Choice if "words" in d else Range)(**d) for n, d in values["space"].items()}
        return cls(made, bool(values["prune"]))


class Pruned(KeyboardInterrupt):
    """Ends a training between two steps, as Ctrl-C does: with a checkpoint."""


class Trial:
    """A job's trial, which goes on if there is one.

    Args:
        task: of the job.
        study: the study's folder.
    """

    def __init__(self, task: Mapping[str, Any], study: Path) -> None:
        optuna = needed("optuna", "optuna")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._states = optuna.trial.TrialState
        with as_written(study / "study.json"):
            self.search = Search.from_json(task["search"])
        check_own_file(study / JOURNAL)
        backend = optuna.storages.journal
        journal = str(study / JOURNAL)
        _cut_to_whole_lines(study / JOURNAL, backend.JournalFileSymlinkLock(journal))
        storage = optuna.storages.JournalStorage(backend.JournalFileBackend(journal))
        name, _, number = str(task["name"]).rpartition("/")
        self._study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize",
            # Anew for each trial, so that its settings follow from those before it.
            sampler=optuna.samplers.TPESampler(seed=derive(int(number), "search") % 2**32),
            pruner=optuna.pruners.MedianPruner(),
            load_if_exists=True,
        )
        job = int(number)
        found = [t for t in self._study.get_trials() if t.user_attrs.get(_JOB) == job]
        if found:
            self._trial = optuna.trial.Trial(self._study, found[0]._trial_id)
        else:
            space = {n: d.distribution(optuna) for n, d in self.search.space.items()}
            self._trial = self._study.ask(space)
            self._trial.set_user_attr(_JOB, job)

    @property
    def words(self) -> dict[str, Any]:
        """The settings as people would type them."""
        return {name: self._trial.params[name] for name in self.search.space}

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as a plan has them."""
        return {name: self.search.space[name].value(v) for name, v in self.words.items()}

    @property
    def _kept(self) -> Any:
        return self._study.get_trials(deepcopy=False)[self._trial.number]

    def is_worse(self, step: int, value: float) -> bool:
        """Report an evaluation; whether there is no use in going on."""
        if step not in self._kept.intermediate_values:
            self._trial.report(value, step)
        return bool(self._trial.should_prune())

    def tell(self, value: float, *, pruned: bool) -> None:
        """Say how it ended, once."""
        if self._kept.state.is_finished():
            return
        if pruned:
            self._study.tell(self._trial, state=self._states.PRUNED)
        else:
            self._study.tell(self._trial, value)


class TrialRun(Run):
    """A run that ends where its trial is seen to be no use.

    Attributes:
        trial: which; None for one that goes on to its end.
    """

    trial: Trial | None = None

    def _build(self) -> None:
        super()._build()
        if self.trial is not None and self.trial.search.prune and self.evaluation is not None:
            self.callbacks.append(_Pruner(self.trial, self))

    def train(self, *, progress: bool = True, tell: Callable[[str], None] = warnings.warn) -> Agent:
        """As `Run.train`, or until the trial is seen to be no use: the run then ends there."""
        try:
            return super().train(progress=progress, tell=tell)
        except Pruned:
            self.trial = None
            self.extend(self.steps)
            return super().train(progress=progress, tell=tell)


class _Pruner:
    """Looks at each evaluation."""

    def __init__(self, trial: Trial, run: Run) -> None:
        self._trial, self._run = trial, run
        self.every = run.plan.evaluate_every

    def __call__(self, agent: Agent) -> None:
        evaluation = self._run.evaluation
        scores = [] if evaluation is None else evaluation.scores[-agent.replicas :]
        if scores and self._trial.is_worse(
            scores[-1].step, sum(score.mean for score in scores) / len(scores)
        ):
            raise Pruned


def tell_of(run: Run, trial: Trial) -> None:
    """Tell the search how a run did by its last weights, in the episodes that judge it."""
    replicas = run.summary()["replicas"]
    means = [replica["last"]["mean_return"] for replica in replicas]
    trial.tell(sum(means) / len(means), pruned="begun_with" in run.about)


@contextmanager
def _held(lock: Any) -> Iterator[None]:
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _cut_to_whole_lines(journal: Path, lock: Any) -> None:
    """Cut off a line that a kill or a full disk has left without its end: it was never said."""
    if not journal.exists():
        return
    with _held(lock), journal.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if size and file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
