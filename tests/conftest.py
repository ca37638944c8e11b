import os

# Small problems on two busy cores: a second thread only waits for the first. Set before anything
# is imported, it also holds for scikit-learn's trees, which count for themselves, and for the
# processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

import torch

torch.set_num_threads(1)
