"""What tables stand on beside torch (extra `tabular`)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from hunch.errors import MissingDependencyError

_NEEDED: Final = {"pyarrow": "pyarrow", "sklearn": "scikit-learn"}


def check_packages() -> None:
    """Refuse to begin without a package that is needed later.

    Raises:
        MissingDependencyError: with the line that installs all of them.

    Example:
        >>> check_packages()
    """
    for module, package in _NEEDED.items():
        if find_spec(module) is None:  # looked for, not imported: not all that ask need it
            raise MissingDependencyError(
                f"tables need {package}, which is not installed; "
                'install it with: pip install "torch-hunch[tabular]"'
            )
