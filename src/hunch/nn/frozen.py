"""A trained network that stays as it is, and what its layers say on the way."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from hunch.errors import ConfigurationError, ShapeError

_CHANNELS_FIRST = (_ConvNd, _NormBase, nn.GroupNorm)
_CHANNELS_LAST = (nn.Linear, nn.LayerNorm, nn.Embedding)


class FrozenNetwork(nn.Module):
    """A copy of a trained network, in eval mode and without gradients, and its layers' features.

    The copy leaves the network itself as it is: its mode, its gradients, its buffers. Layers are
    listened to during a call alone, so that no hook is left in copies or checkpoints.

    Args:
        model: any module from one tensor `(batch, …)` to `(batch, out)`.
        layers: dotted names of the layers, as in `model.named_modules()`, whose outputs are the
            features; None takes all linear, convolutional, norm and embedding layers that `x` runs
            through once.
        x: a few inputs, at least two rows.

    Shape:
        x `(batch, …)` to outputs `(batch, out)` and for each layer features `(batch, features)`,
        averaged over pixels or tokens.

    Raises:
        ConfigurationError: if there is no such layer, or a call does not run it exactly once.
        ShapeError: if the network or a layer returns anything but such a tensor.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 2))
        >>> frozen = FrozenNetwork(net, None, torch.zeros(5, 3))
        >>> outputs, features = frozen(torch.zeros(5, 3))
        >>> frozen.layers, [part.shape for part in features]
        (('0', '2'), [torch.Size([5, 9]), torch.Size([5, 2])])
    """

    def __init__(self, model: nn.Module, layers: Sequence[str] | None, x: Tensor) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise ConfigurationError(f"`model` got {type(model).__name__}; expected a module.")
        for name in layers or ():
            _check_name(model, name)
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.eval()
        self.layers = tuple(self._usable(x) if layers is None else layers)
        if not self.layers:
            raise ConfigurationError(
                "`layer` got None for a network without a layer of a known kind; expected names of "
                "`model.named_modules()`."
            )

    def train(self, mode: bool = True) -> FrozenNetwork:
        """Stay in eval mode."""
        return super().train(False)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The network's outputs, and the features of each layer."""
        outputs, said = self._listened(x, self.layers)
        for name in self.layers:
            if len(said[name]) != 1:
                self._check_container(name, len(said[name]))
                raise ConfigurationError(
                    f"`layer` {name!r} runs {len(said[name])} times in a call of the network; "
                    "expected one that runs once: name another."
                )
        if not isinstance(outputs, Tensor) or outputs.ndim != 2:
            raise ShapeError(
                f"the network returns {_described(outputs)}; expected one tensor (batch, out): "
                "wrap it in a module whose forward returns that."
            )
        return outputs, [self._features(name, said[name][0]) for name in self.layers]

    def _check_container(self, name: str, runs: int) -> None:
        parts = [f"{name}.{child}" for child, _ in self.model.get_submodule(name).named_children()]
        if parts and not runs:
            raise ConfigurationError(
                f"`layer` {name!r} is never called itself, only what it holds; expected a name "
                f"within, such as {', '.join(map(repr, parts[:3]))}."
            )

    def _listened(self, x: Tensor, names: Sequence[str]) -> tuple[object, dict[str, list[object]]]:
        """The outputs, and what each of the layers said in each of its runs."""
        said: dict[str, list[object]] = {name: [] for name in names}
        handles = []

        def listen(name: str) -> None:
            def note(part: nn.Module, given: object, output: object) -> None:
                said[name].append(output)

            handles.append(self.model.get_submodule(name).register_forward_hook(note))

        try:
            for name in said:
                listen(name)
            return self.model(x), said
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def _usable(self, x: Tensor) -> list[str]:
        kinds = (*_CHANNELS_FIRST, *_CHANNELS_LAST)
        names = [name for name, part in self.model.named_modules() if isinstance(part, kinds)]
        # Rows must follow the batch: an embedding of places says the same for every batch.
        seen = [(rows, self._listened(rows, names)[1]) for rows in (x[:1], x[:2])]

        def follows(name: str, rows: Tensor, said: dict[str, list[object]]) -> bool:
            outputs = said[name]
            return (
                len(outputs) == 1
                and isinstance(outputs[0], Tensor)
                and (outputs[0].ndim >= 2 and len(outputs[0]) == len(rows))
            )

        return [name for name in names if all(follows(name, *one) for one in seen)]

    def _features(self, name: str, output: object) -> Tensor:
        part = self.model.get_submodule(name)
        if isinstance(output, Tensor) and output.ndim >= 2:
            if output.ndim == 2:
                return output
            if isinstance(part, _CHANNELS_LAST):
                return output.flatten(1, -2).mean(dim=1)
            if isinstance(part, _CHANNELS_FIRST) or output.ndim == 4:
                return output.flatten(2).mean(dim=2)
        raise ShapeError(
            f"`layer` {name!r} gives {_described(output)}; expected one tensor (batch, features) "
            "or (batch, channels, height, width): name another layer, or leave `layer` out."
        )


def _described(output: object) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    return f"a {type(output).__name__}"


def _check_name(model: nn.Module, layer: str) -> None:
    names = [name for name, _ in model.named_modules() if name]
    if layer not in names:
        near = difflib.get_close_matches(str(layer), names, n=3, cutoff=0.4) or names[-3:]
        listed = ", ".join(map(repr, near)) or "none, for it has no parts"
        raise ConfigurationError(
            f"`layer` got {layer!r}; expected a name of `model.named_modules()`, such as {listed}."
        )
