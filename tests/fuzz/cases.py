"""Odd commands and damaged files, drawn by hypothesis."""

import copy
import json
import sys

from hypothesis import strategies as st
from sandbox import CSV, QUICK, SCRIPT, Case

BIG = [2**31, 2**32, 2**32 + 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30]
NUMBERS = [
    "-1",
    "0",
    "1",
    "3",
    "0x10",
    "1_0",
    "1e3",
    "nan",
    "inf",
    "-inf",
    "1e308",
    "1e999",
    "٣",
    "",
]
NAMES = [
    "",
    " ",
    ".",
    "..",
    "-",
    "--",
    "~",
    "~nosuchuser/x",
    "~nosuchuser",
    "a/b/c",
    "a" * 300,
    "b/" * 3000,
    "good.csv",
    "good.csv/below",
    "notes.txt",
    "model",
    "run",
    "agent",
    "run/run.json",
    "circle",
    "dangling",
    "caf\udce9",
    "日本",
    "a\nb",
    "a\x1b[31mb",
    "nul\0byte",
    "good.parquet",
    "script.py",
    "new",
    "new/deep/er",
    "'quoted'",
    "a b",
    "$HOME",
    "*",
    "model/model.json",
    "model/hunch.json",
]
WORDS = [
    "",
    " ",
    "=",
    "a",
    "a=",
    "=b",
    "size",
    "size=x",
    "size=-1",
    f"size={2**70}",
    "size=1e400",
    "size=" + "[" * 3000,
    "size=" + "9" * 6000,
    "size=" + "1+" * 3000 + "1",
    "size=__import__('os')",
    "size=b'x'",
    "size={1: 2}",
    "size={}",
    "size=[[1], [2]]",
    "size=1j",
    "size=...",
    "size=nan",
    "render_mode=human2",
    "max_episode_steps=0",
    "max_episode_steps=-5",
    "max_episode_steps=none",
    f"max_episode_steps={2**70}",
    "sutton_barto_reward=3",
    "nosuch=1",
    "id=x",
    "self=1",
    "caf\udce9=1",
]
SETTINGS = [
    "learning_rate", "discount", "hidden_sizes", "batch_size", "replay_capacity", "min_replay_size",
    "n_step", "epsilon", "updates_per_round", "update_period", "target_update_period", "device",
    "target_update_rate", "max_gradient_norm", "distributional", "atoms", "value_range", "noisy",
    "priority_exponent", "priority_correction", "prioritized", "num_members", "prior_scale", "layer_norm",
    "rollout_length", "entropy_bonus", "normalize", "gae", "episodes_per_update", "baseline", "nosuch",
]  # fmt: skip
VALUES = [
    "", "x", "true", "none", "-1", "0", "1", "2", "0.5", "1e-3", "1e30", "1e308", "inf", "nan", "-inf",
    "8,8", "8,", ",", "0,0", "8,-1", f"8,{2**40}", "1:0:10", "1:0:0", "1:0:-5", "a:b:c", "::",
    "1:0:99999999999999999999", "cuda", "cuda:7", "cpu", "meta", "mps", "xla", "nonsense", "[]", "[[8]]",
    "(", "'", "{}", "[" * 2000, "9" * 5000, "0.1,0.2", "-5,5", "5,-5", "inf,inf", "quantile",
    "categorical", "1e", "0b1", "8,8,8,8,8,8,8,8", *map(str, BIG),
]  # fmt: skip
ENVS = [
    "CartPole-v1", "CartPole-v0", "CartPole", "cartpole-v1", "hunch/DeepSea-v0", "hunch/Nothing-v0",
    "a:b:c", "a:b", ":", "::", "nosuch.module:Env-v0", "os:Env-v0", "script:Env-v0", "json.tool:X-v1",
    "ALE/Pong-v5", "ALE/", "/", "v0", "-v0", "CartPole-v", "CartPole-v99999999999999999999999",
    "Pendulum-v1", "Blackjack-v1", "FrozenLake-v1", "Taxi-v4", "Ant-v4", "Humanoid-v5", "CarRacing-v3",
    "phys2d/CartPole-v1", "caf\udce9-v0", "日本-v0", "a b-v0", "x" * 400, "..:Env-v0", ".:Env-v0",
    "good.csv:Env-v0", "gymnasium:CartPole-v1", "sys:exit", "GymV26Environment-v0", "GymV21Environment-v0",
]  # fmt: skip


