"""What is done in a study: cells, each a way to train, and a job for each seed of a cell."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hunch.errors import ConfigurationError
from hunch.storage import checksum, expanded
from hunch.validation import whole_number

if TYPE_CHECKING:
    from hunch.rl import Plan

KINDS: Final = ("train", "fit", "reproduce")
# Names of folders: a study's file may come from a stranger, and may not lead out of its folder.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


@dataclass(frozen=True)
class Cell:
    """One way to do something, to be done once for each seed.

    Made by `Cell.training`, `Cell.fitting` and `Cell.reproducing`.

    Args:
        name: of its folder; letters, digits, dots, lines.
        kind: `"train"`, `"fit"` or `"reproduce"`.
        labels: what tables say of it: `agent`, `env` and `settings`.
        work: what is done, as plain values, without the seed.
        seeds: a job for each.
    """

    name: str
    kind: str
    labels: Mapping[str, str]
    work: Mapping[str, Any]
    seeds: tuple[int, ...] = field(default=(0,))

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"`name` got {self.name!r}; expected up to 120 letters, digits, dots and lines."
            )
        if self.kind not in KINDS:
            raise ConfigurationError(f"`kind` got {self.kind!r}; expected {', '.join(KINDS)}.")
        plain = isinstance(self.labels, Mapping) and isinstance(self.work, Mapping)
        if not plain or {*self.labels} != {"agent", "env", "settings"}:
            raise ConfigurationError(
                f"`labels` got {self.labels!r}; expected agent, env and settings."
            )
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ConfigurationError(
                f"`seeds` got {list(self.seeds)!r}; expected at least one, none of them twice."
            )
        for seed in self.seeds:
            whole_number("seeds", seed, at_least=0)

    @classmethod
    def training(
        cls,
        agent: str,
        env: str,
        plan: Plan,
        seeds: Iterable[int],
        *,
        settings: str = "",
        about: Mapping[str, Any] | None = None,
        report: bool = False,
        search: Mapping[str, Any] | None = None,
    ) -> Cell:
        """Train an agent, as `hunch train` does.

        Args:
            agent: what tables call the agent.
            env: what they call the environment.
            plan: what each run does; its seed is replaced.
            seeds: a run for each.
            settings: what tables call the settings.
            about: other plain values for each `run.json`.
            report: whether each run gets a page too, which takes some seconds.
            search: of `hunch.studies.search.Search`, if settings are looked for: a seed is then a
                trial.

        Example:
            >>> from hunch.rl import DQN, Plan
            >>> plan = Plan("DQN", DQN("CartPole-v1").settings, steps=300)
            >>> Cell.training("dqn", "CartPole-v1", plan, range(3), settings="as they are").name
            'dqn-CartPole-v1-as-they-are'
        """
        values = asdict(plan)
        values["settings"] = {k: v for k, v in values["settings"].items() if k != "seed"}
        work = {"plan": values, "about": dict(about or {}), "report": report}
        if search is not None:
            work["search"] = dict(search)
        return cls._named("train", agent, env, settings, work, seeds)

    @classmethod
    def fitting(
        cls,
        label: str,
        data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        target: str,
        seeds: Iterable[int],
        *,
        settings: str = "",
        **options: Any,
    ) -> Cell:
        """Learn to predict a column of a table, as `hunch fit` does.

        Args:
            label: what tables call it.
            data: the file or files; their checksums are kept, and others are not taken later.
            target: the column.
            seeds: a model for each.
            settings: what tables call the settings.
            options: others of `hunch.tables.fit_table`, as plain values.

        Raises:
            ConfigurationError: if a file cannot be read.
        """
        files = [data] if isinstance(data, str | os.PathLike) else list(data)
        if (test := options.get("test")) is not None:
            options["test"] = str(expanded(test))
        places = [str(expanded(file)) for file in files]
        sums = {place: _sum(place) for place in [*places, *([options["test"]] if test else [])]}
        work = {"data": places, "checksums": sums, "target": target, "options": options}
        return cls._named("fit", "fit", label, settings, work, seeds)

    @classmethod
    def reproducing(cls, claim: str, seeds: Iterable[int]) -> Cell:
        """Run a published claim, as `hunch reproduce` does; without its name in a table of claims.

        Example:
            >>> Cell.reproducing("chain", [0, 1]).name
            'reproduce-chain'
        """
        return cls._named("reproduce", "reproduce", claim, "", {"claim": claim}, seeds)

    @classmethod
    def _named(
        cls,
        kind: str,
        agent: str,
        env: str,
        settings: str,
        work: Mapping[str, Any],
        seeds: Iterable[int],
    ) -> Cell:
        words = [agent, env.rpartition("/")[2], settings]
        name = "-".join(slug for word in words if (slug := slug_of(word)))[:120] or kind
        labels = {"agent": agent, "env": env, "settings": settings}
        return cls(name, kind, labels, work, tuple(seeds))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Cell:
        """What a study's file says of a cell."""
        return cls(**{**values, "seeds": tuple(values["seeds"])})


