"""A run: one training in a folder that says what it is, and that can be killed at any moment.

    run.json                what is trained, on what, how long; versions, command
    logs/                   episodes.csv, progress.csv, evaluations.csv, noise.csv, tensorboard/
    checkpoints/step-…/     the last two states from which training goes on to the same bits
    best/                   the weights that did best in evaluation episodes during training
    summary.json            how the last and the best weights do in other evaluation episodes

`Run.begin` makes the folder, `Run.open` finds it again, and `train` goes on from wherever the run
stands: at the start, after Ctrl-C, or after a kill.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from hunch.errors import ConfigurationError, FolderError, warn_user
from hunch.rl.agents.agent import Agent
from hunch.rl.agents.loop import Callback
from hunch.rl.agents.saving import (
    GIVEN,
    SETTINGS_FILE,
    check_nothing_missing,
    from_json,
)
from hunch.rl.agents.trust import check_trusted
from hunch.rl.runs.callbacks import Evaluate, StopOnReturn, StopWhenSolved
from hunch.rl.runs.checkpoints import Checkpoint, check_checkpoint, steps_of
from hunch.rl.runs.loggers import (
    EPISODES,
    EVALUATIONS,
    NOISE,
    PROGRESS,
    CsvLog,
    TensorBoardLog,
    damaged_logs,
)
from hunch.rl.runs.plan import COMPLETE, RUN_FILE, Plan, check_about, read_run_file, run_file_text
from hunch.rl.runs.weights import KIND as WEIGHTS
from hunch.rl.runs.weights import agent_class, class_of, read_weights
from hunch.seeding import derive
from hunch.storage import (
    as_written,
    check_own_file,
    check_own_folder,
    checksum,
    dump_json,
    expanded,
    first_folder,
    folder_place,
    open_folder,
    read_json,
    recovered,
    versions,
    write_own_text,
)

SUMMARY_FILE: Final = "summary.json"


class Run:
    """A run and its folder.

    Made by `Run.begin` and `Run.open`.

    Args:
        folder: of the run.
        plan: what it does.
        about: other plain values in `run.json`, such as the command.
        trust: as for `Run.open`.
        given: as for `Run.open`.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        about: Mapping[str, Any],
        *,
        trust: bool = False,
        **given: Any,
    ) -> None:
        check_about(plan, about)
        check_given(plan, given)
        self.folder, self.plan, self.about = folder, plan, dict(about)
        self._trust, self._given = trust, given
        self._build()

    def _build(self) -> None:
        """The callbacks, without memory."""
        plan = self.plan
        self.evaluation: Evaluate | None = None
        self.stop: StopOnReturn | StopWhenSolved | None = None
        if plan.evaluate_every:
            self.evaluation = Evaluate(
                plan.evaluate_every,
                plan.evaluate_episodes,
                derive(self.seed, "evaluation during training"),
                plan.evaluation_env_kwargs,
                max_steps=plan.evaluation_max_steps,
            )
        if plan.stop_when_solved is not None:
            bound, earliest, every = plan.stop_when_solved
            self.stop = StopWhenSolved(bound, earliest, every)
        elif plan.stop_at is not None:
            self.stop = StopOnReturn(plan.stop_at, evaluation=self.evaluation)
        self.logs: list[CsvLog | TensorBoardLog] = [
            CsvLog(self.folder / "logs", plan.log_every, self.evaluation)
        ]
        if plan.tensorboard:
            logs = self.folder / "logs" / "tensorboard"
            self.logs.append(TensorBoardLog(logs, plan.log_every, self.evaluation))
        others: list[Callback] = [c for c in (self.evaluation, self.stop) if c is not None]
        others += self.logs
        self.checkpoint = Checkpoint(
            self.folder / "checkpoints", plan.checkpoint_every, callbacks=others
        )
        self.callbacks: list[Callback] = [*others, self.checkpoint]

    @classmethod
    def begin(
        cls,
        folder: str | os.PathLike[str],
        plan: Plan,
        about: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> Run:
        """Make the folder of a new run.

        Args:
            folder: where; it may not exist yet, or be empty.
            plan: what the run does.
            about: other plain values for `run.json`.
            given: as for `Run.open`.

        Raises:
            ConfigurationError: if what is given is no argument that the plan leaves open.
            FolderError: if the folder cannot be made, or holds anything.

        Example:
            >>> import tempfile
            >>> from hunch.rl import DQN
            >>> plan = Plan("DQN", DQN("CartPole-v1").settings, steps=300)
            >>> run = Run.begin(tempfile.mkdtemp() + "/run", plan)
            >>> run.train(progress=False).steps
            300
            >>> Run.open(run.folder).finished
            'complete'
        """
        target = expanded(folder)
        run = cls(target, plan, {**(about or {}), "versions": versions()}, **given)
        with first_folder(folder, partial(check_new, folder)) as aside:
            text = run_file_text(run.plan, run.about)
            (aside / RUN_FILE).write_text(text, encoding="utf-8")
        return run

    @classmethod
    def open(cls, folder: str | os.PathLike[str], *, trust: bool = False, **given: Any) -> Run:
        """A run that was begun before.

        Args:
            folder: of the run.
            trust: whether modules may be imported that the folder names and nobody else did, such
                as that of an environment `module:Name`. Say so only of folders whose makers you
                would let run programs here.
            given: arguments of the agent that are no plain values, such as `env` if it was made
                with a function or `network` if with a module of yours. They are asked for when
                an agent is made or loaded.

        Raises:
            ConfigurationError: if what is given is no argument that the run leaves open.
            FolderError: if the folder is none of a run or is damaged, or names such a module.
        """
        place = expanded(folder)
        plan, about = read_run_file(folder)
        check_trusted(folder, plan.settings, trust=trust)
        check_trusted(folder, plan.evaluation_env_kwargs, trust=trust)
        check_given(plan, given)  # which is no fault of the folder's
        with as_written(place / RUN_FILE):
            return cls(place, plan, about, trust=trust, **given)

    @property
    def seed(self) -> int:
        """The agent's seed."""
        return self.plan.seed

    @property
    def replicas(self) -> int:
        """The agent's replicas."""
        return self.plan.replicas

    @property
    def name(self) -> str:
        """Agent and environment, as they were asked for, and in what the agent is another one."""
        agent, env = self.about.get("recipe", self.plan.agent), self.plan.settings.get("env")
        if besides := self.about.get("besides"):
            words = (
                f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in besides.items()
            )
            agent = f"{agent} ({', '.join(words)})"
        return f"{agent} on {self.about.get('env', env)}"

    @property
    def finished(self) -> str | None:
        """Why training ended: `"complete"`, `"solved"`, `"stop_at"`; None if it did not yet."""
        found = self.about.get("finished")
        return None if found is None else str(found)

    @property
    def seconds(self) -> float | None:
        """Wall time of training and its evaluations so far; None if it is not known.

        That of a training that was killed does not count.
        """
        found = self.about.get("seconds")
        return None if found is None else float(found)

    def extend(self, steps: int) -> None:
        """Let the run make more steps than it was begun with, or fewer.

        It never has fewer than it has made: a run that was interrupted ends where it stands if
        `steps` is less than that.

        Raises:
            ConfigurationError: if `steps` is less than a finished run has made.
        """
        if steps < self.plan.steps:
            if self.finished:
                raise ConfigurationError(
                    f"`steps` got {steps}, but the run was begun with {self.plan.steps} and made "
                    "them; expected at least as many."
                )
            steps = min(max(steps, self.steps, 1), self.plan.steps)
        if steps == self.plan.steps:
            return
        if self.finished == COMPLETE:
            del self.about["finished"]
        self.about.setdefault("begun_with", self.plan.steps)
        self.plan = replace(self.plan, steps=steps)
        self._rewrite()

    def _rewrite(self) -> None:
        write_own_text(self.folder / RUN_FILE, run_file_text(self.plan, self.about))

    def train(self, *, progress: bool = True, tell: Callable[[str], None] = warnings.warn) -> Agent:
        """Train until the plan is fulfilled, from wherever the run stands.

        Args:
            progress: whether to show a bar on standard error.
            tell: called with a sentence for each damaged checkpoint.

        Returns:
            The agent as it is at the end.

        Raises:
            FolderError: if another process trains this run now, the folder cannot be written, or
                its checkpoints are whole and of another run.
            KeyboardInterrupt: after Ctrl-C; a checkpoint has been written then.
        """
        begun = time.perf_counter()
        with _locked(self.folder):
            self._check_own()
            self._build()
            agent: Agent | None = self.checkpoint.resume(
                settings=self.plan.settings, tell=tell, trust=self._trust, **self._given
            )
            if agent is None:
                agent = self.new_agent()
            try:
                self._learn(agent, progress)
            except KeyboardInterrupt:
                self._keep(agent)
                self._add_time(begun)
                self._rewrite()
                raise
            self._keep(agent)
            if not self.finished:
                self._add_time(begun)
                self.about.pop("summary", None)  # which was of fewer steps
            self.about["finished"] = self._reason()
            self._rewrite()
        return agent

    def _add_time(self, begun: float) -> None:
        self.about["seconds"] = round((self.seconds or 0.0) + time.perf_counter() - begun, 3)

    def _check_own(self) -> None:
        """Nothing in the folder may be a link: it would lead to files of somebody else's."""
        for name in ("logs", "checkpoints", "best", "logs/tensorboard"):
            check_own_folder(self.folder / name)
        for log in (EPISODES, PROGRESS, EVALUATIONS, NOISE):
            check_own_file(self.folder / "logs" / log)
        for name in (RUN_FILE, SUMMARY_FILE):
            check_own_file(self.folder / name)

    def _learn(self, agent: Agent, progress: bool) -> None:
        # Its last checkpoint knows whether a run was ended before its last step.
        begun = agent.steps > 0 and not agent.cut_short
        if not (self.stop is not None and begun and self.stop(agent)):
            agent.learn(self.plan.steps, callbacks=self.callbacks, progress=progress)
        # What ended the training may be the best there was, and between two evaluations.
        if self.stop is not None and self.stop.reached and self.evaluation is not None:
            latest = self.evaluation.latest(0)
            if latest is None or latest.step < agent.steps:
                self.evaluation(agent)

    def _keep(self, agent: Agent) -> None:
        for log in self.logs:
            log.flush(agent)
        self.checkpoint(agent)
        if self.evaluation is not None:
            self.evaluation.write_best(self.folder / "best", agent)

    def _reason(self) -> str:
        if self.stop is None or not self.stop.reached:
            return COMPLETE
        return "solved" if isinstance(self.stop, StopWhenSolved) else "stop_at"

    def new_agent(self) -> Agent:
        """The agent as it is before its first step."""
        plain = {**self.plan.settings, **dict.fromkeys(self._given)}
        check_nothing_missing(self.folder, plain, "Run.open")
        # What is given may raise errors of its own.
        with nullcontext() if self._given else as_written(self.folder / RUN_FILE):
            settings = {name: from_json(value) for name, value in plain.items()}
            made: Agent = agent_class(self.plan.agent)(**settings | self._given)
        return made

    def last_agent(self) -> Agent:
        """The agent of the newest whole checkpoint; nothing in the folder is touched.

        A warning says so if it is not the newest there is.

        Raises:
            FolderError: if there is none.
        """
        place, found = self._newest()
        agent: Agent = class_of(found).load(place, trust=self._trust, **self._given)
        return agent

    def best_agent(self) -> Agent:
        """An agent whose replicas act with the weights that did best in evaluations so far.

        Without evaluations they act as they did last. Nothing in the folder is touched.

        Raises:
            FolderError: if there is no checkpoint.
        """
        if self.finished and recovered(self.folder / "best").exists():
            return read_weights(self.folder / "best", trust=self._trust, **self._given)
        place, found = self._newest()
        agent: Agent = class_of(found).load(place, trust=self._trust, **self._given)
        if self.evaluation is not None:
            with as_written(place):
                memory = self.checkpoint.memory(place)
                self.evaluation.load_state_dict(memory[f"0-{Evaluate.__name__}"])
                self.evaluation.load_best(agent)
        return agent

    def best_replica(self) -> int:
        """The replica whose best evaluation has the highest mean return; 0 without evaluations."""
        if not recovered(self.folder / "best").exists():
            return 0
        notes = open_folder(self.folder / "best", WEIGHTS) / SETTINGS_FILE
        with as_written(notes):
            means = [float(note["mean_return"]) for note in read_json(notes)["notes"]]
            return means.index(max(means))

    @property
    def steps(self) -> int:
        """Environment steps of each replica at the newest checkpoint; 0 if there is none."""
        return max(map(steps_of, self.checkpoint.all()), default=0)

    def damaged_logs(self) -> list[Path]:
        """The tables of logs that are not as they were written, as far as checkpoints tell."""
        if not self.checkpoint.all():
            return []
        memory = self.checkpoint.memory(self._newest()[0])
        logs = next(state for name, state in memory.items() if name.endswith(CsvLog.__name__))
        with as_written(self.folder / "checkpoints"):
            return damaged_logs(self.folder / "logs", logs)

    def summary(self) -> dict[str, Any]:
        """How the run went, as `hunch.rl.runs.summary.summarize` wrote it; empty before that.

        Raises:
            FolderError: if `summary.json` is not as it was written.
        """
        return read_summary(self.folder, self.about)

    def write_summary(self, values: Mapping[str, Any]) -> None:
        """Write `summary.json`, and its checksum into `run.json`."""
        place = self.folder / SUMMARY_FILE
        write_own_text(place, dump_json(values))
        self.about["summary"] = checksum(place)
        self._rewrite()

    def _newest(self) -> tuple[Path, dict[str, Any]]:
        refusals = []
        for place in reversed(self.checkpoint.all()):
            try:
                found = check_checkpoint(place, self.plan.settings)
            except FolderError as error:
                refusals.append(str(error))
                continue
            if refusals:
                warn_user(f"{refusals[0]} The checkpoint before it is taken.")
            return place, found
        raise FolderError(
            f"{str(self.folder)!r} has no checkpoint to load: "
            f"{refusals[0] if refusals else 'there is none yet.'}"
        )


def read_summary(folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """How a run went, from its folder alone: nothing that it names is imported or made.

    Args:
        folder: of the run.
        about: what `read_run_file` found there besides the plan.

    Returns:
        What `summary.json` holds; empty before the run has been judged.

    Raises:
        FolderError: if `summary.json` is not as it was written.

    Example:
        >>> read_summary(Path("a-folder"), {})
        {}
    """
    place = folder / SUMMARY_FILE
    if "summary" not in about:
        return {}
    if not place.is_file() or checksum(place) != about["summary"]:
        raise FolderError(
            f"{str(place)!r} is not as hunch wrote it; `hunch train --resume` writes it anew."
        )
    found: dict[str, Any] = read_json(place)
    return found


def check_given(plan: Plan, given: Mapping[str, Any]) -> None:
    """Refuse arguments that a plan knows already, or does not have.

    Raises:
        ConfigurationError: naming the argument.

    Example:
        >>> check_given(Plan("DQN", {"env": dict(GIVEN)}, steps=10), {"env": lambda: None})
    """
    for name in given:
        if plan.settings.get(name) != GIVEN:
            raise ConfigurationError(
                f"`{name}` was given to a run whose plan says "
                f"{name}={plan.settings.get(name)!r}; expected only arguments that are no plain "
                "values, such as a function that makes an environment."
            )


def check_new(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder in which something is lost if a run is begun there.

    Raises:
        FolderError: naming what is in the way.

    Example:
        >>> check_new(Path("a-folder-that-does-not-exist"))
    """
    place = folder_place(folder)
    try:
        names = [p.name for p in place.iterdir()] if place.exists() else []
    except OSError as error:
        raise FolderError(f"cannot read {str(folder)!r}: {error.strerror}.") from error
    if RUN_FILE in names:
        raise FolderError(
            f"{str(folder)!r} is a run already; go on with it by `hunch train --resume {folder}`, "
            "or choose another folder."
        )
    if names:
        raise FolderError(f"{str(folder)!r} is not empty; choose another folder for the run.")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the run for this process; the system lets go of it when the process dies, however."""
    try:
        import fcntl
    except ImportError:  # Windows: nothing like it
        yield
        return
    place = folder / ".lock"
    check_own_file(place)
    try:
        lock = place.open("a")
    except OSError as error:
        raise FolderError(f"cannot write to {str(folder)!r}: {error.strerror}.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FolderError(
                f"{str(folder)!r} is being trained by another process; wait for it or stop it."
            ) from error
        yield