def whole():
    return st.one_of(
        st.sampled_from(NUMBERS), st.sampled_from(BIG).map(str), st.sampled_from(["2", "7", "20"])
    )


def name():
    return st.one_of(
        st.sampled_from(NAMES), st.text(max_size=12).filter(lambda text: not text.startswith("/"))
    ).filter(lambda text: not text.lstrip("~").startswith("/"))


def option(flag, values):
    return values.map(lambda value: f"{flag}={value}")


def line(command, always, *sometimes, extra=()):
    """A line of a command: its usual words, one of which may be odd, and a few odd options."""
    return st.tuples(
        *always,
        st.lists(st.one_of(*sometimes), max_size=2 if sometimes else 0),
        st.sampled_from([[], [], [], *extra]),
    ).map(lambda found: Case((command, *found[:-2], *found[-2], *found[-1])))


def usually(good, odd):
    return st.one_of(st.just(good), st.just(good), odd)


OF_COLUMNS = ("drop", "ids", "categorical", "numeric", "weights")


def column():
    return st.one_of(st.sampled_from(["size", "kind", "flag", "price"]), name())


STRAY = [["--nosuch"], ["--json"], ["--debug=1"], ["extra", "words"], ["--help"], ["-"], ["--"]]


def argument_cases():
    fit = line(
        "fit",
        [
            usually("good.csv", name()),
            usually("--target=price", option("--target", name())),
            st.just("--members=2"),
            usually("--out=new", option("--out", name())),
        ],
        option("--seed", whole()),
        option("--members", whole()),
        option("--max-rows", whole()),
        option("--task", st.sampled_from(["auto", "regression", "classification", "x"])),
        *(option(f"--{flag}", column()) for flag in OF_COLUMNS),
        option("--lower", whole()),
        option("--upper", whole()),
        option("--test", usually("good.csv", name())),
        option("--config", st.one_of(st.just("good.toml"), name())),
        option("--sheet", name()),
        name(),  # one more file
        st.sampled_from(
            ["--drop-missing-target", "--quiet", "--decimal=comma", "--date-order=ymd"]
        ),
        extra=STRAY,
    )
    predict = line(
        "predict",
        [
            usually("model", name()),
            usually("good.csv", name()),
            usually("--out=new.csv", option("--out", name())),
        ],
        option("--coverage", whole()),
        option("--sheet", name()),
        st.sampled_from(["--quiet", "--out=-", "--json"]),
        extra=STRAY,
    )
    monitor = line(
        "monitor",
        [usually("model", name()), usually("good.csv", name())],
        option("--coverage", whole()),
        option("--sheet", name()),
        st.sampled_from(["--quiet", "--json"]),
        extra=STRAY,
    )
    train = line(
        "train",
        [
            st.sampled_from(
                ["dqn", "a2c", "reinforce", "boot-dqn", "rainbow", "noisy-dqn", "nosuch"]
            ),
            usually("CartPole-v1", st.sampled_from(ENVS)),
            st.just("--steps=12"),
            st.just("--eval-every=0"),
            st.just(QUICK[0]),
            usually("--out=new", option("--out", name())),
        ],
        option("--seed", whole()),
        option("--replicas", whole()),
        option("--num-envs", whole()),
        option("--size", whole()),
        option("--checkpoint-every", whole()),
        option("--stop-at", whole()),
        option("--env", st.sampled_from(WORDS)),
        option("--env", st.sampled_from(WORDS)),
        option("--import", st.one_of(st.sampled_from(ENVS), name())),
        option(
            "--set", st.tuples(st.sampled_from(SETTINGS), st.sampled_from(VALUES)).map("=".join)
        ),
        option(
            "--set", st.tuples(st.sampled_from(SETTINGS), st.sampled_from(VALUES)).map("=".join)
        ),
        option(
            "--set", st.tuples(st.sampled_from(SETTINGS), st.sampled_from(VALUES)).map("=".join)
        ),
        option("--set", st.sampled_from(WORDS)),
        extra=STRAY,
    )
    resume = line(
        "train",
        [option("--resume", st.one_of(st.just("run"), name()))],
        option("--steps", whole()),
        option(
            "--set", st.tuples(st.sampled_from(SETTINGS), st.sampled_from(VALUES)).map("=".join)
        ),
        option("--env", st.sampled_from(WORDS)),
        extra=STRAY,
    ).filter(
        lambda case: not any(w in (f"--steps={n}" for n in [*BIG, "1e3"]) for w in case.arguments)
    )
    play = line(
        "play",
        [usually("run", name()), st.just("--episodes=1")],
        option("--seed", whole()),
        option("--replica", whole()),
        option("--video", name()),
        st.sampled_from(["--best", "--last"]),
        extra=STRAY,
    )
    diagnose = line(
        "diagnose",
        [
            usually("script.py:problem", st.one_of(name(), st.sampled_from(PROBLEMS))),
            st.just("--repeats=10"),
            st.just("-n2"),
        ],
        option("--seed", whole()),
        option("-n", whole()),
        option("--out", st.one_of(st.just("figure.svg"), name(), name().map("{}.svg".format))),
        extra=STRAY,
    )
    rest = st.one_of(
        line("demo", [option("--out", name()), st.just("--only=nosuch")], extra=STRAY),
        line(
            "demo",
            [option("--seed", st.sampled_from(["-1", "x"])), option("--out", name())],
            extra=STRAY,
        ),
        line(
            "reproduce", [name()], option("--jobs", whole()), option("--out", name()), extra=STRAY
        ),
        line("bench", [name()], option("--out", name()), extra=STRAY),
        st.lists(name(), max_size=3).map(lambda words: Case(tuple(words))),
    )
    return st.one_of(fit, fit, predict, monitor, train, train, train, resume, play, diagnose, rest)


