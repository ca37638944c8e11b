import pytest


@pytest.fixture
def undrawn(monkeypatch):
    """Pages with the title of each figure in its place: to draw takes most of a page's time."""
    monkeypatch.setattr(
        "hunch.plots.page.to_svg",
        lambda figure: f"<svg ><!-- {figure.axes[0].get_title(loc='left')} --></svg>",
    )
