"""Four trained networks, and for each inputs like its data and inputs of other kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hunch.seeding import default_generator_seeded, numpy_generator

Array = npt.NDArray[Any]
Rng = np.random.Generator
CANCER: Final = "perceptron, breast cancer"
WINE: Final = "perceptron, wine"
DIGITS: Final = "convolutions, digits"
CHAINS: Final = "transformer, Markov chains"
_LETTERS: Final = "ACEFGHJKLMNPQRTUVWXYabdefhkmnpqrtuwy"  # those that are no digits
_FONTS: Final = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "DejaVuSans-Oblique")
_HELD_OUT: Final = (8, 9)  # digits that the network has never seen
# Tokens that data have, tokens that the network knows of but has never seen, classes, length.
_WORDS, _NEW_WORDS, _SOURCES, _LENGTH = 20, 10, 4, 24
_TRAIN_SHARE: Final = 0.7


@dataclass(frozen=True)
class Problem:
    """A trained network and what it is asked about.

    Args:
        net: in eval mode.
        x: its training data.
        y: their classes.
        test: fresh data of the same kind.
        test_y: their classes.
        far: data of other kinds, by name.
        near: data that are much like its own, or that it cannot tell from them.
        scaled: data of quite another size, such as bytes in place of fractions; of words none.
    """

    net: nn.Module
    x: Tensor
    y: Tensor
    test: Tensor
    test_y: Tensor
    far: dict[str, Tensor]
    near: dict[str, Tensor]
    scaled: dict[str, Tensor] = field(default_factory=dict)


class Perceptron(nn.Module):
    """Two hidden layers, as a user writes it.

    Example:
        >>> Perceptron(3, 2)(torch.zeros(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, 50), nn.Linear(50, 50)
        self.out = nn.Linear(50, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(batch, classes)`."""
        hidden = F.relu(self.second(F.relu(self.first(x))))
        out: Tensor = self.out(hidden)
        return out


class Convolutions(nn.Module):
    """Two convolutions with batch norm, dropout, a hidden layer.

    Example:
        >>> Convolutions(8).eval()(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 8])
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.conv2, self.norm2 = nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.drop, self.hidden = nn.Dropout(0.2), nn.Linear(128, 64)
        self.out = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(batch, classes)` of images `(batch, 1, 8, 8)`."""
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        out: Tensor = self.out(F.relu(self.hidden(self.drop(x.flatten(1)))))
        return out


class Transformer(nn.Module):
    """Two blocks on tokens and their places, averaged.

    Example:
        >>> Transformer(9, 4).eval()(torch.zeros(5, 7, dtype=torch.long)).shape
        torch.Size([5, 4])
    """

    def __init__(self, tokens: int, classes: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(tokens, 32), nn.Embedding(64, 32)
        block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.out = nn.Linear(32, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits `(batch, classes)` of tokens `(batch, length)`."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        out: Tensor = self.out(self.blocks(self.tokens(tokens) + self.places(places)).mean(1))
        return out


def trained(net: nn.Module, x: Tensor, y: Tensor, seed: int, epochs: int, rows: int) -> nn.Module:
    """The network after Adam on batches of that many rows, in eval mode."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    net.train()
    with default_generator_seeded(seed, "frozen networks", "training"):
        for _ in range(epochs):
            for batch in torch.randperm(len(x)).split(rows):
                optimizer.zero_grad()
                F.cross_entropy(net(x[batch]), y[batch]).backward()
                optimizer.step()
    return net.eval()


def table(name: str, seed: int, thrift: int = 1) -> Problem:
    """A perceptron on a table of scikit-learn's, columns standardised."""
    from sklearn import datasets

    load = {CANCER: datasets.load_breast_cancer, WINE: datasets.load_wine}[name]
    values, classes = load(return_X_y=True)
    rng = numpy_generator(seed, "frozen networks", name)
    order = rng.permutation(len(values))
    values, classes = values[order], classes[order]
    n = int(_TRAIN_SHARE * len(values))
    raw = values[n:]
    values = (values - values[:n].mean(0)) / values[:n].std(0)
    with default_generator_seeded(seed, "frozen networks", name):
        net: nn.Module = Perceptron(values.shape[1], int(classes.max()) + 1)
    x, y = _floats(values[:n]), torch.from_numpy(classes[:n])
    net = trained(net, x, y, seed, 60 // thrift, 32)
    test = values[n:]
    one = test.copy()
    one[np.arange(len(test)), rng.integers(test.shape[1], size=len(test))] *= 10
    columns = [rng.permutation(column)[: len(test)] for column in values.T]
    far = {
        "normal noise": rng.normal(size=test.shape),
        "noise of three": 3 * rng.normal(size=test.shape),
        "uniform to six": rng.uniform(-6, 6, test.shape),
        "columns shuffled": np.stack(columns, axis=1),
        "times three": 3 * test,
        "plus three": test + 3,
    }
    near = {"one column times ten": one, "the mean row": 0.01 * rng.normal(size=test.shape)}
    scaled = {"not standardised": raw} | of_another_size(test, rng)
    known = torch.from_numpy(classes[n:])
    others = (_all(sets, _floats) for sets in (far, near, scaled))
    return Problem(net, x, y, _floats(test), known, *others)


def digits(seed: int, thrift: int = 1) -> Problem:
    """Convolutions on scikit-learn's digits from 0 to 7."""
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)
    rng = numpy_generator(seed, "frozen networks", DIGITS)
    order = rng.permutation(len(images))
    images, classes = images[order], classes[order]
    unseen = np.isin(classes, _HELD_OUT)
    held, images, classes = images[unseen], images[~unseen], classes[~unseen]
    n = int(_TRAIN_SHARE * len(images))
    with default_generator_seeded(seed, "frozen networks", DIGITS):
        net: nn.Module = Convolutions(int(classes.max()) + 1)
    x, y = _images(images[:n]), torch.from_numpy(classes[:n])
    net = trained(net, x, y, seed, max(1, 20 // thrift), 64)
    test = images[n:]
    size = len(test)
    level = rng.uniform(0, 16, (size, 1, 1))
    period = rng.integers(1, 3, (size, 1, 1))
    stripes = (np.arange(8) // period + np.zeros((8, 1), int)) % 2 * 16
    turned = np.where(rng.random((size, 1, 1)) < 0.5, stripes, stripes.transpose(0, 2, 1))
    far = {
        "letters": letters(rng, size),
        "turned by 90°": np.rot90(test, 1, (1, 2)),
        "pixels scrambled": test.reshape(size, -1)[:, rng.permutation(64)].reshape(test.shape),
        "uniform noise": rng.uniform(0, 16, test.shape),
        "inverted": 16 - test,
        "blank": np.broadcast_to(level, test.shape),
        "lower half missing": np.where(np.arange(8)[:, None] < 4, test, 0),
        "stripes": turned,
    }
    near = {
        "8 and 9, never seen": held,
        "upside down": test[:, ::-1],
        "two on one another": (test + test[rng.permutation(size)]) / 2,
        "moved by two pixels": np.roll(test, 2, axis=2),
    }
    known = torch.from_numpy(classes[n:])
    others = (_all(sets, _images) for sets in (far, near, of_another_size(test, rng)))
    return Problem(net, x, y, _images(test), known, *others)


def of_another_size(test: Array, rng: Rng) -> dict[str, Array]:
    """Inputs on another scale than the network's, or without one.

    Example:
        >>> sets = of_another_size(np.ones((2, 3)), np.random.default_rng(0))
        >>> float(sets["times 16"].max())
        16.0
    """
    return {
        "times 4": 4 * test,
        "times 16": 16 * test,
        "times 255": 255 * test,
        "plus 1000": test + 1000,
        "noise of 1000": 1000 * rng.normal(size=test.shape),
        "all 1000": np.full(test.shape, 1000.0) + rng.normal(size=test.shape),
    }


def letters(rng: Rng, count: int) -> Array:
    """Letters of four fonts, made as the digits were: 32 × 32 dots, counted in blocks of 4 × 4.

    Example:
        >>> letters(np.random.default_rng(0), 3).shape
        (3, 8, 8)
    """
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [ImageFont.truetype(str(folder / f"{name}.ttf"), 48) for name in _FONTS]
    drawn = []
    for _ in range(count):
        image = Image.new("L", (80, 80))
        letter, font = _LETTERS[rng.integers(len(_LETTERS))], fonts[rng.integers(len(fonts))]
        ImageDraw.Draw(image).text((40, 40), letter, font=font, fill=255, anchor="mm")
        image = image.rotate(rng.uniform(-12, 12))
        dots = np.asarray(image.crop(image.getbbox()).resize((32, 32))) > 96
        drawn.append(dots.reshape(8, 4, 8, 4).sum((1, 3)))
    return np.array(drawn, float)


def chains(seed: int, thrift: int = 1) -> Problem:
    """A transformer that tells which of four Markov chains a sentence is from."""
    rng = numpy_generator(seed, "frozen networks", CHAINS)
    steps = rng.dirichlet(np.full(_WORDS, 0.15), (_SOURCES + 1, _WORDS))
    each = 375 // thrift

    def of_all(count: int, length: int) -> Array:
        return np.concatenate([walks(rng, steps[k], count, length) for k in range(_SOURCES)])

    tokens, classes = of_all(each, _LENGTH), np.repeat(np.arange(_SOURCES), each)
    order = rng.permutation(len(tokens))
    tokens, classes = tokens[order], classes[order]
    n = int(_TRAIN_SHARE * len(tokens))
    with default_generator_seeded(seed, "frozen networks", CHAINS):
        net: nn.Module = Transformer(_WORDS + _NEW_WORDS, _SOURCES)
    x, y = torch.from_numpy(tokens[:n]), torch.from_numpy(classes[:n])
    net = trained(net, x, y, seed, max(1, 12 // thrift), 64)
    test = tokens[n:]
    size = len(test)
    new = rng.integers(_WORDS, _WORDS + _NEW_WORDS, test.shape)
    pair = rng.integers(_WORDS, size=(size, 2))
    far = {
        "new words": new,
        "a quarter new words": np.where(rng.random(test.shape) < 0.25, new, test),
        "a tenth new words": np.where(rng.random(test.shape) < 0.1, new, test),
        "twice as long": of_all(size // _SOURCES, 2 * _LENGTH),
        "a quarter as long": test[:, : _LENGTH // 4],
        "one word again and again": np.repeat(pair[:, :1], _LENGTH, axis=1),
        "two words in turns": np.tile(pair, (1, _LENGTH // 2)),
    }
    near = {
        "a fifth chain": walks(rng, steps[_SOURCES], size, _LENGTH),
        "words at random": rng.integers(_WORDS, size=test.shape),
        "words shuffled": rng.permuted(test, axis=1),
    }
    known = torch.from_numpy(classes[n:])
    make = torch.from_numpy
    return Problem(net, x, y, torch.from_numpy(test), known, _all(far, make), _all(near, make))


def walks(rng: Rng, steps: Array, count: int, length: int) -> Array:
    """Walks of a Markov chain from a word at random.

    Args:
        rng: source of the draws.
        steps: probabilities, `(words, words)`.
        count: how many.
        length: words in each.

    Example:
        >>> words = walks(np.random.default_rng(0), np.array([[0.0, 1.0], [1.0, 0.0]]), 1, 4)
        >>> np.abs(np.diff(words)).tolist()
        [[1, 1, 1]]
    """
    words = np.empty((count, length), int)
    words[:, 0] = rng.integers(len(steps), size=count)
    ends = steps.cumsum(axis=1)
    for t in range(1, length):
        beyond = rng.random((count, 1)) > ends[words[:, t - 1]]
        words[:, t] = beyond.sum(axis=1).clip(max=len(steps) - 1)
    return words


def make_problem(name: str, seed: int, thrift: int = 1) -> Problem:
    """A problem by name; with more `thrift` it is trained for so many times less."""
    if name == DIGITS:
        return digits(seed, thrift)
    if name == CHAINS:
        return chains(seed, thrift)
    return table(name, seed, thrift)


def _floats(values: Array) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def _images(values: Array) -> Tensor:
    return _floats(values / 16).unsqueeze(1)


def _all(sets: dict[str, Array], make: Callable[[Array], Tensor]) -> dict[str, Tensor]:
    return {name: make(np.ascontiguousarray(values)) for name, values in sets.items()}
