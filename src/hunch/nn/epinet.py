"""An epinet: one network beside a base network, which answers "what if?" for an index z.

An ensemble says what it does not know by K networks that disagree. An epinet says it by one small
network with another input, an index z of standard normal numbers: each z is a member, there are as
many as one draws, and the base network is run once for all of them.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from hunch.draws import drawn
from hunch.errors import ConfigurationError, ShapeError
from hunch.nn.ensemble import Ensemble
from hunch.nn.mlp import MLP
from hunch.nn.priors import FunctionPrior
from hunch.validation import real_number, whole_number


class IndexNetwork(nn.Module):
    """A perceptron on `[features, x, z]` whose outputs, one vector for each entry of z, z sums up.

    Its first layer is kept in three parts, since the sum of their products is the product of the
    whole: what depends on x is computed once for all indices, and the other way round.

    Args:
        features: entries of the features.
        inputs: entries of x beside them; 0 for none.
        index_dim: D, entries of z.
        hidden_sizes: width of each hidden layer, at least one.
        outputs: entries of the output.

    Shape:
        features `(batch, features)`, x `(batch, inputs)`, z `(members, D)` to
        `(members, batch, outputs)`.

    Example:
        >>> net = IndexNetwork(8, 3, 4, [15], 2)
        >>> net(torch.zeros(7, 8), torch.zeros(7, 3), torch.zeros(5, 4)).shape
        torch.Size([5, 7, 2])
    """

    def __init__(
        self,
        features: int,
        inputs: int,
        index_dim: int,
        hidden_sizes: Sequence[int],
        outputs: int,
    ) -> None:
        super().__init__()
        whole = MLP(features + inputs + index_dim, hidden_sizes, index_dim * outputs)
        first, *rest = whole
        width = [features, inputs, index_dim]
        ends = list(itertools.accumulate(width))
        weight, bias = (t.detach() for t in first.parameters())
        parts = [weight[:, end - size : end] for size, end in zip(width, ends, strict=True)]
        self.from_features = _linear(parts[0], bias)
        self.from_input = _linear(parts[1], None) if inputs else None
        self.from_index = _linear(parts[2], None)
        self.hidden = nn.Sequential(*rest[:-1])
        last = rest[-1]
        if not isinstance(last, nn.Linear):
            raise TypeError("a perceptron ends with a linear layer")
        self.last = last
        self.index_dim, self.outputs = index_dim, outputs

    def forward(self, features: Tensor, x: Tensor, z: Tensor) -> Tensor:
        """Evaluate all indices on all rows."""
        by_row = self.from_features(features)
        if self.from_input is not None:
            by_row = by_row + self.from_input(x)
        hidden = self.hidden(by_row + self.from_index(z).unsqueeze(-2))
        # z sums up the last layer's weights instead of its outputs: there are fewer of them.
        weight = z @ self.last.weight.reshape(self.index_dim, -1)
        weight = weight.reshape(-1, self.outputs, hidden.shape[-1])
        bias = z @ self.last.bias.reshape(self.index_dim, self.outputs)
        return torch.baddbmm(bias.unsqueeze(1), hidden, weight.mT)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.clone())
    return layer


class Epinet(nn.Module):
    """A base network, a small network of an index z, and a frozen prior that is linear in z.

        f(x, z) = μ(x) + σ(sg[φ(x)], x, z) + s Σ_d z_d p_d(x),   z ~ N(0, I_D)

    μ is the base network and φ(x) the input of its last layer, from which σ sends no gradient back
    (sg). σ = zᵀ g(φ, x, z), with g a perceptron of D rows of outputs. The D functions p_d are
    random and never trained. One z is one member: one function of x, consistent over all of it.

    Args:
        model: the base network: an `nn.Sequential`, such as `hunch.nn.MLP`, whose last layer is an
            `nn.Linear`. It is trained along, as it is and not as a copy.
        prior: a module or a function from `x (batch, …)` to `(D, batch, out)`, the p_d; a module is
            copied and frozen. None makes D perceptrons with hidden layers of 5 and 5 units.
        index_dim: D, at least 1.
        hidden_sizes: width of each hidden layer of g, at least one.
        prior_scale: s, in units of the output; a number of at least 0.
        in_features: entries of one x, which g sees beside the features; None takes those of the
            base network's first linear layer, 0 gives g the features alone, as for images.

    Shape:
        x `(batch, …)`; z `(D,)` to `(batch, out)`, z `(members, D)` to `(members, batch, out)`.

    Raises:
        ConfigurationError: for a base network whose features cannot be found, or a number out of
            range.
        ShapeError: when called with an index of another shape.

    Example:
        >>> net = Epinet(MLP(1, [50, 50], 1), index_dim=8)
        >>> z = net.draw_indices(100, torch.Generator().manual_seed(0))
        >>> net(torch.zeros(7, 1), z).shape, net(torch.zeros(7, 1), z[0]).shape
        (torch.Size([100, 7, 1]), torch.Size([7, 1]))

    Reference:
        Osband, Wen, Asghari, Dwaracherla, Ibrahimi, Lu & Van Roy (2023), "Epistemic neural
        networks", section 5.

    Note:
        The paper scales its priors by problem and network; here the scale is 1. Weights begin as
        those of `hunch.nn.MLP`, not from a truncated normal distribution.
    """

    prior_scale: Tensor

    def __init__(
        self,
        model: nn.Sequential,
        *,
        prior: nn.Module | Callable[[Tensor], Tensor] | None = None,
        index_dim: int = 8,
        hidden_sizes: Sequence[int] = (15, 15),
        prior_scale: float = 1.0,
        in_features: int | None = None,
    ) -> None:
        super().__init__()
        head = _last_linear(model)
        index_dim = whole_number("index_dim", index_dim, at_least=1)
        if not hidden_sizes:
            raise ConfigurationError(
                "`hidden_sizes` got no layer; expected at least one, such as (15, 15)."
            )
        prior_scale = real_number("prior_scale", prior_scale, at_least=0.0)
        inputs = _inputs_of(model) if in_features is None else in_features
        self.index_dim = index_dim
        self.trunk = nn.Sequential(*list(model)[:-1])
        self.head = head
        self.learned = IndexNetwork(
            head.in_features, inputs, index_dim, hidden_sizes, head.out_features
        ).to(head.weight)
        self.prior = _prior(prior, index_dim, inputs, head).requires_grad_(False).eval()
        self.register_buffer("prior_scale", torch.as_tensor(float(prior_scale)).to(head.weight))

    def train(self, mode: bool = True) -> Epinet:
        """Set the mode of what learns; the prior stays in eval mode: it must be fixed functions."""
        super().train(mode)
        self.prior.eval()
        return self

    def draw_indices(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw `n` indices `(n, D)` from N(0, I).

        Args:
            n: how many.
            generator: source of the draw; torch's default generator if None.
        """
        weight = self.head.weight
        device = weight.device if generator is None else generator.device
        size = (n, self.index_dim)
        z = drawn(torch.randn, size, generator, weight.dtype, device)
        return z.to(weight.device)

    def forward(self, x: Tensor, z: Tensor, prior_values: Tensor | None = None) -> Tensor:
        """Evaluate `x (batch, …)` under one index `(D,)` or several `(members, D)`.

        Args:
            x: inputs.
            z: indices.
            prior_values: `prior(x)`, `(D, batch, out)`, where it is known already: priors never
                change.
        """
        if z.ndim not in (1, 2) or z.shape[-1] != self.index_dim:
            raise ShapeError(
                f"`z` got shape {tuple(z.shape)}; expected ({self.index_dim},) or "
                f"(members, {self.index_dim}): the epinet was built with index_dim="
                f"{self.index_dim}."
            )
        indices = z.unsqueeze(0) if z.ndim == 1 else z
        features = self.trunk(x)
        learned = self.learned(features.detach(), x.flatten(1), indices)
        values = self.prior(x) if prior_values is None else prior_values
        mixed = self._mixed_prior(values, indices)
        out: Tensor = self.head(features) + learned + self.prior_scale * mixed
        return out.squeeze(0) if z.ndim == 1 else out

    def mean(self, x: Tensor) -> Tensor:
        """The base network alone: `μ(x) (batch, out)`, which is also `f(x, 0)`."""
        out: Tensor = self.head(self.trunk(x))
        return out

    def _mixed_prior(self, values: Tensor, z: Tensor) -> Tensor:
        """Σ_d z_d p_d(x), `(members, batch, out)`."""
        if values.ndim != 3 or values.shape[0] != self.index_dim:
            raise ShapeError(
                f"`prior` returned shape {tuple(values.shape)}; expected (index_dim, batch, out), "
                f"with index_dim={self.index_dim}."
            )
        mixed: Tensor = z @ values.flatten(1)
        return mixed.reshape(z.shape[0], *values.shape[1:])


