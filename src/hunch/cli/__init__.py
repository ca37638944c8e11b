"""The command line: parse, call, print. Nothing heavy is imported before it is needed."""

from hunch.cli.main import main

__all__ = ["main"]
