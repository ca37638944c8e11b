"""Environments as the command line names them: an id, or a function or a class of the user's."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hunch.errors import ConfigurationError, HunchError
from hunch.named_code import module_named, named, said_and_where

if TYPE_CHECKING:
    import gymnasium

    Env = gymnasium.Env[Any, Any]

# A Gymnasium id has a version or a namespace; what has neither may be a name in a module.
_ID: Final = re.compile(r".*(-v\d+|/.*)")
# They write files or open windows; `hunch play --video` and the report have films of their own.
_NOT_FOR_AGENTS: Final = ("RecordVideo", "HumanRendering")


# They keep running means; why that cannot be, and what is there instead.
_MOVING: Final = {
    "NormalizeObservation": "--set normalize=true keeps them in the agent; or scale by fixed "
    "numbers, in the environment or by a wrapper of yours",
    "NormalizeReward": "agents divide large rewards by what the first of them say; to scale by a "
    "number of yours, give --set reward_scale",
}


@dataclass(frozen=True)
class NamedEnv:
    """Makes environments of what the user named; called with their keyword arguments.

    Args:
        text: the environment's name, as it was typed.
        base: its Gymnasium id, or the function or class that the name stands for.
        wrap: the wrappers' names, the innermost first.
        wrappers: the wrappers themselves.
    """

    text: str
    base: str | Callable[..., Any]
    wrap: tuple[str, ...] = ()
    wrappers: tuple[Callable[[Any], Any], ...] = ()

    def __repr__(self) -> str:
        """As it was typed."""
        return self.text

    def __call__(self, **kwargs: Any) -> Env:
        """A new environment.

        Raises:
            ConfigurationError: if it cannot be made, or a wrapper does not take it.
        """
        import gymnasium

        from hunch.rl.environments.make import make_env

        # Of what is made by a function `make_env` asks the same once more, in the same words.
        base = self.base if isinstance(self.base, str) else self._called
        env = make_env(base, kwargs)
        for word, wrapper in zip(self.wrap, self.wrappers, strict=True):
            try:
                env = wrapper(env)
            except HunchError:
                raise
            except Exception as error:  # whatever a foreign wrapper raises
                raise ConfigurationError(
                    f"--wrap {word} does not take {self.text}: {said_and_where(error)}; its "
                    "arguments are written behind it, as in 'TimeLimit(200)'."
                ) from error
            if not isinstance(env, gymnasium.Env):
                raise ConfigurationError(
                    f"--wrap {word} returned {type(env).__name__}; expected a gymnasium.Env."
                )
        return env

    def _called(self, **kwargs: Any) -> Any:
        try:
            return self.base(**kwargs)  # type: ignore[operator]
        except HunchError:
            raise
        except Exception as error:  # whatever the user's own code raises
            given = f" with {_shown(kwargs)}" if kwargs else ""
            raise ConfigurationError(
                f"{self.text} cannot be made{given}: {said_and_where(error)}."
            ) from error


def _shown(kwargs: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in kwargs.items())


def env_named(text: str, wrap: Sequence[str] = (), env_id: str | None = None) -> str | NamedEnv:
    """The environment of a name that the user typed.

    Args:
        text: a Gymnasium id, `file.py:name` or `package.module:name`.
        wrap: names of wrappers, the innermost first.
        env_id: the id that stands for `text`, if that is another one.

    Returns:
        The id itself, if it is one and there are no wrappers.

    Raises:
        ConfigurationError: if nothing has that name.

    Example:
        >>> env_named("CartPole-v1")
        'CartPole-v1'
        >>> env_named("CartPole-v1", ["TimeLimit(9)"])().spec.max_episode_steps
        9
    """
    base = env_id or _base(text)
    wrappers = tuple(map(_wrapper, wrap))
    if isinstance(base, str) and not wrappers:
        return base
    return NamedEnv(text, base, tuple(wrap), wrappers)


def _base(text: str) -> str | Callable[..., Any]:
    place, colon, name = text.rpartition(":")
    if text.endswith(".py"):
        raise ConfigurationError(
            f"ENV got the file {text!r}; expected one of its functions or classes: "
            f"{' or '.join(_candidates(text)) or f'{text}:make_env'}."
        )
    if not colon:
        return text
    in_file = place.endswith(".py")
    if not in_file and (":" in place or _ID.fullmatch(name) or _is_registered(place, name)):
        return text
    found = named(text, "a function or class that makes an environment")
    if not callable(found):
        what = "an environment that is made already" if _is_env(found) else repr(found)
        raise ConfigurationError(
            f"{text} is {what}; expected a function or a class that makes a new one at each call."
        )
    return found  # type: ignore[no-any-return]


def _is_registered(module: str, name: str) -> bool:
    """Whether a module registers an id without a version."""
    import gymnasium

    module_named(module)
    return any(spec.name == name for spec in gymnasium.registry.values())


def _is_env(found: Any) -> bool:
    import gymnasium

    return isinstance(found, gymnasium.Env)


def _candidates(file: str) -> list[str]:
    """What in a file may make environments, as it is named."""
    import gymnasium

    module = module_named(file)
    own = [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__
        and not name.startswith("_")
        and (
            issubclass(value, gymnasium.Env)
            if isinstance(value, type)
            else callable(value) and ("env" in name.lower() or _takes_nothing(value))
        )
    ]
    return [f"{file}:{name}" for name in own]


def _takes_nothing(function: Callable[..., Any]) -> bool:
    """Whether a function may be called without arguments, as those do that make environments."""
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


def _wrapper(word: str) -> Callable[[Any], Any]:
    """A wrapper of the user's or of Gymnasium's, with the arguments behind it in brackets."""
    what, args, kwargs = _call(word)
    if ":" in what:
        found = named(what, "a function or class that takes an environment")
    else:
        found = _of_gymnasium(what)
    if not callable(found):
        raise ConfigurationError(
            f"--wrap got {word!r}, which is {found!r}; expected a function or a class that takes "
            "an environment."
        )
    return partial(_wrapped, found, args, kwargs)


def _wrapped(
    wrapper: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], env: Any
) -> Any:
    return wrapper(env, *args, **kwargs)


def _of_gymnasium(name: str) -> Any:
    import difflib

    from gymnasium import wrappers

    if name in _MOVING:
        raise ConfigurationError(
            f"--wrap got {name!r}, whose running means the environment of an evaluation would not "
            f"have; {_MOVING[name]}."
        )
    known = [n for n in wrappers.__all__ if n[0].isupper() and n not in _NOT_FOR_AGENTS]
    if name in known:
        return getattr(wrappers, name)
    if name in _NOT_FOR_AGENTS:
        raise ConfigurationError(
            f"--wrap got {name!r}, which shows and does not change; `hunch play RUN --video FILE` "
            "makes a film."
        )
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = "expected a name of gymnasium.wrappers, such as TimeLimit(200)"
    if close:
        hint = f"the nearest of gymnasium.wrappers are {', '.join(close)}"
    raise ConfigurationError(
        f"--wrap got {name!r}; {hint}; one of yours is file.py:NAME or module:NAME."
    )


def _call(word: str) -> tuple[str, list[Any], dict[str, Any]]:
    """`NAME(1, key=2)` as a name and its arguments, which are plain values."""
    what, bracket, rest = word.partition("(")
    if not bracket:
        return word, [], {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("no call")
        args = [ast.literal_eval(each) for each in call.args]
        kwargs = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ConfigurationError(
            f"--wrap got {word!r}; expected NAME or NAME(VALUE, KEY=VALUE) with plain values, as "
            "'TimeLimit(200)'."
        ) from error
    return what, args, kwargs


def is_code(text: str) -> bool:
    """Whether a name stands for code that would be imported, and is no id of hunch's.

    Example:
        >>> is_code("lake.py:make_env"), is_code("hunch.envs:hunch/DeepSea-v0"), is_code("lake.py")
        (True, False, True)
    """
    place, colon, name = text.rpartition(":")
    if place in ("hunch.envs", "hunch.rl.atari", "hunch.rl.minatar") and _ID.fullmatch(name):
        return False
    return bool(colon) or text.endswith(".py")


def wraps_code(word: str) -> bool:
    """Whether a wrapper is code of the user's; the arguments behind its name are values.

    Example:
        >>> wraps_code("lake.py:gentle(0.5)"), wraps_code("TimeLimit(200)")
        (True, False)
    """
    return ":" in word.partition("(")[0]


def env_given(
    folder: str,
    settings: Mapping[str, Any],
    about: Mapping[str, Any],
    typed: tuple[str | None, Sequence[str]],
    *,
    trust: bool,
) -> dict[str, Any]:
    """The environment that a folder's agent needs and its settings cannot hold, if it is so.

    The folder says what it was, but its word is data: what is code is taken from the command line.

    Args:
        folder: as the user named it.
        settings: of the agent, as JSON holds them.
        about: what the folder says besides: `env` and `wrap`.
        typed: ENV and the words of `--wrap` on the command line.
        trust: whether the folder may name code.

    Raises:
        ConfigurationError: if another environment was typed.
        FolderError: if it was not typed and is code, saying what to type.
    """
    from hunch.cli.options import say
    from hunch.cli.own_code import changed_code, from_here, same_code
    from hunch.cli.recipes import defaults_for
    from hunch.errors import FolderError
    from hunch.rl.agents.saving import GIVEN
    from hunch.rl.runs.plan import commands_of

    env, wrap = typed
    if settings.get("env") != GIVEN:
        return {}
    said = about.get("env", env)
    words = about.get("wrap", []) if "env" in about else list(wrap)
    if said is None:
        raise FolderError(
            f"{folder!r} was trained in an environment that no file holds; name it behind the "
            "folder, as file.py:make_env."
        )
    here, *words_here = (from_here(word, folder) for word in (said, *words))
    shown = {**about, "env": here, "wrap": words_here}
    resume, play = commands_of(settings, shown, shlex.quote(folder))
    code = dict(about.get("code", {}))
    wrong_env = env is not None and not same_code(said, env, folder, code)
    if wrong_env or (wrap and not _same_words(words, wrap, folder, code)):
        raise ConfigurationError(
            f"{folder!r} was trained in another environment; expected that one, as `{play}`."
        )
    foreign = [said] if env is None and is_code(said) else []
    foreign += [word for word in words if not wrap and wraps_code(word)]
    if foreign and not trust:
        raise FolderError(
            f"{folder!r} was trained in {foreign[0]}, and a folder is no reason to run code. If it "
            f"is yours, name it again: `{play}`, or `{resume}`. If you trust whoever made the "
            "folder, say --trust."
        )
    if env is None:
        env = here
    elif from_here(env, folder) != env:
        raise ConfigurationError(
            f"there is no file {env.rpartition(':')[0]!r} in the folder that hunch is started in; "
            f"type `{play}`."
        )
    used = list(wrap or words_here)
    env_id = defaults_for(said, {}).env
    # What only the folder says is an id, whatever it looks like.
    typed_id = None if env_id == said and (typed[0] is not None or trust) else env_id
    opened = env_named(env, used, typed_id)
    for file in changed_code(code, [said, *words], [env, *used]):
        say(
            f"{file} has changed since {folder!r} was begun: what was learned before may not hold "
            "in what it says now"
        )
    return {"env": opened}


def _same_words(
    said: Sequence[str], typed: Sequence[str], folder: str, code: Mapping[str, object]
) -> bool:
    """Whether wrappers are the same, one by one."""
    from hunch.cli.own_code import same_code

    return len(said) == len(typed) and all(
        same_code(old, new, folder, code) for old, new in zip(said, typed, strict=True)
    )
