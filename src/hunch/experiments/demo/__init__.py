"""The five sources on their own inputs, as one page: what `hunch demo` runs."""

from hunch.experiments.demo.runner import PARTS, run_demo

__all__ = ["PARTS", "run_demo"]