PROBLEMS = [
    "coin", "nosuch", "os:getcwd", "os:nosuch", "sys:exit", "nosuch:f", "a:b:c", ":", "script.py", ":f",
    "script.py:", "script.py:nosuch", "script.py:problem:problem", "nosuch.py:f", "good.csv:f", "model:f",
    "torch:ones", "json:loads", "builtins:list", "builtins:dict", "math:pi", "..:f", ".py:f", "math:nan",
]  # fmt: skip

RETURNS = [
    "None", "()", "(1,)", "(1, 2, 3)", "{}", "{'f': 1}", "'abc'", "(torch.square, Normal)",
    "(torch.square, Normal, None)", "(torch.square, Normal, ())", "(torch.square, Normal, 'xyz')",
    "(torch.square, Normal, (torch.zeros(2), torch.zeros(3)))", "(torch.square, Normal, torch.zeros(2))",
    "(torch.square, Normal, (torch.zeros(2), -torch.ones(2)))", "(None, Normal, (torch.zeros(2), torch.ones(2)))",
    "(torch.square, None, (torch.zeros(2), torch.ones(2)))", "(lambda z: None, Normal, (torch.zeros(1), torch.ones(1)))",
    "(lambda z: z.sum(), Normal, (torch.zeros(2), torch.ones(2)))", "(lambda z: z.detach(), Normal, (torch.zeros(2), torch.ones(2)))",
    "(lambda z: z * float('nan'), Normal, (torch.zeros(2), torch.ones(2)))", "(torch.square, lambda *p: 3, (torch.zeros(2), torch.ones(2)))",
    "(torch.square, Normal, (torch.zeros(2, dtype=torch.int64), torch.ones(2)))", "(lambda z: 1 / 0, Normal, (torch.zeros(2), torch.ones(2)))",
    "(torch.square, Normal, {'loc': torch.zeros(2), 'scale': torch.ones(2)})", "(torch.square, Normal, {'mu': torch.zeros(2)})",
    "(torch.square, Normal, (torch.zeros(0), torch.ones(0)))", "(torch.square, Normal, (torch.zeros(2, requires_grad=True), torch.ones(2)))",
    "1 / 0", "exec('raise KeyError')", "__import__('nosuch')", "(lambda: 0).nosuch", "open('nosuch')", "sys.exit(3)",
    "exec('raise SystemExit')", "[0] * -1", "torch.distributions", "problem", "problem()", "(problem, problem, problem)",
]  # fmt: skip
SPOILED = [
    "def problem(",
    "def problem(x):\n    return x",
    "problem = 3",
    "import nosuch",
    "\0",
    "\udcff",
    "class problem: pass",
    "async def problem(): pass",
    "def problem():\n    yield 1",
    "from script import problem",
    "raise ValueError('no')",
    "x = " + "(" * 300,
]