def _last_linear(model: nn.Module) -> nn.Linear:
    layers = list(model.children()) if isinstance(model, nn.Sequential) else []
    if not layers or type(layers[-1]) is not nn.Linear:
        got = f"a Sequential that ends with {type(layers[-1]).__name__}" if layers else repr(model)
        raise ConfigurationError(
            f"`model` got {got}; expected an nn.Sequential, such as hunch.nn.MLP, whose last layer "
            "is an nn.Linear: the epinet reads the input of that layer."
        )
    return layers[-1]


def _inputs_of(model: nn.Module) -> int:
    for layer in model.children():
        if isinstance(layer, nn.Linear):
            return layer.in_features
        if not isinstance(layer, nn.Flatten):
            break
    raise ConfigurationError(
        "`in_features` cannot be told from a network that does not begin with a linear layer; "
        "expected the number of entries of one x, or 0 to give the epinet the features alone."
    )


def _prior(
    prior: nn.Module | Callable[[Tensor], Tensor] | None,
    index_dim: int,
    inputs: int,
    head: nn.Linear,
) -> nn.Module:
    if isinstance(prior, nn.Module):
        # Freezing the caller's own network would silently end its training elsewhere: copy first.
        return copy.deepcopy(prior)
    if callable(prior):
        return FunctionPrior(prior)
    if prior is not None:
        raise ConfigurationError(
            f"`prior` got {type(prior).__name__}; expected a module or a function of x."
        )
    if inputs == 0:
        raise ConfigurationError(
            "`prior` got None with in_features=0; expected a module from x to (index_dim, batch, "
            "out), such as an Ensemble of index_dim networks."
        )
    functions = Ensemble(
        lambda: nn.Sequential(nn.Flatten(), *MLP(inputs, (5, 5), head.out_features)), index_dim
    )
    return functions.to(head.weight)
