"""Where networks live: a device that this machine has."""

from __future__ import annotations

import torch

from hunch.errors import ConfigurationError, sentence


def usable_device(device: torch.device | str) -> torch.device:
    """The device, once a number could be put there.

    Args:
        device: a torch device or its name.

    Raises:
        ConfigurationError: if torch does not know it, or this machine has none.

    Example:
        >>> usable_device("cpu")
        device(type='cpu')
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigurationError(
            f"`device` got {device!r}; expected a torch device such as 'cpu' or 'cuda'."
        ) from error
    if found.type == "cpu":
        return found
    try:
        torch.zeros(1, device=found).item()
    except Exception as error:  # each kind of device has errors of its own
        raise ConfigurationError(
            f"`device` got {str(found)!r}, which cannot be used here: {sentence(error)} Expected "
            "one that this machine has, such as 'cpu'."
        ) from error
    return found
