"""How the members of an ensemble are run: all at once, one after another, or some at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from hunch.errors import ConfigurationError
from hunch.nn.batched import run_batched
from hunch.nn.noisy_base import Draw, NoisyLayer

Engine = Literal["auto", "bmm", "vmap", "loop"]

# What vmap has no rule for, or none that is both fast and right in every mode.
_LOOP_ONLY = (
    nn.RNNBase,
    nn.RNNCellBase,
    # In eval mode these two take a fused kernel that cannot be differentiated inside vmap.
    nn.MultiheadAttention,
    nn.TransformerEncoderLayer,
    nn.EmbeddingBag,
    nn.Bilinear,
)
# On a CPU a grouped convolution over members is slower than one convolution a member.
_LOOP_ON_CPU = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def wants_loop(skeleton: nn.Module) -> bool:
    """Whether members are better run one after another."""
    return any(
        isinstance(module, _LOOP_ONLY)
        or nn.utils.parametrize.is_parametrized(module)
        or (isinstance(module, _LOOP_ON_CPU) and module.weight.device.type == "cpu")
        for module in skeleton.modules()
    )


@dataclass(frozen=True)
class Pass:
    """One forward of some members.

    Args:
        skeleton: one member, whose own tensors are not used.
        tied: whether one tensor stands in two places of the skeleton.
        noisy: its noisy layers.
        tensors: parameters and buffers by name, each `(members, …)`.
        draws: noise by the position of its layer in `noisy`, each `(members, …)`.
        given: the inputs and keyword inputs.
        per_member: whether the tensors in `given` are `(members, …)` too.
    """

    skeleton: nn.Module
    tied: bool
    noisy: list[NoisyLayer]
    tensors: dict[str, Tensor]
    draws: dict[int, Draw]
    given: tuple[tuple[Any, ...], dict[str, Any]]
    per_member: bool

    def run(self, engine: Engine, num_members: int, chunk_size: int | None) -> Any:
        """Run the members.

        Args:
            engine: not `"auto"`.
            num_members: how many there are.
            chunk_size: how many are run at once; all if None.

        Returns:
            `(members, batch, *out)`, or the members' structure of such tensors.
        """
        if engine == "loop":
            return _join(torch.stack, [self._of(k)._alone() for k in range(num_members)])
        if chunk_size is None or chunk_size >= num_members:
            return self._together(engine, num_members)
        parts = []
        for start in range(0, num_members, chunk_size):
            stop = min(start + chunk_size, num_members)
            parts.append(self._of(slice(start, stop))._together(engine, stop - start))
        return _join(torch.cat, parts)

    def _of(self, chosen: int | slice) -> Pass:
        """The pass of one member, without its axis, or of several."""

        def choose(t: Any) -> Any:
            return t[chosen] if isinstance(t, Tensor) else t

        return dataclasses.replace(
            self,
            tensors=tree_map(choose, self.tensors),
            draws=tree_map(choose, self.draws),
            given=tree_map(choose, self.given) if self.per_member else self.given,
        )

    def _alone(self) -> Any:
        """The output of a single member, from tensors without a member axis."""
        return self._call(self.skeleton, self.tensors, self.draws, self.given)

    def _together(self, engine: Engine, num_members: int) -> Any:
        if engine == "vmap":
            return self._mapped()
        (x,), _ = self.given
        each = x if self.per_member else x.expand(num_members, *x.shape)
        tensors = {f"skeleton.{name}": t for name, t in self.tensors.items()}
        return self._call(_Batched(self.skeleton), tensors, self.draws, ((each,), {}))

    def _mapped(self) -> Any:
        axis = tree_map(lambda t: 0 if isinstance(t, Tensor) else None, self.given)
        in_dims = (0 if self.tensors else None, 0 if self.draws else None)
        rest: list[Any] = []

        def one(tensors: dict[str, Tensor], draws: dict[int, Draw], given: Any) -> list[Tensor]:
            # vmap takes tensors alone; what else a member returns is the same for all.
            leaves, structure = tree_flatten(self._call(self.skeleton, tensors, draws, given))
            rest[:] = [structure, [None if isinstance(t, Tensor) else (t,) for t in leaves]]
            return [t for t in leaves if isinstance(t, Tensor)]

        every = torch.vmap(
            one, in_dims=(*in_dims, axis if self.per_member else None), randomness="different"
        )
        try:
            outputs = iter(every(self.tensors, self.draws, self.given))
        except RuntimeError as error:
            if "atching rule" not in str(error) and "vmap" not in str(error):
                raise
            raise ConfigurationError(
                f"`engine='vmap'` cannot run these members: {str(error).splitlines()[0]} "
                "expected engine='loop'."
            ) from error
        structure, fixed = rest
        return tree_unflatten([next(outputs) if f is None else f[0] for f in fixed], structure)

    def _call(
        self, module: nn.Module, tensors: dict[str, Tensor], draws: dict[int, Draw], given: Any
    ) -> Any:
        with ExitStack() as stack:
            for i, draw in draws.items():
                stack.enter_context(self.noisy[i].using(draw))
            return torch.func.functional_call(module, tensors, *given, tie_weights=self.tied)


class _Batched(nn.Module):
    """A skeleton whose forward is that of all members at once."""

    def __init__(self, skeleton: nn.Module) -> None:
        super().__init__()
        self.skeleton = skeleton

    def forward(self, x: Tensor) -> Tensor:
        return run_batched(self.skeleton, x)


def _join(how: Callable[[list[Tensor]], Tensor], outputs: list[Any]) -> Any:
    """Outputs of several members as one; what is no tensor is taken from the first."""

    def join(*leaves: Any) -> Any:
        return how(list(leaves)) if isinstance(leaves[0], Tensor) else leaves[0]

    return tree_map(join, *outputs)
