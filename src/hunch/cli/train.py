"""`hunch train`: an agent in an environment, in a folder from which it can be resumed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hunch import interrupts
from hunch.cli.agent_names import called, from_file_of, said
from hunch.cli.config import as_words, config_option, run_config, table
from hunch.cli.environments import NamedEnv, env_given, env_named, is_code, wraps_code
from hunch.cli.options import (
    OneOf,
    WholeNumber,
    env_option,
    import_option,
    json_option,
    load_torch,
    name_module,
    only_named_modules,
    say,
    seed_option,
    trust_option,
    wrap_option,
)
from hunch.cli.own_code import code_of
from hunch.cli.recipes import RECIPES, defaults_for
from hunch.cli.values import agent_settings, literal, pairs

if TYPE_CHECKING:
    from hunch.rl import Plan, Run

INTERRUPTED: Final = 130  # what shells say of a program that Ctrl-C ended
# An environment of the user's is tried for so long, whichever is over first.
_FIRST_STEPS: Final = 300
_FIRST_SECONDS: Final = 2.0
_ENDLESS: Final = 1_000  # steps of an evaluation episode where nothing else may end it

_AGENTS = "\n".join(f"  {name:<12} {recipe.about}" for name, recipe in RECIPES.items())
_EPILOG = f"""\b
Agents:
{_AGENTS}

\b
Example: hunch train noisy-dqn CartPole-v1 --steps 50000 --replicas 8
         hunch train boot-dqn hunch/DeepSea-v0 --size 30
         hunch train rainbow ALE/Pong-v5 --set replay_capacity=500000
         hunch train dqn Acrobot-v1 --set epsilon=1:0.02:20000 --set hidden_sizes=64,64
         hunch train a2c Pendulum-v1 --steps 300000 --set normalize=true
         hunch train dqn lake.py:make_env --wrap 'TimeLimit(200)'
         hunch train rainbow CartPole-v1 --dump-config > run.toml
         hunch train --config run.toml --seed 1
         hunch train --resume runs/noisy-dqn-CartPole-v1-0
"""


class _WithWords(click.Command):
    """A command that remembers how it was called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["command"] = shlex.join(["hunch", "train", *args])
        return super().parse_args(ctx, args)


@click.command(cls=_WithWords, epilog=_EPILOG)
@click.argument("agent", type=OneOf(list(RECIPES)), required=False, metavar="[AGENT]")
@click.argument("env", required=False, metavar="[ENV]")
@click.option(
    "--steps",
    type=WholeNumber(1),
    help="Environment steps of each replica.  [default: 50000; 2500 episodes of deep sea; "
    "1000000 on Atari]",
)
@click.option(
    "--replicas",
    type=WholeNumber(1),
    default=1,
    show_default=True,
    help="Agents trained side by side, with the seeds SEED, SEED + 1, ….",
)
@click.option(
    "--num-envs",
    type=WholeNumber(1),
    help="Environments that each replica plays side by side.  [default: 1; 8 for a2c]",
)
@click.option("--size", type=WholeNumber(1), help="Short for --env size=N.")
@env_option
@wrap_option
@click.option(
    "--set",
    "set_words",
    multiple=True,
    metavar="KEY=VALUE",
    help="Argument of the agent, such as learning_rate=1e-4; may be repeated.",
)
@seed_option
@click.option(
    "--out", type=click.Path(), help="Folder of the run, new or empty.  [default: below runs/]"
)
@click.option(
    "--resume",
    type=click.Path(),
    metavar="RUN",
    help="Go on with a run, to more --steps or fewer, if it has not made them yet.",
)
@click.option(
    "--eval-every",
    type=WholeNumber(0),
    help="Steps from one evaluation to the next, 0 for none.  [default: a twentieth of all]",
)
@click.option(
    "--checkpoint-every",
    type=WholeNumber(1),
    help="Steps from one checkpoint to the next.  [default: a tenth of all, at most 10000; "
    "50000 on Atari]",
)
@click.option(
    "--stop-at", type=float, help="Stop when every replica's evaluation reaches this mean return."
)
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard's logs too.")
@config_option(arguments=("agent", "env"), tables={"set": "--set", "env_kwargs": "--env"})
@click.option(
    "--dump-config",
    is_flag=True,
    help="Print all settings as TOML for --config, and train nothing.",
)
@import_option
@trust_option
@json_option
@click.pass_context
def train(
    context: click.Context, /, agent: str | None, env: str | None, as_json: bool, **options: Any
) -> int:
    """Train AGENT in ENV; the run's folder gets logs, checkpoints and a report.

    ENV is a Gymnasium id, or a function or class of yours that makes an environment, as
    file.py:make_env or module:Class; `hunch check-env ENV` says what is wrong with it. A run that
    was killed at any moment goes on by --resume to the same bits as one that was not. Ctrl-C stops
    it between two steps.
    """
    if options["resume"] is None and (agent is None or env is None):
        raise click.UsageError("give an AGENT and an ENV, or --resume RUN", context)
    pairs("--env", options["env_words"])
    pairs("--set", options["set_words"])
    if options["resume"] is not None and options["out"] is not None:
        raise click.UsageError(
            "--resume goes on in the run's own folder; leave --out away", context
        )
    if options["resume"] is not None:
        from hunch.storage import existing_folder

        existing_folder(options["resume"])
    load_torch()
    if options["resume"] is None:
        return _new(context, agent or "", env or "", options, as_json=as_json)
    for text in (*([] if env is None else [env]), *options["wrap"]):
        name_module(context, text)
    with only_named_modules(context, options["trust"]):
        run = _resume(context, agent, env, options)
        if options["dump_config"]:
            return _dump(run.plan, run.about)
        return _train(run, as_json=as_json, env=env, wrap=options["wrap"])