def slug_of(word: str) -> str:
    """A word as a part of a folder's name.

    Example:
        >>> slug_of("lake.py:make_env"), slug_of("../x y")
        ('lake.py-make_env', 'x-y')
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", word).strip("-._")


def _sum(place: str) -> str:
    try:
        return checksum(expanded(place))
    except OSError as error:
        raise ConfigurationError(f"cannot read {place!r}: {error.strerror or error}.") from error


@dataclass(frozen=True)
class Job:
    """One seed of a cell: what a worker does at a time.

    Args:
        cell: its cell.
        seed: its seed.
    """

    cell: Cell
    seed: int

    @property
    def name(self) -> str:
        """The cell's name and the seed, as the job's folder lies below `jobs/`."""
        return f"{self.cell.name}/{self.seed}"

    @property
    def output(self) -> str:
        """Name of the folder that the job makes: `run`, `model` or `claim`."""
        return {"train": "run", "fit": "model", "reproduce": "claim"}[self.cell.kind]

    def task(self) -> dict[str, Any]:
        """What is to be done, seed and all, as plain values."""
        work = dict(self.cell.work)
        if self.cell.kind == "train":
            plan, about = dict(work["plan"]), dict(work["about"])
            plan["settings"] = {**plan["settings"], "seed": self.seed}
            if "command" in about:
                about["command"] = f"{about['command']} {shlex.join(['--seed', str(self.seed)])}"
            work |= {"plan": plan, "about": about}
        return {"kind": self.cell.kind, "name": self.name, "seed": self.seed, **work}


def with_names_of_their_own(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """The cells, a number behind the names of those whose folders would be the same.

    Example:
        >>> [c.name for c in with_names_of_their_own([Cell.reproducing("chain", [0])] * 2)]
        ['reproduce-chain', 'reproduce-chain-2']
    """
    from dataclasses import replace

    taken: set[str] = set()
    found = []
    for cell in cells:
        name, number = cell.name, 2
        while name.casefold() in taken:  # some disks take capitals for small letters
            name, number = f"{cell.name[:110]}-{number}", number + 1
        taken.add(name.casefold())
        found.append(replace(cell, name=name))
    return tuple(found)


def jobs_of(cells: Sequence[Cell]) -> list[Job]:
    """All jobs in their order: the first seed of every cell, then the second ones.

    So a study that is stopped early has something of every cell.

    Example:
        >>> cells = [Cell.reproducing("chain", [0, 1]), Cell.reproducing("bsuite", [5])]
        >>> [job.name for job in jobs_of(cells)]
        ['reproduce-chain/0', 'reproduce-bsuite/5', 'reproduce-chain/1']
    """
    most = max((len(cell.seeds) for cell in cells), default=0)
    return [Job(c, c.seeds[i]) for i in range(most) for c in cells if i < len(c.seeds)]
