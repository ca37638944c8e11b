"""A process that has imported everything and run nothing, and forks commands to be killed.

It reads one command a line as JSON from standard input and says how it ended, as JSON too:
`words` of the command, `cwd`, and `kill`: null, `{"after": seconds}`, or `{"call": n, "before":
bool}` for the n-th system call that changes something in `cwd`. With `"exchange": false` names are
exchanged step by step, as on a system that cannot do it in one.
"""

import dataclasses
import json
import os
import signal
import sys
import time
import types

_CHANGES = ("rename", "replace", "mkdir", "rmdir", "unlink", "remove", "open", "chmod", "truncate")


def prepare():
    import pyarrow.csv  # noqa: F401
    import sklearn.ensemble
    import sklearn.gaussian_process
    import sklearn.linear_model  # noqa: F401
    import torch

    import hunch.cli.main
    import hunch.plots.run_report
    import hunch.rl
    import hunch.tables  # noqa: F401
    from hunch.experiments.claims import registry
    from hunch.experiments.claims.checks import Check
    from hunch.experiments.demo.outcome import Outcome
    from hunch.experiments.demo.runner import Part

    torch.set_num_threads(1)
    # A video takes longest, and is tested elsewhere.
    sys.modules["imageio_ffmpeg"] = None
    stub = types.ModuleType("hunch.experiments.stub")
    stub.CLAIM, stub.Settings = "A stub.", dataclasses.make_dataclass("Settings", ())
    result = types.SimpleNamespace(to_json=lambda: {"value": list(range(50))})
    stub.run = lambda settings, seed, progress: time.sleep(0.1) or result
    stub.check = lambda result: [Check("x", 1.0, "<=", 2.0)]
    sys.modules[stub.__name__] = stub
    registry.EXPERIMENTS["stub"] = "stub"
    done = Outcome(summary="done", blocks=[], checks=[], results={"value": list(range(50))})
    Part.run = lambda self, **settings: time.sleep(0.03) or done


def count_calls(place, kill):
    """Let the system calls in `place` be counted, and die at the one that was chosen."""
    from hunch.storage import replacing

    made = [0]
    chosen = (kill or {}).get("call")

    def counted(call, always):
        def counting(*args, **kwargs):
            inside = always or any(
                os.fsdecode(a).startswith(place) for a in args if isinstance(a, str | os.PathLike)
            )
            if not inside:
                return call(*args, **kwargs)
            made[0] += 1
            if made[0] == chosen and kill["before"]:
                os.kill(os.getpid(), signal.SIGKILL)
            value = call(*args, **kwargs)
            if made[0] == chosen:
                os.kill(os.getpid(), signal.SIGKILL)
            return value

        return counting

    for name in _CHANGES:
        setattr(os, name, counted(getattr(os, name), always=False))
    os.fsync = counted(os.fsync, always=True)
    if (exchange := replacing._exchange_call()) is not None:
        counting = counted(exchange, always=True)
        replacing._exchange_call = lambda: counting
    return made


def child(asked, pipe):
    place = os.path.realpath(asked["cwd"])
    os.chdir(place)
    said = os.open(os.devnull, os.O_WRONLY)
    errors = os.open(f"{place}.said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(errors, 2)
    made = count_calls(place, asked["kill"])
    if not asked.get("exchange", True):
        from hunch.storage import replacing

        replacing._exchange_call = lambda: None
    from hunch.cli.main import run

    code = run(asked["words"])
    os.write(pipe, json.dumps([code, made[0]]).encode())
    os._exit(0)


def ended(asked):
    reading, writing = os.pipe()
    begun = time.monotonic()
    process = os.fork()
    if process == 0:
        try:
            child(asked, writing)
        finally:
            os._exit(70)
    os.close(writing)
    if "after" in (asked["kill"] or {}):
        time.sleep(asked["kill"]["after"])
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    with open(reading, "rb") as answer:
        code, calls = json.loads(answer.read() or b"[null, 0]")
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return {"killed": killed, "code": code, "calls": calls, "seconds": time.monotonic() - begun}


if __name__ == "__main__":
    prepare()
    for line in sys.stdin:
        print(json.dumps(ended(json.loads(line))), flush=True)
