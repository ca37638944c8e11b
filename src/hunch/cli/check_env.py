"""`hunch check-env`: what is wrong with an environment, and which agents can play it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from hunch.cli.environments import NamedEnv, env_named
from hunch.cli.options import (
    WholeNumber,
    env_option,
    import_option,
    json_option,
    load_torch,
    seed_option,
    wrap_option,
)
from hunch.cli.recipes import RECIPES, defaults_for
from hunch.cli.values import literal, pairs

if TYPE_CHECKING:
    from hunch.rl.environments.checking import EnvCheck, Finding

_EPILOG: Final = """\b
Example: hunch check-env CartPole-v1
         hunch check-env lake.py:make_env --env size=8
         hunch check-env mymodule:Lake --wrap 'TimeLimit(200)' --json
"""
_STATE: Final = {True: "ok", None: "note", False: "FAIL"}
# An agent so small that to make it costs nothing.
_SMALL: Final[Mapping[str, Mapping[str, Any]]] = {
    "DQN": dict(hidden_sizes=(1,), batch_size=1, replay_capacity=1, n_step=1),
    "BootstrappedDQN": dict(
        hidden_sizes=(1,),
        batch_size=1,
        replay_capacity=1,
        min_replay_size=1,
        num_members=2,
        n_step=1,
    ),
    "Reinforce": dict(hidden_sizes=(1,)),
    "A2C": dict(hidden_sizes=(1,), num_envs=1),
    "PQN": dict(hidden_sizes=(1,), num_envs=1),
}
_ENOUGH: Final = 50  # steps, to say how fast it is
_CLIPPED: Final = dict(bounds="clipped")


@click.command(epilog=_EPILOG)
@click.argument("env")
@env_option
@wrap_option
@click.option(
    "--steps",
    type=WholeNumber(1),
    default=2_000,
    show_default=True,
    help="Environment steps that a random policy plays, for ten seconds at most.",
)
@import_option
@seed_option
@json_option
def check_env(
    env: str,
    env_words: tuple[str, ...],
    wrap: tuple[str, ...],
    steps: int,
    seed: int,
    as_json: bool,
) -> int:
    """Whether ENV, an environment of yours, does what agents need of it, and which can play it.

    ENV is a Gymnasium id, or a function or class that makes an environment, as file.py:make_env or
    module:Class. Each line is a thing that was looked at, and what to do if it fails; the exit code
    is then 1. It ends with what a random policy gets, which a trained agent has to beat.
    """
    kwargs = {key: literal(text) for key, text in pairs("--env", env_words).items()}
    load_torch()
    from hunch.rl.environments import checking

    defaults = defaults_for(env, kwargs)
    opened = env_named(env, wrap, None if defaults.env == env else defaults.env)
    found = checking.check_env(opened, defaults.env_kwargs, seed=seed, steps=steps)
    agents = _agents(opened, defaults.env_kwargs)
    findings = [found.findings[0], agents, *found.findings[1:]]
    if as_json:
        from hunch.storage import dump_json

        click.echo(dump_json(_values(env, findings, found)), nl=False)
    else:
        for finding in findings:
            click.echo(f"{_STATE[finding.passed]:<5} {finding.name:<14} {finding.says}")
        for name, says in _played(found):
            click.echo(f"      {name:<14} {says}")
    return 0 if all(finding.passed is not False for finding in findings) else 1


def _agents(env: str | NamedEnv, kwargs: Mapping[str, Any]) -> Finding:
    """Which agents take the spaces, and what they say if they do not."""
    from hunch.rl.environments.checking import Finding

    refusals, clipped = refused(env, kwargs)
    taken = [name for name, recipe in RECIPES.items() if recipe.agent not in refusals]
    told: dict[str, list[str]] = {}
    for name, recipe in RECIPES.items():
        if recipe.agent in refusals:
            told.setdefault(refusals[recipe.agent].rstrip("."), []).append(name)
    if not taken:
        return Finding("agents", False, f"none of them can play it: {'; '.join(told)}.")
    says = ", ".join(taken) if told else "all of them can play it"
    if clipped:
        says += " with --set bounds=clipped, since its actions have no bounds"
    says += "".join(f"; not {', '.join(names)}: {why}." for why, names in told.items())
    return Finding("agents", True, says)


def refused(env: Any, kwargs: Mapping[str, Any] | None = None) -> tuple[dict[str, str], list[str]]:
    """Which agents cannot play an environment.

    Returns:
        What each class says that refuses it, and the classes that take it with
        `bounds="clipped"` alone.

    Example:
        >>> refusals, clipped = refused("Pendulum-v1")
        >>> sorted(refusals), clipped
        (['BootstrappedDQN', 'DQN', 'PQN'], [])
    """
    refusals, clipped = {}, []
    for name, small in _SMALL.items():
        says = _says(name, env, kwargs, small)
        if (
            says is not None
            and "bounds=" in says
            and not _says(name, env, kwargs, {**small, **_CLIPPED})
        ):
            clipped.append(name)
        elif says is not None:
            refusals[name] = says
    return refusals, clipped


def _says(
    name: str, env: Any, kwargs: Mapping[str, Any] | None, settings: Mapping[str, Any]
) -> str | None:
    """What an agent of a class says that refuses an environment; None if it takes it."""
    from hunch.errors import HunchError
    from hunch.rl.runs.weights import agent_class

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that images are small, among others
            agent_class(name)(env, env_kwargs=dict(kwargs or {}), **settings)
    except HunchError as error:
        return str(error)
    return None


def _played(found: EnvCheck) -> list[tuple[str, str]]:
    """What the random policy met."""
    lines = []
    if found.steps >= _ENOUGH:
        lines.append(("speed", f"{found.steps / found.seconds:,.0f} steps a second"))
    if found.returns:
        returns = found.returns
        mean = sum(returns) / len(returns)
        lines.append(
            (
                "random policy",
                f"return {mean:.4g} on average of {len(returns):,} episodes, from "
                f"{min(returns):.4g} to {max(returns) + 0.0:.4g}",
            )
        )
    return lines


def _values(env: str, findings: list[Finding], found: EnvCheck) -> dict[str, Any]:
    return {
        "env": env,
        "passed": all(finding.passed is not False for finding in findings),
        "findings": [
            {"name": f.name, "state": _STATE[f.passed].lower(), "says": f.says} for f in findings
        ],
        "steps": found.steps,
        "steps_per_second": found.steps / found.seconds if found.seconds > 0 else None,
        "rewards": found.rewards,
        "random_policy": {"returns": list(found.returns), "lengths": list(found.lengths)},
    }
