#!/usr/bin/env bash
# safetensors 0.8.0: save_file(tensors, path) does not write into a file that is there: it puts another
# one in its place. A lock (flock) on the first is then on no file any more, and whoever asks takes the new
# one for unlocked.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6

cat > "$place/lock.py" <<'EOF'
import fcntl
import os
import sys

import numpy as np
from safetensors.numpy import save_file

path = os.path.join(sys.argv[1], "a.safetensors")
open(path, "w").close()
mine = os.open(path, os.O_RDONLY)
fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
before = os.stat(path).st_ino
save_file({"a": np.zeros(3)}, path)
other = os.open(path, os.O_RDONLY)
try:
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    locked = False
except BlockingIOError:
    locked = True
print(f"another file: {os.stat(path).st_ino != before}, still locked: {locked}")
sys.exit(locked)
EOF
"$place/venv/bin/python" "$place/lock.py" "$place"
