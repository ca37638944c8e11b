#!/usr/bin/env bash
# bsuite 0.3.6: the images of its MNIST experiments are read as signed bytes.
#
# `bsuite.utils.datasets.load_mnist` makes numbers from -128 to 127 of the files' bytes, which mean 0 to 255:
# what is darker than a half becomes negative, and full ink is -1, next to the paper's 0. Its environments
# divide by 255 and show that. Nothing is said, and the shapes and labels are right.
#
# What it does to learning, on the real files: a perceptron of two layers of 50, after 5,000 batches of 64 from
# 10,000 digits, names 48 % of 5,000 drawn from all, and 96 % with the bytes read as 0 to 255; taught by the
# rewards of random actions alone 24 % and 90 %. A score on these experiments is therefore no measure beside those of agents that saw digits.
#
# Seen: bytes 0, 127, 128, 255 are read as 0, 127, -128, -1.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check absl-py==2.5.1 six==1.17.0 numpy==2.4.6
"$place/venv/bin/pip" install -q --disable-pip-version-check --no-deps bsuite==0.3.6
PLACE="$place" "$place/venv/bin/python" - <<'PYTHON'
import gzip
import importlib.util
import os
import struct
import sysconfig

import numpy as np

# The one module alone: the package asks for plotting and statistics when it is imported.
path = os.path.join(sysconfig.get_path("purelib"), "bsuite", "utils", "datasets.py")
spec = importlib.util.spec_from_file_location("datasets", path)
datasets = importlib.util.module_from_spec(spec)
spec.loader.exec_module(datasets)

folder = os.environ["PLACE"]
pixels = np.array([[[0, 127], [128, 255]]], np.uint8)
for part in ("train", "t10k"):
    with gzip.open(f"{folder}/{part}-images-idx3-ubyte.gz", "wb") as file:
        file.write(struct.pack(">IIII", 2051, *pixels.shape) + pixels.tobytes())
    with gzip.open(f"{folder}/{part}-labels-idx1-ubyte.gz", "wb") as file:
        file.write(struct.pack(">II", 2049, 1) + bytes([7]))

(images, labels), _ = datasets.load_mnist(folder)
print(f"bytes {pixels.ravel().tolist()} are read as {images.ravel().tolist()}, of {images.dtype}")
assert labels.tolist() == [7]
assert images.ravel().tolist() == [0, 127, -128, -1], "bytes are read as they are now"
PYTHON
