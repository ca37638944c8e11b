"""Layers behind one another as one call of the compiled kernel, forwards or backwards.

What agents and estimators would do with a dozen of torch's operations, whose dispatch takes longer
than their arithmetic where networks are small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ctypes import byref
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hunch.kernel import ACTIVATIONS, Chain, Link, Own, kernel
from hunch.nn.noisy_base import Draw

FEW: Final = 2  # rows; up to here weights are read one row of theirs after another
# Units of the widest layer for which it has been measured to win; where torch has several threads
# it shares the work of a wide layer, or of several members, among them.
WIDEST, WIDEST_BESIDE_THREADS = 2048, 128

ROOMS: Final = 4  # sizes of batches that memory is kept for

Slopes = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]


@dataclass(frozen=True)
class Affine:
    """A linear layer of all members, and what follows it.

    Args:
        weight: `(members, out, in)`; None for a layer that only adds a bias.
        bias: `(members, 1, out)`, or None.
        slopes: where the gradients of weight, bias, and the strengths of their noise are written.
        activation: what is applied to its outputs.
        strength: of the weights' noise, or None.
        bias_strength: likewise.
        key: of its noise among the draws.
        factorized: whether noise of a weight is a product.
    """

    weight: Tensor | None
    bias: Tensor | None
    slopes: Slopes
    activation: str = "identity"
    strength: Tensor | None = None
    bias_strength: Tensor | None = None
    key: int = 0
    factorized: bool = False

    @property
    def size(self) -> tuple[int, int, int]:
        """Members, outputs, inputs."""
        if self.weight is not None:
            members, outputs, inputs = self.weight.shape
            return members, outputs, inputs
        if self.bias is None:
            raise ValueError("a layer has a weight or a bias")
        return self.bias.shape[0], self.bias.shape[2], self.bias.shape[2]

    @property
    def fits(self) -> bool:
        """Whether the kernel is there and is to run such a layer."""
        tensors = [self.weight, self.bias, self.strength, self.bias_strength, *self.slopes]
        return (
            kernel() is not None
            and max(self.size[1:]) <= _widest(self.size[0])
            and all(
                own is None
                or (own.dtype == torch.float32 and own.device.type == "cpu" and _dense(own))
                for own in tensors
            )
        )

    def link(self) -> Link:
        """As the kernel has it; the addresses of noise are those of a call."""
        _, outputs, inputs = self.size
        return Link(
            weight=_own(self.weight),
            bias=_own(self.bias),
            spread=_own(self.strength),
            bias_spread=_own(self.bias_strength),
            slope=(Own * 4)(*map(_own, self.slopes)),
            rows=Own(None, inputs),
            columns=Own(None, outputs),
            noise=Own(None, outputs * inputs),
            bias_noise=Own(None, outputs),
            inputs=inputs,
            outputs=outputs,
            activation=ACTIVATIONS.index(self.activation),
        )


class Room:
    """Memory for calls of one size.

    Args:
        tape: numbers that a forward leaves to its backward.
        scratch: numbers that either needs while it runs.
    """

    def __init__(self, tape: int, scratch: int) -> None:
        self.scratch = _empty(scratch)
        self.spare = _empty(tape)  # for forwards that no backward follows
        self._free: list[Tensor] = []

    def lend(self) -> Lent:
        """A tape for one forward and its backwards."""
        return Lent(self._free, self._free.pop() if self._free else _empty(len(self.spare)))


class Lent:
    """Memory that goes back to where it came from when nobody holds it any longer.

    Memory that is given back to the system costs more to get again than what is done in it.

    Args:
        free: what is not lent.
        memory: what is.
    """

    def __init__(self, free: list[Tensor], memory: Tensor) -> None:
        self._free, self.memory = free, memory

    def __del__(self) -> None:
        self._free.append(self.memory)


class CompiledChain:
    """A `Layer` of `manual_backprop` that runs several, one behind another.

    Args:
        layers: the layers, all of which fit.

    Attributes:
        inputs: numbers in a row that the first layer takes.
        outputs: numbers in a row that the last one gives.

    Example:
        >>> weight, bias = torch.tensor([[[2.0, 3.0]]]), torch.tensor([[[1.0]]])
        >>> layer = Affine(weight, bias, (None, None, None, None))
        >>> CompiledChain([layer]).forward(torch.ones(1, 4, 2), {}, None) if layer.fits else None
        tensor([[[6.],
                 [6.],
                 [6.],
                 [6.]]])
    """

    def __init__(self, layers: Sequence[Affine]) -> None:
        self._layers = list(layers)
        self._library = cast(Any, kernel())
        self._lanes = self._library.hunch_lanes()
        self._links = (Link * len(layers))(*[layer.link() for layer in layers])
        noisy = [j for j, layer in enumerate(layers) if layer.strength is not None]
        self._keys = [layers[j].key for j in noisy]
        # Where each call writes the addresses of its noise.
        self._places = [
            (link.rows, link.columns) if layers[j].factorized else (link.noise, link.bias_noise)
            for j, link in ((j, self._links[j]) for j in noisy)
        ]
        self._members, _, self.inputs = layers[0].size
        self.outputs = layers[-1].size[1]
        self._chain = Chain(link=self._links, links=len(layers), members=self._members)
        self._chain.y_width = self.outputs
        self._rooms: dict[tuple[int, int], Room] = {}
        self._held: tuple[Room, Lent] | None = None  # for a backward from within the kernel
        self._noise: list[Draw] = []  # likewise

    def forward(self, x: Tensor, draws: Mapping[int, Draw], tape: list[Any] | None) -> Tensor:
        """The outputs; what `backward` needs goes onto the end of the tape, if there is one."""
        room = self._take_room(x.shape[1])
        if x.stride(2) != 1 or x.stride(1) != self.inputs:
            x = x.contiguous()
        x = x.to(torch.float32)
        noise = [draws[key] for key in self._keys]
        y = _empty(self._members, x.shape[1], self.outputs)
        if tape is None:
            self._point(x, room.spare if x.shape[1] > FEW else None, noise)
        else:
            lent = room.lend()
            tape.append((x, lent, noise))
            self._point(x, lent.memory, noise)
        self._chain.y = y.data_ptr()
        self._library.hunch_forward(byref(self._chain), self._lanes)
        return y

    def of_members(self, x: Tensor, member: NDArray[np.int64]) -> Tensor:
        """The outputs of one member for each row, `(rows, out)`; of layers without noise.

        Args:
            x: float32 `(rows, in)`, side by side.
            member: of each row.
        """
        self._take_room(len(x))
        y = _empty(len(x), self.outputs)
        self._point(x, None, ())
        self._chain.y, self._chain.member = y.data_ptr(), member.ctypes.data
        self._library.hunch_forward(byref(self._chain), self._lanes)
        self._chain.member = None
        return y

    def twin(self) -> CompiledChain:
        """Another one of the same layers, that holds noise and outputs of its own."""
        return CompiledChain(self._layers)

    def between(
        self,
        x: Tensor,
        y: Tensor,
        draws: Mapping[int, Draw],
        gradient: Tensor | None = None,
        x_gradient: Tensor | None = None,
        parts: int = 1,
    ) -> Chain:
        """Itself for calls from within the kernel, from inputs to outputs that stay where they are.

        Until the next call of another kind.

        Args:
            x: float32 `(members, batch, in)`, each member's side by side.
            y: float32 `(members, batch, out)`, side by side.
            draws: as for `forward`.
            gradient: of the outputs, as `y` is; None if no backward follows.
            x_gradient: where that of the inputs goes, `(members, batch, in)`, if it is asked for.
            parts: of the batch, as large as each other, each of which has noise of its own: the
                draws are then `(members · parts, …)`, those of the first member first.
        """
        room = self._take_room(x.shape[1] // parts, parts)
        # Held until the call is over, whatever is drawn before it begins.
        self._noise = noise = [draws[key] for key in self._keys]
        if gradient is None:
            self._point(x, room.spare if self._chain.rows > FEW else None, noise)
        else:
            if self._held is None or self._held[0] is not room:
                self._held = room, room.lend()
            self._point(x, self._held[1].memory, noise)
            self._chain.dy = gradient.data_ptr()
            self._chain.dx = None if x_gradient is None else x_gradient.data_ptr()
        self._chain.y = y.data_ptr()
        return self._chain

    def backward(self, gradient: Tensor, needed: bool, tape: list[Any]) -> Tensor:
        """Write the parameters' gradients; return the inputs', if they are needed."""
        x, lent, noise = tape.pop()
        self._take_room(x.shape[1])
        gradient = gradient.contiguous()
        self._point(x, lent.memory, noise)
        self._chain.dy = gradient.data_ptr()
        inputs = _empty(*x.shape) if needed else gradient
        self._chain.dx = inputs.data_ptr() if needed else None
        self._library.hunch_backward(byref(self._chain), self._lanes)
        return inputs

    def _point(self, x: Tensor, tape: Tensor | None, noise: Sequence[Draw]) -> None:
        """Tell the kernel where a call finds what is its own."""
        chain = self._chain
        chain.x, chain.x_apart = x.data_ptr(), x.stride(0) // chain.draws
        chain.tape = None if tape is None else tape.data_ptr()
        for (first, second), draw in zip(self._places, noise, strict=True):
            first.first, second.first = draw[0].data_ptr(), draw[-1].data_ptr()

    def _take_room(self, rows: int, parts: int = 1) -> Room:
        """Memory for calls of so many rows, which agents make of two or three sizes in turns."""
        room = self._rooms.pop((rows, parts), None)
        if room is None:
            links, count = self._links, len(self._layers)
            tape = self._members * parts * self._library.hunch_tape(links, count, rows)
            room = Room(tape, self._library.hunch_chain_scratch(links, count, rows))
            if len(self._rooms) == ROOMS:
                del self._rooms[next(iter(self._rooms))]
        self._rooms[rows, parts] = room
        self._chain.members, self._chain.draws = self._members * parts, parts
        self._chain.rows, self._chain.scratch = rows, room.scratch.data_ptr()
        return room


def _widest(members: int) -> int:
    if torch.get_num_threads() == 1:
        return WIDEST
    return WIDEST_BESIDE_THREADS if members == 1 else 0


def _empty(*size: int) -> Tensor:
    # Whatever type and device the program around this makes tensors of.
    return torch.empty(*size, dtype=torch.float32, device="cpu")


def _dense(tensor: Tensor) -> bool:
    """Whether each member's numbers lie side by side."""
    return tensor[0].is_contiguous()


def _own(tensor: Tensor | None) -> Own:
    return Own(None, 0) if tensor is None else Own(tensor.data_ptr(), tensor.stride(0))
