"""Doubt for a network that is trained already, in closed form: random functions, less the data.

Each member adds a random function of the network's own features, from which what the training
data determine has been taken away: where there are data nothing is left of it, elsewhere all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, cast

import torch
from torch import Tensor, nn

from hunch.draws import drawn
from hunch.errors import ConfigurationError, DataError, HunchError, ShapeError, sentence
from hunch.nn.frozen import FrozenNetwork
from hunch.nn.inputs import (
    Data,
    Loader,
    as_data,
    check_loader,
    inputs_of,
    is_loader,
    warn_of_shuffling,
)
from hunch.seeding import torch_generator
from hunch.validation import real_number, whole_number

# Chosen on digits, breast cancer and Markov chains of other seeds; decision 0047.
_NUM_FEATURES: Final = 1024  # cosines: the larger, the nearer to the kernel
_LENGTHSCALE: Final = 0.7  # of the median distance between two training rows
_NOISE: Final = 0.1  # variance of the noise under which the data are seen
_FLOOR: Final = 0.03  # least standard deviation of a direction, of the largest in its layer
_WIDEST: Final = 256  # features of a layer; wider ones are projected
_PAIRS: Final = 500  # rows whose distances are looked at
_KEPT: Final = 1e-3  # of logits far from all data, so that their order stays


class PostHocEpinet(nn.Module):
    """A frozen network with members about it, which agree where it was trained.

        f(x, z) = (1 − t²) μ(x) + (s + b(x)) a u(x)ᵀ z,   z ~ N(0, I)
        v(x) = |u(x)|²,   t = min(1, v(x) / c),   a² = 1 + (1 / c − 1) t

    μ is the network. uᵀz is a draw from a Gaussian process on the network's features after it has
    seen zeros at the training data: v(x), from 0 to 1, is the share of its variance that the data
    leave, c what they leave of a point far from them all. Far away, where t = 1, members have the
    prior's whole variance; a² makes up for cosines being finitely many. b(x) is how far the
    network's outputs there are beyond those over the data, so that no output outgrows its doubt.

    The size of a logit is a claim to be sure, so logits fade, by 1 − t². Numbers do not: their
    mean is μ, and b is of each output; of logits it is the largest one's. No labels and no training
    are needed; one pass over the data and a linear system.

    Args:
        model: any trained module from one tensor `(batch, …)` to `(batch, out)`. It is copied, and
            the copy is frozen and in eval mode.
        x: its training data, or others like them, at least two rows; no targets. Or a loader of
            batches `x` or `(x, …)`, which are put together. Some thousand rows, drawn at random,
            are enough; memory is that of their features.
        layer: dotted name of the layer whose output are the features, or several, as in
            `model.named_modules()`. None takes all linear, convolutional, norm and embedding
            layers. Outputs are averaged over pixels or tokens.
        prior_scale: s, in units of the standard deviation of each output over the data; b does not
            depend on it.
        batch_size: rows in one pass, to bound memory.
        seed: decides the random features.

    Shape:
        x `(batch, …)`; z `(D,)` to `(batch, out)`, z `(members, D)` to `(members, batch, out)`.

    Raises:
        ConfigurationError: for a layer that is not there or does not run once.
        DataError: for fewer than two rows, or features that are not finite.
        ShapeError: for outputs that are not `(batch, out)`, or when called with another index.

    Example:
        >>> from hunch.inference import predict
        >>> net = nn.Sequential(nn.Linear(2, 20), nn.Tanh(), nn.Linear(20, 3))
        >>> x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> doubt = PostHocEpinet(net, x, layer="0")
        >>> torch.equal(doubt.mean(x), net(x))
        True
        >>> bool(doubt.novelty(5 + x).mean() > 5 * doubt.novelty(x).mean())
        True
        >>> predict(doubt, x, classes=True).epistemic.shape
        torch.Size([200])
        >>> bool(predict(doubt, 1000 * x, classes=True).probs.max() < 0.5)  # far, so about even
        True

    Reference:
        Rahimi & Recht (2007), "Random features for large-scale kernel machines", algorithm 1;
        Rasmussen & Williams (2006), "Gaussian processes for machine learning", eq. 2.9; Liu et al.
        (2020), "Simple and principled uncertainty estimation with deterministic deep learning via
        distance awareness", section 3, for a process on a network's features; Kristiadi, Hein &
        Hennig (2021), "An infinite-feature extension for Bayesian ReLU nets that fixes their
        asymptotic overconfidence", for doubt that has to outgrow what it doubts.
    """

    scale: Tensor
    center: Tensor
    reach: Tensor
    ceiling: Tensor
    frequencies: Tensor
    phases: Tensor
    factor: Tensor

    @torch.no_grad()
    def __init__(
        self,
        model: nn.Module,
        x: Data | Loader,
        *,
        layer: str | Sequence[str] | None = None,
        prior_scale: float = 1.0,
        batch_size: int = 1024,
        seed: int = 0,
    ) -> None:
        super().__init__()
        prior_scale = real_number("prior_scale", prior_scale, at_least=0.0)
        batch_size = whole_number("batch_size", batch_size, at_least=1)
        x = _rows(x, model)
        if x.ndim == 0 or len(x) < 2:
            raise DataError(f"`x` got shape {tuple(x.shape)}; expected at least two rows.")
        layers = [layer] if isinstance(layer, str) else layer
        self.network = FrozenNetwork(model, layers, x)
        generator = torch_generator(seed, "post-hoc epinet")
        self.whitened = nn.ModuleList()
        outputs, features = self._passed(x, batch_size)
        for part in features:
            self.whitened.append(_Whitening(part, generator))
        joined = self._joined(features)
        size = (_NUM_FEATURES, joined.shape[1])
        normals = drawn(torch.randn, size, generator, joined.dtype).to(joined)
        distance = _median_distance(joined, generator)
        self.register_buffer("frequencies", normals / (_LENGTHSCALE * distance))
        uniform = drawn(torch.rand, (_NUM_FEATURES,), generator, joined.dtype)
        self.register_buffer("phases", (2 * math.pi * uniform).to(joined))
        gram = _NOISE * torch.eye(_NUM_FEATURES, dtype=torch.float64, device=joined.device)
        for rows in joined.split(batch_size):
            cosines = self._cosines(rows).double()
            gram += cosines.mT @ cosines
        whole = torch.eye(_NUM_FEATURES, dtype=torch.float64, device=joined.device)
        inverse = torch.linalg.solve_triangular(torch.linalg.cholesky(gram), whole, upper=False)
        self.register_buffer("factor", (math.sqrt(_NOISE) * inverse).to(joined))
        # Far away cosines are as good as independent: each has the mean square of one, 1 / N.
        ceiling = _NOISE * inverse.square().sum() / _NUM_FEATURES
        self.register_buffer("ceiling", ceiling.to(joined))
        self.register_buffer("scale", prior_scale * outputs.std(dim=0))
        center = outputs.mean(dim=0)
        self.register_buffer("center", center)
        self.register_buffer("reach", (outputs - center).abs().amax(dim=0))
        self.index_dim = _NUM_FEATURES * outputs.shape[1]
        self.eval()

    def draw_indices(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw `n` indices `(n, D)` from N(0, I).

        Args:
            n: how many.
            generator: source of the draw; torch's default generator if None.
        """
        device = self.factor.device if generator is None else generator.device
        z = drawn(torch.randn, (n, self.index_dim), generator, self.factor.dtype, device)
        return z.to(self.factor.device)

    def forward(self, x: Tensor, z: Tensor | None = None, *, classes: bool = False) -> Tensor:
        """Evaluate `x (batch, …)` under one index `(D,)` or several `(members, D)`.

        Args:
            x: inputs.
            z: indices, as `draw_indices` gives.
            classes: whether outputs are logits, which fade where the input is new.
        """
        return self.with_novelty(x, z, classes=classes)[0]

    def with_novelty(
        self, x: Tensor, z: Tensor | None, *, classes: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The same, and v(x) `(batch,)`; numbers are not looked at, as a graph does not."""
        if z is None:
            raise ConfigurationError(
                "`z` got None; expected an index, as `draw_indices` gives. What the network itself "
                "says is `doubt.mean(x)`, and hunch.inference.predict(doubt, x) asks many indices."
            )
        if z.ndim not in (1, 2) or z.shape[-1] != self.index_dim:
            raise ShapeError(
                f"`z` got shape {tuple(z.shape)}; expected ({self.index_dim},) or (members, "
                f"{self.index_dim}), as `draw_indices` gives."
            )
        outputs, features = self.network(x)
        left = self._left(features)
        weights = z.reshape(-1, _NUM_FEATURES, len(self.scale))
        novelty = left.square().sum(dim=1).clamp(max=1.0)
        share = (novelty / self.ceiling).clamp(max=1.0).unsqueeze(1)
        beyond = ((outputs - self.center).abs() - self.reach).clamp_min(0.0)
        if classes:
            outputs = (1 - share.square()).clamp_min(_KEPT) * outputs
            beyond = beyond.amax(dim=1, keepdim=True)
        whole = (1 + (1 / self.ceiling - 1) * share).sqrt()
        out: Tensor = outputs + (self.scale + beyond) * ((whole * left) @ weights)
        return out.squeeze(0) if z.ndim == 1 else out, novelty

    def mean(self, x: Tensor) -> Tensor:
        """What the network itself says, `(batch, out)`, to the last bit."""
        out: Tensor = self.network.model(x)
        return out

    def novelty(self, x: Data | Loader) -> Tensor:
        """v(x), `(batch,)`: how little the training data say about x, from 0 to 1.

        What is far from all of them, however far, has the share of the cosines' variance that they
        leave, the mean square of `factor` times its width: near 1 for few data, 0.5 for many
        thousand. So compare with what usual inputs have, not with 1.

        Args:
            x: inputs `(batch, …)`, or a loader of batches, in its order, as `predict` takes it.

        Raises:
            DataError: if x is empty or holds NaN or infinities.
            ShapeError: if x does not fit the network.
        """
        if is_loader(x):
            check_loader("x", x)
            warn_of_shuffling("x", x)
            with torch.no_grad():
                return torch.cat([self._novelty(rows) for rows in inputs_of(x, self)])
        return self._novelty(as_data("x", cast("Data", x), self))

    def _novelty(self, x: Tensor) -> Tensor:
        with _fitting(x):
            _, features = self.network(x)
        return self._left(features).square().sum(dim=1).clamp(max=1.0)

    def _passed(self, x: Tensor, batch_size: int) -> tuple[Tensor, list[Tensor]]:
        """Outputs and features of all rows."""
        with _fitting(x):
            passed = [self.network(rows) for rows in x.split(batch_size)]
        outputs = torch.cat([outputs for outputs, _ in passed])
        features = [torch.cat(parts) for parts in zip(*(f for _, f in passed), strict=True)]
        for name, part in zip(self.network.layers, features, strict=True):
            if not bool(part.isfinite().all()):
                raise DataError(
                    f"`layer` {name!r} gives NaN or infinite values on `x`; expected finite ones."
                )
        return outputs, features

    def _joined(self, features: list[Tensor]) -> Tensor:
        parts = zip(self.whitened, features, strict=True)
        return torch.cat([whitening(part) for whitening, part in parts], dim=1)

    def _cosines(self, joined: Tensor) -> Tensor:
        angles = nn.functional.linear(joined, self.frequencies, self.phases)
        return math.sqrt(2 / _NUM_FEATURES) * angles.cos()

    def _left(self, features: list[Tensor]) -> Tensor:
        """u(x), `(batch, cosines)`."""
        return self._cosines(self._joined(features)) @ self.factor.mT


class _Whitening(nn.Module):
    """A layer's features in directions of one variance, of length 1 in all on the data."""

    mean: Tensor
    directions: Tensor

    def __init__(self, features: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        width, dtype = features.shape[1], torch.float64
        mean = features.double().mean(dim=0)
        centered = features.double() - mean
        onto = torch.eye(width, dtype=dtype, device=features.device)
        if width > _WIDEST:
            onto = drawn(torch.randn, (width, _WIDEST), generator, dtype).to(mean)
            onto = onto / math.sqrt(width)
        narrow = centered @ onto
        values, vectors = torch.linalg.eigh(narrow.mT @ narrow / len(narrow))
        stds = values.clamp_min(0.0).sqrt()
        largest = stds.max().clamp_min(torch.finfo(features.dtype).eps)
        directions = onto @ (vectors / (stds + _FLOOR * largest)) / math.sqrt(narrow.shape[1])
        self.register_buffer("mean", mean.to(features))
        self.register_buffer("directions", directions.to(features))

    def forward(self, features: Tensor) -> Tensor:
        """`(batch, features)` to `(batch, directions)`."""
        return (features - self.mean) @ self.directions


@contextmanager
def _fitting(x: Tensor) -> Iterator[None]:
    """Say what torch says of a wrong shape in one sentence."""
    try:
        yield
    except HunchError:
        raise
    except (RuntimeError, ValueError) as error:
        raise ShapeError(
            f"`x` got shape {tuple(x.shape)}, which the network cannot take: {sentence(error)}"
        ) from error


def _rows(x: Data | Loader, model: nn.Module) -> Tensor:
    """All rows, in the type of the network's parameters and on their device."""
    if not isinstance(model, nn.Module):
        raise ConfigurationError(f"`model` got {type(model).__name__}; expected a module.")
    if not is_loader(x):
        return as_data("x", cast("Data", x), model)
    check_loader("x", x)
    return torch.cat(list(inputs_of(x, model)))


def _median_distance(joined: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(len(joined), generator=generator)[:_PAIRS].to(joined.device)
    distance = torch.pdist(joined[order]).median()
    if not bool(distance > 0):
        raise ConfigurationError(
            "`x` gives the same features in most rows; expected data that differ, or another "
            "`layer`."
        )
    return distance
