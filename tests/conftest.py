import torch

# Small networks on two busy cores: a second thread only waits for the first.
torch.set_num_threads(1)