def _env_kwargs(context: click.Context, options: Mapping[str, Any]) -> dict[str, Any]:
    kwargs = {k: None if v == "none" else v for k, v in table(context, "env_kwargs").items()}
    kwargs |= {key: literal(text) for key, text in pairs("--env", options["env_words"]).items()}
    if options["size"] is not None:
        kwargs["size"] = options["size"]
    return kwargs


def _set_words(
    context: click.Context, options: Mapping[str, Any], name: str | None = None
) -> list[str]:
    """The words of `--set`, before which those of the file go that they do not name.

    Args:
        context: of the command.
        options: of it.
        name: the agent, if it is a new one: the file may have been made for another.
    """
    from hunch.rl.runs.weights import agent_class

    typed = pairs("--set", options["set_words"])
    in_file = {k: v for k, v in table(context, "set").items() if k not in typed}
    of_file = (context.default_map or {}).get("agent", name)
    if name is not None and name != of_file:
        make = agent_class(RECIPES[name].agent)
        in_file, left_out = from_file_of(name, of_file, in_file, make)
        if left_out:
            say(
                f"the file of options is of {of_file}; for {name} its {', '.join(left_out)} "
                "is left out, and the rest of its [set] kept"
            )
    return [*as_words(in_file), *options["set_words"]]


def _new(
    context: click.Context, name: str, env: str, options: Mapping[str, Any], *, as_json: bool
) -> int:
    from hunch.rl.runs.run import Run, check_new

    if options["out"] is not None and not options["dump_config"]:
        check_new(options["out"])
    plan, about, given = planned(context, name, env, options)
    if options["dump_config"]:
        return _dump(plan, about)
    place = options["out"] or _free_place(_stem(about), env, options["seed"])
    return _train(Run.begin(place, plan, about, **given), as_json=as_json)


def _dump(plan: Plan, about: Mapping[str, Any]) -> int:
    click.echo(run_config(plan, about), nl=False)
    return 0


