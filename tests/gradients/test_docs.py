"""Every code block of the docs page runs, one after the other."""

import re
from pathlib import Path


def test_docs_page_runs():
    page = Path(__file__).parents[2] / "docs" / "gradients.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
    assert names["mu"].grad.abs().sum() > 0
