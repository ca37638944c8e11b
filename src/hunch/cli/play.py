"""`hunch play`: what a trained agent does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hunch.cli.environments import env_given
from hunch.cli.options import (
    WholeNumber,
    import_option,
    json_option,
    load_torch,
    name_module,
    only_named_modules,
    trust_option,
    wrap_option,
)

if TYPE_CHECKING:
    from hunch.rl import Run
    from hunch.rl.agents.agent import Agent

_EPILOG = """\b
Example: hunch play runs/noisy-dqn-CartPole-v1-0 --episodes 100
         hunch play runs/dqn-lake-make_env-0 lake.py:make_env
         hunch play runs/boot-dqn-DeepSea-v0-0 --last --video dive.mp4
"""


@click.command(epilog=_EPILOG)
@click.argument("run", type=click.Path())
@click.argument("env", required=False)
@wrap_option
@click.option(
    "--episodes",
    type=WholeNumber(1),
    default=10,
    show_default=True,
    help="Evaluation episodes to play.",
)
@click.option("--video", type=click.Path(), help="Record the first of them into this MP4 file.")
@click.option(
    "--best/--last",
    default=True,
    show_default="best",
    help="The weights that did best in evaluations during training, or the last ones.",
)
@click.option(
    "--replica",
    type=WholeNumber(0),
    help="Which replica.  [default: the one that did best in evaluations]",
)
@click.option(
    "--seed",
    type=WholeNumber(0),
    default=0,
    show_default=True,
    help="Decides the starts; none of them was trained on.",
)
@import_option
@trust_option
@json_option
@click.pass_context
def play(
    context: click.Context,
    /,
    run: str,
    env: str | None,
    wrap: tuple[str, ...],
    trust: bool,
    **options: Any,
) -> None:
    """Play episodes with the agent of RUN, a folder of `hunch train` or of an agent's `save`.

    It acts greedily. A run that is still being trained may be played too. ENV is needed where the
    agent was trained in a function or class of yours: name it again, as file.py:make_env, and
    `--wrap` with it, since what only a folder names is not run.
    """
    from hunch.storage import existing_folder

    existing_folder(run)
    load_torch()
    for text in (*([] if env is None else [env]), *wrap):
        name_module(context, text)
    with only_named_modules(context, trust):
        _play(run, (env, wrap), trust, **options)


def _play(
    run: str,
    typed: tuple[str | None, tuple[str, ...]],
    trust: bool,
    *,
    episodes: int,
    video: str | None,
    best: bool,
    replica: int | None,
    seed: int,
    as_json: bool,
) -> None:
    from hunch.rl import evaluate, record
    from hunch.rl.runs.callbacks import Player
    from hunch.rl.runs.video import check_video_place

    if video is not None:
        check_video_place(video)
    agent, r, env_kwargs, most = _player(run, typed, best, replica, trust)
    player = Player(agent, r, env_kwargs)
    returns = evaluate(player, episodes, seed=seed, max_steps=most, progress=True).returns
    if as_json:
        from hunch.storage import dump_json

        found: dict[str, Any] = {"replica": r, "weights": "best" if best else "last", "seed": seed}
        found |= {"mean_return": float(returns.mean()), "std_return": float(returns.std())}
        click.echo(dump_json({**found, "returns": returns.tolist()}), nl=False)
    else:
        click.echo(
            f"Replica {r}: return {returns.mean():.2f} ± {returns.std():.2f} (standard deviation)"
        )
        click.echo("Episodes: " + ", ".join(f"{value:g}" for value in returns))
    if video is not None:
        episode = record(player, video, seed=seed)
        click.echo(f"Video of the first episode: {video} ({episode.length:,} steps)", err=as_json)


def _player(
    place: str,
    typed: tuple[str | None, tuple[str, ...]],
    best: bool,
    replica: int | None,
    trust: bool,
) -> tuple[Agent, int, dict[str, Any], int]:
    """The agent, which of its replicas plays, how its environment differs, and for how long."""
    from hunch.rl import Run
    from hunch.rl.agents.saving import SETTINGS_FILE, agent_origin, agent_values
    from hunch.rl.runs.evaluation import MAX_STEPS
    from hunch.rl.runs.plan import RUN_FILE, read_run_file
    from hunch.rl.runs.weights import class_of
    from hunch.storage import expanded, recovered

    folder = recovered(expanded(place))
    if (folder / RUN_FILE).exists() or not (folder / SETTINGS_FILE).exists():
        plan, about = read_run_file(place)
        given = env_given(place, plan.settings, about, typed, trust=trust)
        if not given:
            _check_same(place, about.get("env", plan.settings.get("env")), typed[0])
        run = Run.open(place, trust=trust, **given)
        agent = run.best_agent() if best else run.last_agent()
        plan = run.plan
        kwargs = dict(plan.evaluation_env_kwargs)
        return agent, _replica(run, replica), kwargs, plan.evaluation_max_steps
    settings = agent_values(folder)["settings"]
    given = env_given(place, settings, {}, typed, trust=trust)
    if not given:
        _check_same(place, settings.get("env"), typed[0])
    loaded: Agent = class_of(agent_origin(folder)).load(folder, trust=trust, **given)
    return loaded, replica or 0, {}, MAX_STEPS


def _check_same(place: str, trained_in: object, typed: str | None) -> None:
    from hunch.errors import ConfigurationError

    if typed is not None and typed != trained_in:
        raise ConfigurationError(
            f"{place!r} was trained in {trained_in}, not in {typed}; expected the same, or nothing."
        )


def _replica(run: Run, asked: int | None) -> int:
    return run.best_replica() if asked is None else asked
