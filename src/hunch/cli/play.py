"""`hunch play`: what a trained agent does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hunch.cli.options import (
    WholeNumber,
    import_option,
    json_option,
    load_torch,
    only_named_modules,
    trust_option,
)

if TYPE_CHECKING:
    from hunch.rl import Run
    from hunch.rl.agents.agent import Agent

_EPILOG = """\b
Example: hunch play runs/noisy-dqn-CartPole-v1-0 --episodes 100
         hunch play runs/boot-dqn-DeepSea-v0-0 --last --video dive.mp4
"""


@click.command(epilog=_EPILOG)
@click.argument("run", type=click.Path())
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
def play(context: click.Context, /, run: str, trust: bool, **options: Any) -> None:
    """Play episodes with the agent of RUN, a folder of `hunch train` or of an agent's `save`.

    It acts greedily. A run that is still being trained may be played too.
    """
    load_torch()
    with only_named_modules(context, trust):
        _play(run, trust, **options)


def _play(
    run: str,
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
    agent, r, env_kwargs = _player(run, best, replica, trust)
    player = Player(agent, r, env_kwargs)
    returns = evaluate(player, episodes, seed=seed, progress=True).returns
    if as_json:
        from hunch.storage import dump_json

        found: dict[str, Any] = {"replica": r, "weights": "best" if best else "last", "seed": seed}
        found |= {"mean_return": float(returns.mean()), "std_return": float(returns.std())}
        click.echo(dump_json({**found, "returns": returns.tolist()}), nl=False)
    else:
        click.echo(f"Replica {r}: return {returns.mean():.2f} ± {returns.std():.2f}")
        click.echo("Episodes: " + ", ".join(f"{value:g}" for value in returns))
    if video is not None:
        episode = record(player, video, seed=seed)
        click.echo(f"Video of the first episode: {video} ({episode.length:,} steps)", err=as_json)


def _player(
    place: str, best: bool, replica: int | None, trust: bool
) -> tuple[Agent, int, dict[str, Any]]:
    """The agent, which of its replicas plays, and how its environment differs."""
    from hunch.rl import Run
    from hunch.rl.agents.saving import SETTINGS_FILE, agent_origin
    from hunch.rl.runs.plan import RUN_FILE
    from hunch.rl.runs.weights import class_of
    from hunch.storage import expanded, recovered

    folder = recovered(expanded(place))
    if (folder / RUN_FILE).exists() or not (folder / SETTINGS_FILE).exists():
        run = Run.open(place, trust=trust)
        agent = run.best_agent() if best else run.last_agent()
        return agent, _replica(run, replica), dict(run.plan.evaluation_env_kwargs)
    loaded: Agent = class_of(agent_origin(folder)).load(folder, trust=trust)
    return loaded, replica or 0, {}


def _replica(run: Run, asked: int | None) -> int:
    return run.best_replica() if asked is None else asked
