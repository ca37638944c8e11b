"""The process that does the jobs of a study: see `hunch.studies.runner`."""

from __future__ import annotations

from typing import Any

from hunch.cli.environments import env_given, is_code, wraps_code
from hunch.cli.failures import explain
from hunch.studies.kinds import Above
from hunch.studies.runner import serve


def reproduce(claim: str, **options: Any) -> None:
    """Run a claim; what that needs is imported then."""
    from hunch.experiments.claims.registry import reproduce_claim

    reproduce_claim(claim, **options)


ABOVE = Above(
    is_code=is_code,
    wraps_code=wraps_code,
    env_given=env_given,
    reproduce=reproduce,
    explain=lambda error: explain(error)[0],
)

if __name__ == "__main__":
    serve(ABOVE)