def script_cases():
    bodies = st.sampled_from(RETURNS).map(
        lambda text: SCRIPT.replace("torch.square, Normal, (torch.zeros(2), torch.ones(2))", text)
    )
    spoiled = st.sampled_from(SPOILED)
    return st.one_of(bodies, spoiled, mutated(SCRIPT.encode())).map(
        lambda text: Case(
            ("diagnose", "script.py:problem", "--repeats=10", "-n2"),
            {
                "script.py": text
                if isinstance(text, bytes)
                else text.encode("utf-8", "surrogateescape")
            },
        )
    )


CONFIGS = [
    'target = "price"\nmembers = 2\n', "members = 2", "members = -1", "members = nan", "drop = 'size'",
    "drop = ['size', 3]", "drop = [[]]", "drop = {}", "[fit]", "quiet = 'yes'", "seed = 1e400", "out = ''",
    "lower = inf", "config = 'good.toml'", "json = true", "as_json = true", "data = 'x'", "=", "\0", "a = " + "[" * 3000,
]  # fmt: skip


def config_cases():
    """A file of options with odd ones, or damaged."""
    texts = st.one_of(
        st.sampled_from(CONFIGS).map(str.encode),
        st.lists(st.sampled_from(CONFIGS), min_size=2, max_size=3).map("\n".join).map(str.encode),
        mutated(CONFIGS[0].encode()),
    )
    words = ("fit", "good.csv", "--config=good.toml", "--target=price", "--members=2", "--out=new")
    return texts.map(lambda text: Case(words, {"good.toml": text}))


CELLS = [
    "", '"', '""', ",", ";", "\t", "|", "\n", "\r", "\r\n", "\0", "\ufeff", "nan", "inf", "-inf", "1e999", "-1e200",
    "1e155", "9" * 400, "1e-400", "true", "NULL", "-999", "1,5", "1.234,56", "€5", "12%", "2020-01-01",
    "31/12/2020", "9999-12-31", "10000-01-01", "2020-01-01T00:00:00Z", "0x1f", "日本", "a" * 70000, "\x1b[31m",
    "=1+1", "'", "\\", "\\N", "#", " ", "\u2028", "1 234", "1_000", "٣", "−5", "TRUE", "0", "-0", "1.0",
]  # fmt: skip


@st.composite
def mutated(draw, content, tokens=()):
    """A file with bytes flipped, cut out, repeated, put in, or its end away."""
    data = bytearray(content)
    tokens = [token.encode("utf-8", "surrogateescape") for token in tokens]
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["flip", "set", "cut", "repeat", "end", "insert", "bytes"]))
        at = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.integers(1, 40))
        if kind == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set" and data:
            data[at] = draw(st.sampled_from([0, 9, 10, 13, 34, 44, 45, 59, 127, 128, 255]))
        elif kind == "cut":
            del data[at : at + length]
        elif kind == "repeat":
            data[at:at] = data[at : at + length] * draw(st.sampled_from([1, 2, 50]))
        elif kind == "end":
            del data[at:]
        elif kind == "insert" and tokens:
            data[at:at] = draw(st.sampled_from(tokens))
        else:
            data[at:at] = draw(st.binary(max_size=12))
    return bytes(data)


@st.composite
def odd_table(draw):
    """A table whose cells are odd here and there, or all along a column."""
    rows = [line.split(",") for line in CSV.splitlines()]
    for _ in range(draw(st.integers(1, 3))):
        cell = draw(st.sampled_from(CELLS))
        column = draw(st.integers(0, 3))
        if draw(st.booleans()):
            for row in rows[1:]:
                row[column] = cell
        else:
            rows[draw(st.integers(0, len(rows) - 1))][column] = cell
    comma = draw(st.sampled_from([",", ",", ",", ";", "\t", "|", "::", " "]))
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n"]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    return end.join(comma.join(row) for row in rows).encode(encoding, "replace")