def planned(
    context: click.Context, name: str, env: str, options: Mapping[str, Any]
) -> tuple[Plan, dict[str, Any], dict[str, Any]]:
    """The plan of a new run, what else is to be said of it, and what its file cannot hold.

    Args:
        context: of `hunch train`, once it has read what was typed.
        name: of the recipe.
        env: the environment, as it was typed.
        options: the other options by their names.
    """
    from hunch.rl.agents.idle_settings import idle_settings
    from hunch.rl.agents.saving import from_json
    from hunch.rl.runs.callbacks import Player
    from hunch.rl.runs.evaluation import MAX_STEPS
    from hunch.rl.runs.plan import Plan
    from hunch.rl.runs.weights import agent_class

    recipe, defaults = RECIPES[name], defaults_for(env, _env_kwargs(context, options))
    make = agent_class(recipe.agent)
    settings = {key: from_json(value) for key, value in recipe.settings_for(env).items()}
    settings |= agent_settings(make, _set_words(context, options, name))
    is_called, besides = called(name, make, settings)
    if is_called != name:
        say(f"{name} with these settings is {is_called}, and is called so")
    if options["num_envs"] is not None:
        settings["num_envs"] = options["num_envs"]
    known = None if defaults.env == env else defaults.env
    opened = env_named(env, options["wrap"], known)
    endless = False
    if is_code(env) or any(map(wraps_code, options["wrap"])):
        endless = _check_first(opened, defaults.env_kwargs, env)
    # Made here so that all that is wrong shows before there is a folder.
    made = make(
        opened,
        env_kwargs=dict(defaults.env_kwargs),
        replicas=options["replicas"],
        seed=options["seed"],
        **settings,
    )
    typed = pairs("--set", options["set_words"])
    if idle := [key for key in idle_settings(made.settings) if key in typed]:
        say(f"--set {', '.join(idle)} is without effect beside this agent's other settings")
    Player(made, 0, defaults.evaluation_env_kwargs).another_env().close()
    steps = options["steps"] or defaults.steps
    plan = Plan(
        agent=recipe.agent,
        settings=made.settings,
        steps=steps,
        evaluate_every=_or_else(options["eval_every"], max(1, steps // defaults.evaluations)),
        evaluate_episodes=defaults.evaluation_episodes,
        evaluation_env_kwargs=dict(defaults.evaluation_env_kwargs),
        evaluation_max_steps=_ENDLESS if endless else MAX_STEPS,
        checkpoint_every=_or_else(
            options["checkpoint_every"], max(1, min(defaults.checkpoint_at_most, steps // 10))
        ),
        log_every=max(1, min(1_000, steps // 100)),
        stop_at=options["stop_at"],
        stop_when_solved=defaults.stop_when_solved,
        tensorboard=options["tensorboard"],
    )
    about = {
        "recipe": is_called,
        **({"besides": besides} if besides else {}),
        "env": env,
        **({"wrap": list(options["wrap"])} if options["wrap"] else {}),
        **({"code": code} if (code := code_of([env, *options["wrap"]])) else {}),
        "judge_episodes": defaults.final_episodes,
        "command": context.meta["command"],
    }
    return plan, about, {"env": opened} if isinstance(opened, NamedEnv) else {}


def _check_first(env: str | NamedEnv, kwargs: Mapping[str, Any], text: str) -> bool:
    """Play a little of a user's own environment: what agents would refuse later is refused now.

    Returns:
        Whether its episodes may have no end.
    """
    from hunch.errors import DataError
    from hunch.rl.environments.checking import check_env

    found = check_env(env, kwargs, steps=_FIRST_STEPS, seconds=_FIRST_SECONDS, gymnasium_too=False)
    for finding in found.findings:
        if finding.passed is False and finding.stops:
            raise DataError(f"{text}: {finding.says}")
    for finding in found.findings:
        if finding.passed is not True:
            say(f"{text}: {finding.says}")
    if found.endless:
        say(f"evaluation episodes are cut after {_ENDLESS:,} steps, and count as they stand then")
    return found.endless


def _or_else(value: Any, default: Any) -> Any:
    return default if value is None else value


def _stem(about: Mapping[str, Any]) -> str:
    """The agent in the name of a folder."""
    changed = [f"{key}-{said(value)}" for key, value in about.get("besides", {}).items()]
    return "-".join([about["recipe"], *changed])


def _free_place(name: str, env: str, seed: int) -> Path:
    """`runs/AGENT-ENV-SEED`, with a number behind it if that is taken."""
    stem = f"{name}-{env.rpartition('/')[2].replace('.py:', '-').replace(':', '-')}-{seed}"
    place, number = Path("runs", stem), 2
    while place.exists():
        place, number = Path("runs", f"{stem}-{number}"), number + 1
    return place


def _resume(
    context: click.Context, agent: str | None, env: str | None, options: Mapping[str, Any]
) -> Run:
    from hunch.errors import ConfigurationError
    from hunch.rl.runs.plan import read_run_file
    from hunch.rl.runs.run import Run

    plan, about = read_run_file(options["resume"])
    typed, trust = (env, options["wrap"]), options["trust"]
    given = {}
    if not options["dump_config"]:
        given = env_given(options["resume"], plan.settings, about, typed, trust=trust)
    run = Run.open(options["resume"], trust=trust, **given)
    asked = _asked(context, agent, env, options, run)
    if given:  # its name was compared, and may be another word for the same
        asked = {name: value for name, value in asked.items() if name not in ("ENV", "--wrap")}
    has = _has(run)
    differ = [
        f"{name} is {has.get(name)!r}, not {value!r}"
        for name, value in asked.items()
        if has.get(name) != value
    ]
    if differ:
        raise ConfigurationError(
            f"{options['resume']!r} was begun with other settings: {'; '.join(differ)}. A run goes "
            "on with the settings it began with: leave these away, or begin a new run."
        )
    if options["steps"] is not None:
        run.extend(options["steps"])
    return run


def _asked(
    context: click.Context,
    agent: str | None,
    env: str | None,
    options: Mapping[str, Any],
    run: Run,
) -> dict[str, Any]:
    """What the command line says of the run, as `_has` says it."""
    from hunch.rl.agents.saving import to_json
    from hunch.rl.runs.weights import agent_class

    sources = click.core.ParameterSource
    words = {"AGENT": agent, "ENV": env}
    found: dict[str, Any] = {name: value for name, value in words.items() if value is not None}
    for name in ("seed", "replicas", "num_envs", "eval_every", "checkpoint_every", "stop_at"):
        if context.get_parameter_source(name) in (sources.COMMANDLINE, sources.DEFAULT_MAP):
            found[f"--{name.replace('_', '-')}"] = options[name]
    if options["tensorboard"]:
        found["--tensorboard"] = True
    if options["wrap"]:
        found["--wrap"] = list(options["wrap"])
    found |= {f"--env {key}": value for key, value in _env_kwargs(context, options).items()}
    settings = agent_settings(agent_class(run.plan.agent), _set_words(context, options))
    return found | {f"--set {key}": to_json(value) for key, value in settings.items()}


def _has(run: Run) -> dict[str, Any]:
    plan, settings = run.plan, run.plan.settings
    found = {
        "AGENT": run.about.get("recipe", plan.agent),
        "ENV": run.about.get("env", settings.get("env")),
        "--seed": run.seed,
        "--replicas": run.replicas,
        "--num-envs": settings.get("num_envs"),
        "--eval-every": plan.evaluate_every,
        "--checkpoint-every": plan.checkpoint_every,
        "--stop-at": plan.stop_at,
        "--tensorboard": plan.tensorboard,
        "--wrap": run.about.get("wrap", []),
    }
    found |= {f"--env {key}": v for key, v in (settings.get("env_kwargs") or {}).items()}
    return found | {f"--set {key}": value for key, value in settings.items()}


def _train(run: Run, *, as_json: bool, env: str | None = None, wrap: Sequence[str] = ()) -> int:
    """Train and report; `env` and `wrap` are the names of today, for what is to be typed next."""
    place = shlex.quote(_shown(run.folder))
    if run.finished:
        say(f"the run ended before ({run.finished}); nothing to train")
    else:
        say(f"{_what(run)} into {place}")
    try:
        return _to_the_report(run, as_json=as_json)
    except KeyboardInterrupt:
        interrupts.heard()
        from hunch.rl.runs.plan import commands_of

        about = run.about | ({"env": env} if env else {}) | ({"wrap": list(wrap)} if wrap else {})
        again = commands_of(run.plan.settings, about, place)[0]
        end = f" (with --steps {run.steps} it ends here, with its report)" if run.steps else ""
        say(f"interrupted; go on with: {again}{'' if run.finished else end}")
        return INTERRUPTED


def _to_the_report(run: Run, *, as_json: bool) -> int:
    agent = run.train(tell=say)
    say("evaluating and writing the report")
    from hunch.plots.run_report import write_report
    from hunch.rl.runs.summary import summarize
    from hunch.storage import dump_json

    summary = summarize(run, agent)
    report = write_report(run, tell=say)
    for line in summary.lines():
        click.echo(line, err=as_json)
    if as_json:
        click.echo(dump_json({**summary.to_json(), "folder": str(run.folder)}), nl=False)
    click.echo(f"Report: {_shown(report)}", err=as_json)
    return 0


def _what(run: Run) -> str:
    replicas = f", {run.replicas} replicas" if run.replicas > 1 else ""
    return f"{run.name}, {run.plan.steps:,} steps{replicas},"


def _shown(path: Path) -> str:
    """A path as short as it can be from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
