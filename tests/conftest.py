import pytest
import torch

# Small networks on two busy cores: a second thread only waits for the first.
torch.set_num_threads(1)


def pytest_itemcollected(item):
    """With `--dist loadgroup` a file stays on one worker, which makes its fixtures once.

    The pages of the docs share none, and are long: they fill both workers at the end.
    """
    if item.path.name != "test_docs.py":
        item.add_marker(pytest.mark.xdist_group(str(item.path)))
