"""A trained network that stays as it is, and what one of its layers says on the way."""

from __future__ import annotations

import copy
import difflib

from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from hunch.errors import ConfigurationError, ShapeError


class FrozenNetwork(nn.Module):
    """A copy of a trained network, in eval mode and without gradients, and a layer's features.

    The copy leaves the network itself as it is: its mode, its gradients, its buffers. The layer is
    listened to during a call alone, so that no hook is left in copies or checkpoints.

    Args:
        model: any module from one tensor `(batch, …)` to `(batch, out)`.
        layer: dotted name of the layer, as in `model.named_modules()`, whose output are the
            features; None takes what the last linear layer is given.

    Shape:
        x `(batch, …)` to outputs `(batch, out)` and features `(batch, features)`. Images
        `(batch, channels, height, width)` of a layer are averaged over their pixels.

    Raises:
        ConfigurationError: if there is no such layer, or a call does not run it exactly once.
        ShapeError: if the network or the layer returns anything but such a tensor.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 2))
        >>> outputs, features = FrozenNetwork(net)(torch.zeros(5, 3))
        >>> outputs.shape, features.shape
        (torch.Size([5, 2]), torch.Size([5, 9]))
    """

    def __init__(self, model: nn.Module, layer: str | None = None) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise ConfigurationError(f"`model` got {type(model).__name__}; expected a module.")
        self.takes_input = layer is None
        self.layer = _last_linear(model) if layer is None else _checked(model, layer)
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> FrozenNetwork:
        """Stay in eval mode."""
        return super().train(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The network's outputs, and the layer's features."""
        seen: list[object] = []

        def listen(part: nn.Module, given: tuple[object, ...], output: object) -> None:
            seen.append(given[0] if self.takes_input and given else output)

        handle = self.model.get_submodule(self.layer).register_forward_hook(listen)
        try:
            outputs = self.model(x)
        finally:
            handle.remove()
        if len(seen) != 1:
            raise ConfigurationError(
                f"`layer` {self.layer!r} runs {len(seen)} times in a call of the network; expected "
                "a layer that runs once: name another."
            )
        if not isinstance(outputs, Tensor) or outputs.ndim != 2:
            raise ShapeError(
                f"the network returns {_described(outputs)}; expected one tensor (batch, out)."
            )
        return outputs, self._features(seen[0])

    def _features(self, output: object) -> Tensor:
        if isinstance(output, Tensor) and output.ndim == 4:
            return output.mean(dim=(2, 3))
        if not isinstance(output, Tensor) or output.ndim != 2:
            raise ShapeError(
                f"`layer` {self.layer!r} gives {_described(output)}; expected one tensor (batch, "
                "features), or images (batch, channels, height, width): name a layer behind the "
                "pooling, or leave `layer` out for what the last linear layer is given."
            )
        return output


def _described(output: object) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    return f"a {type(output).__name__}"


def _checked(model: nn.Module, layer: str) -> str:
    names = [name for name, _ in model.named_modules() if name]
    if layer in names:
        return layer
    near = difflib.get_close_matches(str(layer), names, n=3, cutoff=0.4) or names[-3:]
    listed = ", ".join(map(repr, near)) or "none"
    raise ConfigurationError(
        f"`layer` got {layer!r}; expected a name of `model.named_modules()`, such as {listed}."
    )


def _last_linear(model: nn.Module) -> str:
    # Attention keeps a linear layer for its weights alone and never calls it.
    names = [
        name
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and not isinstance(part, NonDynamicallyQuantizableLinear)
    ]
    if not names:
        raise ConfigurationError(
            "`layer` got None for a network without a linear layer; expected the name of the layer "
            "whose output are the features, one of `model.named_modules()`."
        )
    return names[-1]
