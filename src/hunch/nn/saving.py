"""Networks in folders: weights as safetensors, settings as JSON; no code, nothing unpickled."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import torch
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.nn.borrowing import places_of, tensors_of
from hunch.nn.ensemble import Ensemble
from hunch.nn.noisy_base import DrawingLayer, Mode
from hunch.storage import (
    as_written,
    new_folder,
    open_folder,
    read_json,
    read_tensors,
    versions,
    write_json,
    write_tensors,
)

_KIND: Final = "network"
_SETTINGS: Final = "network.json"
_STATE: Final = "network.safetensors"  # what `state_dict()` says, under its names
_BESIDE: Final = "beside.safetensors"  # what it does not say: held noise, passing buffers
_MISSING: Final = "missing"


def save(network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a network into a folder: an ensemble, an epinet, a noisy network, any module.

    Every parameter and buffer is kept to the bit, priors and held noise among them, and the modes
    of `train`, `eval` and `noise`. Code is not: `load` is given the class. An older network there
    is replaced, in one step.

    Args:
        network: what to write.
        path: the folder. It may not exist yet, be empty, or hold a network that hunch wrote.

    Raises:
        ConfigurationError: if the network's state holds what is no dense tensor.
        FolderError: if the folder cannot be written, or holds anything else.

    Note:
        `network.safetensors` is the network's `state_dict()`, for other programs to read.
        Optimizers and generators of noise are no part of a network.

    Example:
        >>> import tempfile
        >>> from hunch.nn import MLP
        >>> folder = tempfile.mkdtemp()
        >>> net = Ensemble(lambda: MLP(1, [9], 1), num_members=5, seed=0)
        >>> save(net, folder)
        >>> again = load(folder, lambda: MLP(1, [9], 1))
        >>> torch.equal(again(torch.ones(3, 1)), net(torch.ones(3, 1)))
        True
    """
    if not isinstance(network, nn.Module):
        raise ConfigurationError(f"`network` got {type(network).__name__}; expected a module.")
    if isinstance(network, Ensemble) and network._share is not None:
        raise ConfigurationError(
            "`network` is divided among processes, and this one has some members alone; expected "
            "`network.gathered()`, which all call and one saves."
        )
    root, state = _root(network), dict(network.state_dict())
    beside, layers = _beside(root, state), _noisy_layers(root)
    _check_dense(state | beside)
    settings: dict[str, Any] = {
        "versions": versions(),
        "ensemble": None,
        "modules": _classes(root),
        "training": _modes(root),
        "noise": {
            name: {"mode": layer._mode, "held": len(layer._held or ()), **_noise_of(layer)}
            for name, layer in layers.items()
        },
    }
    if isinstance(network, Ensemble):
        settings["ensemble"] = {
            "num_members": network.num_members,
            "engine": network.engine,
            "chunk_size": network.chunk_size,
        }
    with new_folder(path, _KIND) as folder:
        write_tensors(folder / _STATE, state)
        write_tensors(folder / _BESIDE, beside)
        write_json(folder / _SETTINGS, settings)


def load(path: str | os.PathLike[str], network: nn.Module | Callable[[], nn.Module]) -> Any:
    """Read a network that `save` wrote.

    Args:
        path: the folder.
        network: a function that builds the network, of an ensemble a member is enough. Or a
            network to fill, which keeps its devices and its types: values are converted. What the
            function builds takes the types of the folder, so that every bit comes back. Its random
            numbers are not the caller's.

    Returns:
        The network: what was given, or what was built.

    Raises:
        ConfigurationError: if the folder holds another network; names the first difference.
        FolderError: if there is none, or it is damaged.

    Note:
        Classes are compared by name and tensors by shape. What leaves no trace in either, such as
        the stride of a convolution or the function of a `FunctionPrior`, is the caller's to give.

    Example:
        >>> import tempfile
        >>> from hunch.nn import noisy
        >>> folder = tempfile.mkdtemp()
        >>> build = lambda: noisy(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)))
        >>> save(build().eval(), folder)
        >>> load(folder, build).training
        False
        >>> load(folder, nn.Linear(3, 4))
        Traceback (most recent call last):
        hunch.errors.ConfigurationError: the network itself is a Sequential in the folder and a \
Linear here; expected the network that was saved.
    """
    saved = _Saved.read(open_folder(path, _KIND))
    if isinstance(network, nn.Module):
        saved.check(network)
        network.load_state_dict(saved.state)
        return saved.completed(network)
    made = _built(network)
    member_alone = saved.ensemble is not None and not isinstance(made, Ensemble)
    saved.check(made, member_alone=member_alone)
    _take_types(_root(made), saved.state)
    if saved.ensemble is not None and member_alone:
        return saved.completed(Ensemble.from_state_dict(made, saved.state, **saved.ensemble))
    made.load_state_dict(saved.state)
    return saved.completed(made)


