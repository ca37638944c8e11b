"""Small problems on which `hunch diagnose` compares estimators, and how it finds one of yours."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Gamma,
    Independent,
    Normal,
    Poisson,
)

from hunch.errors import ConfigurationError, kind_and_sentence
from hunch.gradients import Diagnosis, diagnose
from hunch.named_code import module_named, named
from hunch.seeding import drawing_from

Params = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]


@dataclass(frozen=True)
class GradientProblem:
    """A cost, a distribution and the parameters at which the gradient is taken."""

    f: Callable[[Tensor], Tensor]  # samples `(n, *batch, *event)` to costs `(n, *batch)`
    dist_fn: Callable[..., Distribution]  # parameters to a distribution
    params: Params  # one tensor, several, or a dict of them
    exact: Params | None = None  # the true gradient, if it is known
    about: str = ""  # what it is, in a line

    def diagnose(self, n: int, *, repeats: int = 1000, seed: int = 0) -> Diagnosis:
        """`hunch.gradients.diagnose` of it.

        Example:
            >>> PROBLEMS["coin"].diagnose(2, repeats=50).rows[0].estimator
            'enumerate'
        """
        return diagnose(
            self.f, self.dist_fn, self.params, n, exact=self.exact, repeats=repeats, seed=seed
        )


def _squared_error(distance: list[float], sigma: list[float], about: str) -> GradientProblem:
    """Four outputs that are off by so much from targets at zero."""
    mu, spread = torch.tensor(distance), torch.tensor(sigma)
    return GradientProblem(torch.square, Normal, (mu, spread), (2 * mu, 2 * spread), about)


_WORTH = torch.tensor([3.0, -1.0, 0.5, 2.0, -0.5])

# Distances and spreads of the forum's script are those of its means on x, x², x³ and sin x.
PROBLEMS: Final[dict[str, GradientProblem]] = {
    "forum-start": _squared_error(
        [1.07, 1.67, 3.9, 0.68], [1.28, 0.88, 0.58, 1.01],
        "squared errors of four normal outputs, as the forum's network starts",
    ),
    "forum": _squared_error(
        [0.08, 1.41, 3.5, 0.26], [0.070, 0.157, 0.078, 0.046],
        "the same after 1,000 updates with the forum's estimator: the spreads have collapsed",
    ),
    "jump": GradientProblem(
        lambda z: z**2 + (z > 1).float(), Normal, (torch.tensor(1.5), torch.tensor(0.7)),
        about="a normal sample whose cost has a jump, which the path does not see",
    ),
    "coin": GradientProblem(
        lambda z: 10 + (z - 0.45) ** 2, lambda logits: Bernoulli(logits=logits),
        torch.tensor(0.3), about="one coin with a large constant in its cost",
    ),
    "coins": GradientProblem(
        lambda z: (z @ torch.linspace(-1, 2, 8) - 1.0) ** 2,
        lambda logits: Independent(Bernoulli(logits=logits), 1),
        torch.linspace(-1, 1, 8), about="eight coins that share one cost",
    ),
    "words": GradientProblem(
        lambda z: _WORTH[z], lambda logits: Categorical(logits=logits),
        torch.tensor([0.1, -0.5, 0.9, 0.0, 0.4]), about="one of five words, each with its cost",
    ),
    "counts": GradientProblem(
        lambda z: (z - 4).abs(), Poisson, torch.tensor(3.0),
        about="a Poisson count and its distance from 4",
    ),
    "waiting": GradientProblem(
        lambda z: (z > 2).float(), Gamma, (torch.tensor(2.0), torch.tensor(1.5)),
        about="the probability that a Gamma waiting time exceeds 2",
    ),
}  # fmt: skip


def find_problem(name: str) -> GradientProblem:
    """A problem of `PROBLEMS`, or what a function of yours returns.

    Args:
        name: a key of `PROBLEMS`; or `"package.module:function"` or `"file.py:function"`, a
            function without arguments that returns `(f, dist_fn, params)`, or a dict of the fields
            of `GradientProblem`, or one itself.

    Raises:
        ConfigurationError: if there is none of that name, or it returns something else. What your
            own code raises is not touched.

    Example:
        >>> find_problem("jump").about[:16]
        'a normal sample '
    """
    if name in PROBLEMS:
        return PROBLEMS[name]
    place, colon, attribute = name.rpartition(":")
    if name.endswith(".py"):
        raise ConfigurationError(
            f"`problem` got the file {name!r}; expected one of its functions: "
            f"{' or '.join(_candidates(name)) or f'{name}:problem'}."
        )
    if not colon:
        raise ConfigurationError(
            f"no problem is called {name!r}; there are: {', '.join(PROBLEMS)}; or name one of "
            "yours as module:function or file.py:function."
        )
    function = named(name, "a function without arguments that returns (f, dist_fn, params)")
    if not callable(function):
        raise ConfigurationError(
            f"{attribute!r} of {place!r} is no function; expected one without arguments that "
            "returns (f, dist_fn, params)."
        )
    problem = _as_problem(_called(function, name), name)
    _try_out(problem, name)
    return problem


def _candidates(file: str) -> list[str]:
    """The functions in a file that take no argument, as they are named."""
    module = module_named(file)
    own = [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and not inspect.signature(value).parameters
    ]
    return [f"{file}:{name}" for name in own]


def _called(function: Callable[..., Any], name: str) -> Any:
    try:
        inspect.signature(function).bind()
    except ValueError:
        raise ConfigurationError(
            f"{name!r} is built in and does not say what arguments it takes; expected a function "
            "of yours that takes none and returns (f, dist_fn, params)."
        ) from None
    except TypeError as error:
        raise ConfigurationError(
            f"{name!r} cannot be called without arguments ({error}); expected a function that "
            "takes none and returns (f, dist_fn, params)."
        ) from error
    try:
        return function()
    except SystemExit as error:
        raise ConfigurationError(
            f"{name!r} ended the program; expected (f, dist_fn, params)."
        ) from error


def _try_out(problem: GradientProblem, name: str) -> None:
    """Make the distribution once and ask for the cost of two samples.

    What is wrong with the parts is told apart here from what is wrong with an estimator.
    """
    for part, function in (("f", problem.f), ("dist_fn", problem.dist_fn)):
        if not callable(function):
            raise ConfigurationError(
                f"{name!r} returned {type(function).__name__} as `{part}`; expected a function."
            )
    params = problem.params
    try:
        if isinstance(params, Mapping):
            dist = problem.dist_fn(**params)
        else:
            dist = problem.dist_fn(*(params if isinstance(params, list | tuple) else [params]))
    except Exception as error:  # whatever a foreign function raises
        raise ConfigurationError(
            f"`dist_fn` of {name!r} makes no distribution of its `params`: "
            f"{kind_and_sentence(error)}"
        ) from error
    if not isinstance(dist, Distribution):
        raise ConfigurationError(
            f"`dist_fn` of {name!r} returned {type(dist).__name__}; expected a distribution of "
            "torch.distributions."
        )
    shape = "drawn from it"
    try:
        with drawing_from(torch.Generator().manual_seed(0)):
            samples = dist.sample(torch.Size([2]))
        shape = f"of shape {tuple(samples.shape)}"
        cost = problem.f(samples)
    except Exception as error:
        raise ConfigurationError(
            f"`f` of {name!r} fails on samples {shape}: {kind_and_sentence(error)}"
        ) from error
    if not isinstance(cost, Tensor):
        raise ConfigurationError(
            f"`f` of {name!r} returned {type(cost).__name__}; expected a tensor of costs."
        )


def _as_problem(found: Any, name: str) -> GradientProblem:
    if isinstance(found, GradientProblem):
        return found
    try:
        if isinstance(found, Mapping):
            return GradientProblem(**found)
        return GradientProblem(*found)
    except TypeError:
        raise ConfigurationError(
            f"{name!r} returned {type(found).__name__}; expected (f, dist_fn, params), or a dict "
            "with these names and, if you like, exact and about."
        ) from None
