"""Folders of trainings that were never made, with the returns that a test asks for."""

import numpy as np

from hunch.rl import Plan, Run


def write_run(
    place,
    returns,
    *,
    recipe="dqn",
    env="CartPole-v1",
    seed=0,
    steps=1000,
    chance=20.0,
    best=None,
    finished="complete",
    evaluations=None,
    episodes=None,
    about=(),
    env_kwargs=None,
    **settings,
):
    """A finished run: `returns` and `best` are the mean returns of its replicas.

    `evaluations` and `episodes` are rows of (step, return) of every replica.
    """
    own = {"env": env, "seed": seed, "replicas": len(returns), **settings}
    if env_kwargs:
        own["env_kwargs"] = env_kwargs
    run = Run.begin(
        place, Plan("DQN", own, steps=steps), {"recipe": recipe, "env": env, **dict(about)}
    )
    logs = run.folder / "logs"
    logs.mkdir()
    if evaluations is not None:
        write_log(
            logs / "evaluations.csv",
            "step,replica,mean_return,std_return",
            len(returns),
            evaluations,
            0.0,
        )
    if episodes is not None:
        write_log(logs / "episodes.csv", "step,replica,return,length", len(returns), episodes, 10)
    if finished is None:
        return run
    run.about["finished"] = finished
    figures = [
        dict(mean_return=float(value), std_return=0.0, returns=[float(value)]) for value in returns
    ]
    chosen = [
        dict(own, mean_return=float(b)) for own, b in zip(figures, best or returns, strict=True)
    ]
    run.write_summary(
        {
            "random": None
            if chance is None
            else dict(mean_return=chance, std_return=1.0, returns=[chance]),
            "replicas": [
                {"seed": seed + r, "last": last, "best": chosen[r] if best else None}
                for r, last in enumerate(figures)
            ],
        }
    )
    return run


def write_log(file, head, replicas, rows, filler):
    lines = [f"{step},{r},{value},{filler}" for step, value in rows for r in range(replicas)]
    file.write_text("\n".join([head, *lines]) + "\n")


def write_monitor(file, returns, *, env="CartPole-v1", length=10, begun=100.0, every=1.0, end="\n"):
    """A log as Stable-Baselines3 writes it: an episode every so many seconds."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [f'#{{"t_start": {begun}, "env_id": "{env}"}}', "r,l,t"]
    lines += [f"{float(value)},{length},{every * (i + 1)}" for i, value in enumerate(returns)]
    file.write_text("\n".join(lines) + end)


def some(mean, count=8, spread=10.0, seed=0):
    return (mean + spread * np.random.default_rng(seed).normal(size=count)).tolist()