@dataclass(frozen=True)
class _Saved:
    """What a folder says of a network.

    Args:
        state: the `state_dict()`.
        beside: buffers and held noise that are not in it.
        num_members: of an ensemble, else None.
        ensemble: its settings, else None.
        classes: of each part, by name.
        training: of each part that is not in its parent's mode, by name.
        noise: settings of each noisy layer, by name.
    """

    state: dict[str, Tensor]
    beside: dict[str, Tensor]
    num_members: int | None
    ensemble: dict[str, Any] | None
    classes: dict[str, str]
    training: dict[str, bool]
    noise: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> _Saved:
        """Read and check what does not depend on the network."""
        state, beside = (read_tensors(folder / name) for name in (_STATE, _BESIDE))
        with as_written(folder / _SETTINGS):
            found = read_json(folder / _SETTINGS)
            ensemble = found["ensemble"]
            num_members = None if ensemble is None else int(ensemble["num_members"])
            if ensemble is not None:
                ensemble = {name: ensemble[name] for name in ("engine", "chunk_size")}
            classes = {str(name): str(kind) for name, kind in found["modules"].items()}
            training = {str(name): bool(mode) for name, mode in found["training"].items()}
            noise = {str(name): dict(settings) for name, settings in found["noise"].items()}
            for settings in noise.values():
                if settings["mode"] not in get_args(Mode):
                    raise ValueError(settings["mode"])
            return cls(state, beside, num_members, ensemble, classes, training, noise)

    def check(self, network: nn.Module, *, member_alone: bool = False) -> None:
        """Refuse another network, naming the first difference.

        Args:
            network: what the caller gave or built.
            member_alone: whether it is one member of the ensemble in the folder.
        """
        own = network.num_members if isinstance(network, Ensemble) else None
        if own != self.num_members and not member_alone:
            enough = "" if self.num_members is None else ", or a function that builds one member"
            raise _other("the number of members", self.num_members or "none", own or "none", enough)
        for (name, saved), (other, mine) in itertools.zip_longest(
            self.classes.items(), _classes(_root(network)).items(), fillvalue=("", None)
        ):
            if name != other:
                name, saved, mine = (other, None, mine) if saved is None else (name, saved, None)
            if saved != mine:
                raise _other(_shown(name), saved and f"a {saved}", mine and f"a {mine}")
        here = {n: _shape(n, t) for n, t in network.state_dict(keep_vars=True).items()}
        lead = 1 if member_alone else 0
        there = {name: tuple(tensor.shape[lead:]) for name, tensor in self.state.items()}
        for name in (*here, *there):
            if here.get(name) != there.get(name):
                raise _other(_shown(name), there.get(name), here.get(name))
        for name, layer in _noisy_layers(_root(network)).items():
            for key, mine in _noise_of(layer).items():
                saved = self.noise.get(name, {}).get(key)
                if saved != mine:
                    raise _other(f"{key!r} of {_shown(name)}", repr(saved), repr(mine))

    def completed(self, network: nn.Module) -> nn.Module:
        """Give the network what its `state_dict()` does not hold."""
        root = _root(network)
        places = places_of(root)
        for name, value in self.beside.items():
            if name.startswith("buffer."):
                name = name.removeprefix("buffer.")
                if name not in places:
                    raise _other(_shown(name), tuple(value.shape), None)
                store, key = places[name]
                store[key] = value.to(store[key])
        for name, layer in _noisy_layers(root).items():
            settings = self.noise[name]
            held = [self.beside[f"noise.{i}.{name}"] for i in range(settings["held"])]
            layer._held = tuple(part.to(layer.weight) for part in held) or None
            layer._mode = settings["mode"]
        modes: dict[str, bool] = {}
        for name, part in root.named_modules():
            mode = self.training.get(name, modes.get(name.rpartition(".")[0], root.training))
            part.training = modes[name] = mode
        network.training = root.training
        return network


