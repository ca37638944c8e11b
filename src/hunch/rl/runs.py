"""A run: one training in a folder that says what it is, and that can be killed at any moment.

    run.json                what is trained, on what, how long; versions, command
    logs/                   episodes.csv, progress.csv, evaluations.csv, tensorboard/
    checkpoints/step-…/     the last two states from which training goes on to the same bits
    best/                   the weights that did best in evaluation episodes during training
    summary.json            how the last and the best weights do in other evaluation episodes

`Run.begin` makes the folder, `Run.open` finds it again, and `train` goes on from wherever the run
stands: at the start, after Ctrl-C, or after a kill.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from hunch.errors import ConfigurationError, FolderError
from hunch.rl.agent import Agent
from hunch.rl.arguments import whole_number
from hunch.rl.callbacks import Evaluate, StopOnReturn, StopWhenSolved
from hunch.rl.checkpoints import Checkpoint, check_checkpoint
from hunch.rl.logs import CsvLog, TensorBoardLog
from hunch.rl.saved_agents import SETTINGS_FILE, from_json
from hunch.rl.training import Callback
from hunch.rl.weights import agent_class, class_of, read_weights
from hunch.seeding import derive
from hunch.storage import dump_json, read_json, versions, write_text

RUN_FILE: Final = "run.json"
SUMMARY_FILE: Final = "summary.json"
COMPLETE: Final = "complete"  # every step was made


@dataclass(frozen=True)
class Plan:
    """What a run does; all of it decides the result, and stays as it is when the run is taken up.

    Args:
        agent: class of the agent in `hunch.rl`, or of one of your own that is imported by then.
        settings: arguments of the agent, as `Agent.settings` gives them.
        steps: environment steps of each replica; the only thing that may grow later.
        evaluate_every: environment steps from one evaluation to the next; 0 for none.
        evaluate_episodes: episodes of each.
        evaluation_env_kwargs: keyword arguments in which the environment then differs.
        checkpoint_every: environment steps from one checkpoint to the next.
        log_every: environment steps from one writing of the logs to the next.
        stop_at: mean return in an evaluation at which training ends; None for never.
        stop_when_solved: bound and first episode of `StopWhenSolved`, and the steps from one look
            to the next; None where that is not asked.
        tensorboard: whether to write TensorBoard's logs too.
    """

    agent: str
    settings: Mapping[str, Any]
    steps: int
    evaluate_every: int = 0
    evaluate_episodes: int = 10
    evaluation_env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_every: int = 10_000
    log_every: int = 1_000
    stop_at: float | None = None
    stop_when_solved: tuple[float, int, int] | None = None
    tensorboard: bool = False

    def __post_init__(self) -> None:
        whole_number("steps", self.steps, at_least=1)
        whole_number("evaluate_every", self.evaluate_every, at_least=0)
        if self.stop_at is not None and not self.evaluate_every:
            raise ConfigurationError(
                "`stop_at` is a return in evaluations, but `evaluate_every` is 0; expected at "
                "least 1 step from one evaluation to the next."
            )


class Run:
    """A run and its folder.

    Made by `Run.begin` and `Run.open`.

    Args:
        folder: of the run.
        plan: what it does.
        about: other plain values in `run.json`, such as the command.
    """

    def __init__(self, folder: Path, plan: Plan, about: Mapping[str, Any]) -> None:
        self.folder, self.plan, self.about = folder, plan, dict(about)
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
        cls, folder: str | os.PathLike[str], plan: Plan, about: Mapping[str, Any] | None = None
    ) -> Run:
        """Make the folder of a new run.

        Args:
            folder: where; it may not exist yet, or be empty.
            plan: what the run does.
            about: other plain values for `run.json`.

        Raises:
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
        target = Path(folder).expanduser().absolute()
        check_new(target)
        run = cls(target, plan, {**(about or {}), "versions": versions()})
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            aside.chmod(0o755)  # mkdtemp's own mode shuts everybody else out
            (aside / RUN_FILE).write_text(dump_json(run._json()), encoding="utf-8")
            if target.exists():
                target.rmdir()  # empty, as was seen
            aside.rename(target)
        except OSError as error:
            raise FolderError(
                f"cannot write to {str(folder)!r}: {error.strerror}; choose a folder you may "
                "write to."
            ) from error
        return run

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Run:
        """A run that was begun before.

        Raises:
            FolderError: if the folder is none of a run.
        """
        place = Path(folder).expanduser().absolute()
        if not (place / RUN_FILE).is_file():
            raise FolderError(
                f"{str(folder)!r} is no run: there is no {RUN_FILE} in it; expected a folder that "
                "`hunch train` wrote."
            )
        found = read_json(place / RUN_FILE)
        if not isinstance(found, dict) or found.get("written_by") != "hunch":
            raise FolderError(f"{str(place / RUN_FILE)!r} was not written by hunch.")
        plan = Plan(**found.pop("plan"))
        if plan.stop_when_solved is not None:
            bound, earliest, every = plan.stop_when_solved
            plan = replace(plan, stop_when_solved=(bound, earliest, every))
        return cls(place, plan, {k: v for k, v in found.items() if k not in ("written_by", "kind")})

    def _json(self) -> dict[str, Any]:
        return {"written_by": "hunch", "kind": "run", "plan": asdict(self.plan), **self.about}

    @property
    def seed(self) -> int:
        """The agent's seed."""
        return int(self.plan.settings.get("seed", 0))  # a class of the user's may hide it

    @property
    def replicas(self) -> int:
        """The agent's replicas."""
        return int(self.plan.settings.get("replicas", 1))

    @property
    def name(self) -> str:
        """Agent and environment, as they were asked for."""
        agent, env = self.about.get("recipe", self.plan.agent), self.plan.settings.get("env")
        return f"{agent} on {self.about.get('env', env)}"

    @property
    def finished(self) -> str | None:
        """Why training ended: `"complete"`, `"solved"`, `"stop_at"`; None if it did not yet."""
        found = self.about.get("finished")
        return None if found is None else str(found)

    def extend(self, steps: int) -> None:
        """Let the run make more steps than it was begun with.

        Raises:
            ConfigurationError: if `steps` is less than before.
        """
        if steps < self.plan.steps:
            raise ConfigurationError(
                f"`steps` got {steps}, but the run was begun with {self.plan.steps}; expected at "
                "least as many."
            )
        if steps == self.plan.steps:
            return
        if self.finished == COMPLETE:
            del self.about["finished"]
        self.plan = replace(self.plan, steps=steps)
        self._rewrite()

    def _rewrite(self) -> None:
        write_text(self.folder / RUN_FILE, dump_json(self._json()))

    def train(self, *, progress: bool = True, tell: Callable[[str], None] = warnings.warn) -> Agent:
        """Train until the plan is fulfilled, from wherever the run stands.

        Args:
            progress: whether to show a bar on standard error.
            tell: called with a sentence for each damaged checkpoint.

        Returns:
            The agent as it is at the end.

        Raises:
            FolderError: if another process trains this run now.
            KeyboardInterrupt: after Ctrl-C; a checkpoint has been written then.
        """
        with _alone(self.folder):
            self._build()
            agent: Agent | None = self.checkpoint.resume(settings=self.plan.settings, tell=tell)
            if agent is None:
                agent = self.new_agent()
            try:
                self._learn(agent, progress)
            except KeyboardInterrupt:
                self._keep(agent)
                raise
            self._keep(agent)
            self.about["finished"] = self._reason()
            self._rewrite()
        return agent

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
        settings = {name: from_json(value) for name, value in self.plan.settings.items()}
        made: Agent = agent_class(self.plan.agent)(**settings)
        return made

    def last_agent(self) -> Agent:
        """The agent of the newest whole checkpoint; nothing in the folder is touched.

        Raises:
            FolderError: if there is none.
        """
        place, found = self._newest()
        agent: Agent = class_of(found).load(place)
        return agent

    def best_agent(self) -> Agent:
        """An agent whose replicas act with the weights that did best in evaluations so far.

        Without evaluations they act as they did last. Nothing in the folder is touched.

        Raises:
            FolderError: if there is no checkpoint.
        """
        if self.finished and (self.folder / "best").exists():
            return read_weights(self.folder / "best")
        place, found = self._newest()
        agent: Agent = class_of(found).load(place)
        if self.evaluation is not None:
            memory = self.checkpoint.memory(place)
            self.evaluation.load_state_dict(memory[f"0-{Evaluate.__name__}"])
            self.evaluation.load_best(agent)
        return agent

    def best_replica(self) -> int:
        """The replica whose best evaluation has the highest mean return; 0 without evaluations."""
        summary = self.folder / "best" / SETTINGS_FILE
        if not summary.is_file():
            return 0
        means = [note["mean_return"] for note in read_json(summary)["notes"]]
        return means.index(max(means))

    def _newest(self) -> tuple[Path, dict[str, Any]]:
        refusals = []
        for place in reversed(self.checkpoint.all()):
            try:
                return place, check_checkpoint(place, self.plan.settings)
            except FolderError as error:
                refusals.append(str(error))
        raise FolderError(
            f"{str(self.folder)!r} has no checkpoint to load: "
            f"{refusals[0] if refusals else 'there is none yet.'}"
        )


def check_new(folder: Path) -> None:
    """Refuse a folder in which something is lost if a run is begun there.

    Raises:
        FolderError: naming what is in the way.

    Example:
        >>> check_new(Path("a-folder-that-does-not-exist"))
    """
    try:
        if not folder.exists():
            return
        if not folder.is_dir():
            raise FolderError(f"{str(folder)!r} is a file; expected a folder, or a new name.")
        names = [p.name for p in folder.iterdir()]
    except OSError as error:
        if isinstance(error, FolderError):
            raise
        raise FolderError(f"cannot read {str(folder)!r}: {error.strerror}.") from error
    if RUN_FILE in names:
        raise FolderError(
            f"{str(folder)!r} is a run already; go on with it by `hunch train --resume {folder}`, "
            "or choose another folder."
        )
    if names:
        raise FolderError(f"{str(folder)!r} is not empty; choose another folder for the run.")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the run for this process; the system lets go of it when the process dies, however."""
    try:
        import fcntl
    except ImportError:  # Windows: nothing like it
        yield
        return
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FolderError(
                f"{str(folder)!r} is being trained by another process; wait for it or stop it."
            ) from error
        yield
