"""What `predict` says as a module of tensors alone, for `torch.export` and ONNX."""

from __future__ import annotations

import copy
from typing import Final

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from hunch.errors import ConfigurationError
from hunch.inference.class_predictive import ClassPredictive
from hunch.inference.data import check_ensemble
from hunch.inference.indices import IndexedMembers, as_members
from hunch.inference.predictive import Predictive
from hunch.nn import Ensemble, Epinet, GaussianHead, PostHocEpinet
from hunch.nn.batched import has_rules
from hunch.nn.heads import head_of
from hunch.validation import real_number

# What torch's rules for vmap do not leave open for these.
_FIXES: Final = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.MultiheadAttention)


class PredictiveModule(nn.Module):
    """Mean and standard deviation of an ensemble's prediction as one graph of tensors.

    What `predict` returns is an object of Python; this module returns two tensors, so that
    `torch.export.export` and `torch.onnx.export` take it like any other network, with the batch as
    a dynamic dimension. It holds a copy in eval mode, without gradients, and looks at no values:
    NaN in gives NaN out, where `predict` refuses it.

    Args:
        ensemble: the members, or an epinet to draw them from.
        noise_std: standard deviation of the observation noise, in units of y; a number of at least
            0. With a `GaussianHead` each member's own answer is taken.
        classes: whether outputs are logits of classes.
        novelty: whether to say, last, how little a `PostHocEpinet`'s training data say about x.
        num_members: functions drawn from an epinet; 100 if None.
        seed: decides which; those of `predict` with this seed.

    Shape:
        `(batch, …)` to mean and standard deviation `(batch, *out)`; for classes to probabilities
        `(batch, classes)` and the epistemic part of their entropy `(batch,)`, in nats. With
        `novelty` a third tensor, `(batch,)`. `torch.export` wants an example of two rows or more.

    Raises:
        ConfigurationError: for what is neither ensemble nor epinet, or a noise that is negative or
            given where the network says it.

    Example:
        >>> import torch
        >>> from hunch.nn import MLP
        >>> from hunch.inference import predict
        >>> net, x = Ensemble(lambda: MLP(3, [9], 1), 5, seed=0), torch.ones(2, 3)
        >>> batch = torch.export.Dim("batch")
        >>> module = PredictiveModule(net, noise_std=0.1)
        >>> program = torch.export.export(module, (x,), dynamic_shapes=({0: batch},))
        >>> mean, std = program.module()(torch.ones(7, 3))
        >>> torch.allclose(std, predict(net, torch.ones(7, 3), noise_std=0.1).std, atol=1e-5)
        True
    """

    indices: Tensor | None

    def __init__(
        self,
        ensemble: Ensemble | Epinet | PostHocEpinet,
        *,
        noise_std: float = 0.0,
        classes: bool = False,
        novelty: bool = False,
        num_members: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_ensemble(ensemble)
        if isinstance(ensemble, Ensemble) and ensemble._share is not None:
            raise ConfigurationError(
                "`ensemble` is divided among processes, and this one has some members alone; "
                "expected `ensemble.gathered()`."
            )
        self.noise_std = real_number("noise_std", noise_std, at_least=0.0)
        self.classes, self.novelty = classes, novelty
        if novelty and not isinstance(ensemble, PostHocEpinet):
            raise ConfigurationError(
                f"`novelty` got True for {type(ensemble).__name__}; expected a "
                "PostHocEpinet, which has seen what is not new."
            )
        members = as_members(
            ensemble, "num_members", num_members, seed=seed, purpose="prediction", classes=classes
        )
        self.learned_noise = isinstance(head_of(members.skeleton), GaussianHead)
        if self.noise_std and (classes or self.learned_noise):
            owner = "the classes' probabilities" if classes else "the GaussianHead"
            raise ConfigurationError(
                f"`noise_std` got {noise_std}, but the noise is in {owner} already; expected 0."
            )
        self.ensemble = copy.deepcopy(ensemble).requires_grad_(False)
        if isinstance(self.ensemble, Ensemble) and _fixes_the_batch(self.ensemble):
            self.ensemble.engine = "loop"
        indices = members.indices if isinstance(members, IndexedMembers) else None
        self.register_buffer("indices", indices)
        self.eval()

    def train(self, mode: bool = True) -> PredictiveModule:
        """Stay in eval mode: this module only predicts."""
        return super().train(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Mean and standard deviation, or probabilities and epistemic entropy, at `x`."""
        if isinstance(self.ensemble, PostHocEpinet):
            outputs, novelty = self.ensemble.with_novelty(x, self.indices, classes=self.classes)
            return (*self._parts(outputs), novelty) if self.novelty else self._parts(outputs)
        given = (x,) if self.indices is None else (x, self.indices)
        return self._parts(self.ensemble(*given))

    def _parts(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        if self.classes:
            c = ClassPredictive(outputs)
            return c.probs, c.epistemic
        if self.learned_noise:
            p = Predictive(*outputs.unbind(-1))
        else:
            p = Predictive(outputs, noise_std=self.noise_std)
        # ONNX has no hypot, by which `p.std` joins the two.
        return p.mean, (p.epistemic.square() + p.aleatoric.square()).sqrt()


def _fixes_the_batch(ensemble: Ensemble) -> bool:
    """Whether vmap would write the example's batch size into the graph."""
    by_products = ensemble.engine in ("auto", "kernel", "bmm") and has_rules(ensemble.skeleton)
    return not by_products and any(isinstance(part, _FIXES) for part in ensemble.modules())
