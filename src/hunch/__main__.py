"""`python -m hunch` is the `hunch` program."""

from hunch.cli import main

main()