def _root(network: nn.Module) -> nn.Module:
    """What holds the parts under their names: an ensemble's members share one."""
    return network.skeleton if isinstance(network, Ensemble) else network


def _beside(root: nn.Module, state: Mapping[str, object]) -> dict[str, Tensor]:
    """What `state_dict()` leaves out: buffers that are not persistent, and held noise."""
    tensors = tensors_of(root).items()
    passing = {n: t for n, t in tensors if n not in state and not isinstance(t, nn.Parameter)}
    held = {name: layer._held or () for name, layer in _noisy_layers(root).items()}
    return {f"buffer.{name}": tensor for name, tensor in passing.items()} | {
        f"noise.{i}.{name}": part for name, parts in held.items() for i, part in enumerate(parts)
    }


def _check_dense(state: Mapping[str, object]) -> None:
    for name, value in state.items():
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
            kind = value.layout if isinstance(value, Tensor) else type(value).__name__
            raise ConfigurationError(
                f"`{name}` of the network's state is no dense tensor but {kind}; expected numbers "
                "alone: keep anything else outside, and give it to the class at `load`."
            )


def _classes(root: nn.Module) -> dict[str, str]:
    return {name: type(part).__name__ for name, part in root.named_modules()}


def _modes(root: nn.Module) -> dict[str, bool]:
    """The mode of each part that is not in the mode of the part around it."""
    modes: dict[str, bool] = {}
    apart = {}
    for name, part in root.named_modules():
        around = modes.get(name.rpartition(".")[0]) if name else None
        modes[name] = part.training
        if part.training != around:
            apart[name] = part.training
    return apart


def _noisy_layers(root: nn.Module) -> dict[str, DrawingLayer]:
    return {name: part for name, part in root.named_modules() if isinstance(part, DrawingLayer)}


def _noise_of(layer: DrawingLayer) -> dict[str, Any]:
    """What decides which noise a layer draws."""
    return {
        "noise": layer.noise,
        "noise_distribution": layer.noise_distribution,
        "per_sample": layer.per_sample,
    }


def _built(factory: Callable[[], nn.Module]) -> nn.Module:
    if not callable(factory):
        raise ConfigurationError(
            f"`network` got {type(factory).__name__}; expected a network to fill, or a function "
            "that builds one."
        )
    with torch.random.fork_rng(devices=[]):  # its initial values go; the caller's draws stay
        made = factory()
    if not isinstance(made, nn.Module):
        raise ConfigurationError(
            f"`network` returned {type(made).__name__}; expected a function that builds a module."
        )
    return made


def _take_types(root: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a network's tensors the types that are saved, or bits would be lost."""
    for name, tensor in tensors_of(root).items():
        if name in state and state[name].dtype != tensor.dtype:
            tensor.data = tensor.data.to(state[name].dtype)


def _shape(name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, Tensor):
        raise ConfigurationError(
            f"`{name}` of the network's state is {type(value).__name__}; expected tensors alone, "
            "as `save` takes them."
        )
    return tuple(value.shape)


def _shown(name: str) -> str:
    return f"`{name}`" if name else "the network itself"


def _other(what: str, saved: object, here: object, enough: str = "") -> ConfigurationError:
    return ConfigurationError(
        f"{what} is {_MISSING if saved is None else saved} in the folder and "
        f"{_MISSING if here is None else here} here; expected the network that was saved{enough}."
    )