def table_cases(good):
    """`good` holds the bytes of the good files by name."""
    tables = st.one_of(
        st.tuples(st.just("odd.xlsx"), st.one_of(st.binary(max_size=40), odd_table())),
        st.tuples(
            st.just("odd.csv"), st.one_of(odd_table(), odd_table(), mutated(CSV.encode(), CELLS))
        ),
        st.tuples(st.just("odd.parquet"), mutated(good["good.parquet"])),
    )
    target = st.sampled_from(["price", "price", "kind", "flag", "size"])
    commands = st.one_of(
        target.map(lambda name: ("fit", f"--target={name}", "--members=2", "--out=new")),
        st.sampled_from(
            [
                ("predict", "model", "--out=new.csv"),
                ("predict", "classes", "--out=new.csv"),
                ("predict", "model", "--out=-"),
                ("monitor", "model"),
                ("monitor", "classes", "--json"),
            ]
        ),
        st.sampled_from(OF_COLUMNS).map(
            lambda flag: ("fit", "--target=price", f"--{flag}=size", "--members=2", "--out=new")
        ),
    )
    return st.tuples(tables, commands).map(
        lambda found: Case((*found[1][:1], *_placed(found[1][1:], found[0][0])), dict([found[0]]))
    )


def _placed(words, data):
    """The table behind the model, or in front of all options."""
    first = 0 if words[0].startswith("-") else 1
    return (*words[:first], data, *words[first:])


VALUES_JSON = [None, True, False, 0, -1, 1, 0.5, 1e308, 2**70, "", "x", [], {}, [[]], {"a": 1}, [1, 2], "é" * 300,
               {"float": "x"}, {"Linear": []}, {"float": "nan"}, ["x"], "../../x", "/nowhere", "cuda", "a:b:c"]  # fmt: skip


@st.composite
def forged(draw, content):
    """JSON with values, keys or parts of another kind."""
    found = json.loads(content)
    for _ in range(draw(st.integers(1, 2))):
        part = found
        while True:
            if not isinstance(part, dict | list) or not part:
                break
            key = (
                draw(st.sampled_from(sorted(part)))
                if isinstance(part, dict)
                else draw(st.integers(0, len(part) - 1))
            )
            if isinstance(part[key], dict | list) and part[key] and draw(st.booleans()):
                part = part[key]
                continue
            what = draw(st.sampled_from(["value", "value", "gone", "name"]))
            if what == "value":
                part[key] = copy.deepcopy(draw(st.sampled_from(VALUES_JSON)))
            elif what == "gone":
                del part[key]
            elif isinstance(part, dict):
                part[draw(st.sampled_from(["", "x", "self", "env", "seed", f"{key}9"]))] = part.pop(
                    key
                )
            break
    return json.dumps(found).encode()


def folder_cases(good):
    readers = {
        "model": [("predict", "model", "good.csv", "--out=new.csv")],
        "classes": [("predict", "classes", "good.csv", "--out=new.csv"), ("fit", "good.csv", "--target=kind", "--members=2", "--out=classes")],
        "run": [("play", "run", "--episodes=1"), ("play", "run", "--episodes=1", "--last"), ("train", "--resume=run", "--steps=44"), ("train", "--resume=run")],
        "other-run": [("play", "other-run", "--episodes=1"), ("train", "--resume=other-run", "--steps=70")],
        "agent": [("play", "agent", "--episodes=1")],
    }  # fmt: skip
    names = [
        n for n in good if n.partition("/")[0] in readers and not n.endswith((".lock", ".html"))
    ]

    def of(name):
        content = good[name]
        ways = [mutated(content), mutated(content)]
        if name.endswith(".json"):
            ways = [mutated(content), forged(content), forged(content), forged(content)]
        commands = st.sampled_from(readers[name.partition("/")[0]])
        return st.tuples(commands, st.one_of(*ways), st.booleans()).map(
            lambda found: Case(found[0], {name: found[1]}, sealed=found[2])
        )

    return st.sampled_from(sorted(names)).flatmap(of)


def encodable(case):
    """Whether a shell could hand these words on: no NUL, and bytes that the system can name."""
    try:
        return all(
            "\0" not in w and w.encode(sys.getfilesystemencoding(), "surrogateescape") is not None
            for w in case.arguments
        )
    except UnicodeEncodeError:
        return False


def cases(good):
    return st.one_of(
        argument_cases(),
        argument_cases(),
        argument_cases(),
        table_cases(good),
        table_cases(good),
        folder_cases(good),
        folder_cases(good),
        script_cases(),
        config_cases(),
    ).filter(encodable)
