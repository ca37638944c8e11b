"""Every Python block of the README and the pages runs, in order, page by page."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/*.md"))]

# What the examples of a page need beyond the development environment.
NEEDS = {
    "docs/doubt.md": "sklearn",
    "docs/frozen-network.md": "sklearn",
    "docs/scikit-learn.md": "sklearn",
    "docs/stable-baselines3.md": "stable_baselines3",
    "docs/bayesian-optimization.md": "botorch",
}
# BoTorch's own imports still use it.
LET_PASS = "ignore:`torch.jit.script:DeprecationWarning"

ONE_THREAD = "import torch; torch.set_num_threads(1)"
FEW_TREES = "from hunch.sklearn import boosting; boosting._SIZES = ((float('inf'), 30, 15),)"


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page, tmp_path, pytestconfig):
    if page in NEEDS:
        pytest.importorskip(NEEDS[page])
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    assert blocks, f"{page} shows no example"
    script = tmp_path / "page.py"
    grows = any(re.search(r"Regressor|Classifier", block) for block in blocks)
    sparing = FEW_TREES if grows and not pytestconfig.getoption("--thorough") else ""
    script.write_text("\n".join([ONE_THREAD, sparing, *blocks]), "utf-8")
    # A process of its own: examples may not lean on what other tests imported or drew.
    command = [sys.executable, "-W", "error", "-W", LET_PASS, str(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *PAGES])
def test_links_and_figures_lead_somewhere(page):
    text = (ROOT / page).read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"


def test_the_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"make (\w+)", (ROOT / "README.md").read_text("utf-8")):
        assert f"\n{target}:" in makefile
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
