"""A multilayer perceptron: the small network that most examples and agents start from."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from hunch.errors import ConfigurationError, ShapeError
from hunch.nn.batched import batched, run_elementwise, run_sequence
from hunch.validation import whole_number

ACTIVATIONS: Final[dict[str, type[nn.Module]]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
batched(*ACTIVATIONS.values())(run_elementwise)


class MLP(nn.Sequential):
    """Linear layers with an activation between them, Glorot-initialised.

    Weights are drawn from U(±√(6 / (in + out))), biases from U(±1/√in), torch's own range.

    Args:
        in_features: number of inputs, at least 1.
        hidden_sizes: width of each hidden layer; empty for a linear model.
        out_features: number of outputs, at least 1.
        activation: a name (`"relu"`, `"selu"`, `"tanh"`, `"elu"`, `"gelu"`, `"silu"`, `"sigmoid"`)
            or a function without arguments that makes a module, such as `torch.nn.Softplus`.
        generator: source of the initial values; torch's default generator if None.
        device: where the parameters live.
        dtype: their type.

    Shape:
        `(..., in_features)` to `(..., out_features)`.

    Raises:
        ConfigurationError: for a size below 1 or an unknown activation.
        ShapeError: when called with the wrong number of features.

    Example:
        >>> net = MLP(1, [20, 20], 1, activation="selu")
        >>> net(torch.zeros(5, 1)).shape
        torch.Size([5, 1])

    Reference:
        Glorot & Bengio (2010), "Understanding the difficulty of training deep feedforward neural
        networks", eq. 16.
    """

    def __init__(
        self,
        in_features: int,
        hidden_sizes: Sequence[int],
        out_features: int,
        *,
        activation: str | Callable[[], nn.Module] = "relu",
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        named = [
            ("in_features", in_features),
            *(("hidden_sizes", size) for size in hidden_sizes),
            ("out_features", out_features),
        ]
        sizes = [whole_number(name, size, at_least=1) for name, size in named]
        make_activation = _activation(activation)
        layers: list[nn.Module] = []
        for i, (p, q) in enumerate(itertools.pairwise(sizes)):
            if i:
                layers.append(make_activation())
            layers.append(_empty_linear(p, q, device, dtype))
        super().__init__(*layers)
        self.in_features, self.out_features = sizes[0], sizes[-1]
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights and biases anew."""
        for layer in self:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                bound = layer.in_features**-0.5
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x (..., in_features)` to `(..., out_features)`."""
        self.check_input(x)
        out: Tensor = super().forward(x)
        return out

    def check_input(self, x: Tensor) -> None:
        """Refuse an input of the wrong width.

        Raises:
            ShapeError: if the last axis of `x` is not `in_features` long.
        """
        features = x.shape[-1] if x.ndim else 0
        if features != self.in_features:
            raise ShapeError(
                f"`x` has {features} features in its last axis; expected {self.in_features}: "
                f"the network was built with in_features={self.in_features}."
            )


@batched(MLP)
def _mlp(net: MLP, x: Tensor) -> Tensor:
    net.check_input(x)
    return run_sequence(net, x)


def _empty_linear(
    p: int, q: int, device: torch.device | str | None, dtype: torch.dtype | None
) -> nn.Linear:
    """A linear layer without values: its constructor would draw some from the default generator.

    `nn.utils.skip_init` does the same by way of the meta device, ten times slower.
    """
    layer = nn.Linear.__new__(nn.Linear)
    nn.Module.__init__(layer)
    layer.in_features, layer.out_features = p, q
    layer.weight = nn.Parameter(torch.empty(q, p, device=device, dtype=dtype))
    layer.bias = nn.Parameter(torch.empty(q, device=device, dtype=dtype))
    return layer


def _activation(activation: str | Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    if callable(activation):
        return activation
    try:
        return ACTIVATIONS[activation]
    except KeyError:
        raise ConfigurationError(
            f"`activation` got {activation!r}; expected one of {', '.join(ACTIVATIONS)}, "
            "or a function that makes a module."
        ) from None
