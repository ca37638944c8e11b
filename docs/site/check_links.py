"""Every link of the built site leads to a file and an anchor that are there, none to a network.

    python docs/site/check_links.py build/site/html

Links a reader may follow to other sites are left alone; what a page loads must lie on the disk.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """The anchors of a page, where its links lead, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value is not None}
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload"):
            self.loads.append(given["href"])
        elif "src" in given:
            self.loads.append(given["src"])
            self.loads += [part.split()[0] for part in given.get("srcset", "").split(",") if part]


def broken(folder: Path) -> list[str]:
    """A line for each link that leads nowhere and each file that a page would fetch."""
    pages = {path.resolve(): _Page(path.read_text("utf-8")) for path in folder.rglob("*.html")}
    found = []
    for path, page in sorted(pages.items()):
        name = path.relative_to(folder.resolve())
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loads and parts.scheme != "data":
                    found.append(f"{name} loads {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.is_file():
                found.append(f"{name} links to {link}: no such file")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                found.append(f"{name} links to {link}: no such anchor")
    return found


if __name__ == "__main__":
    if len(sys.argv) != 2 or not next(Path(sys.argv[1]).rglob("*.html"), None):
        sys.exit("check_links: expected one folder with a built site; `make docs` builds it.")
    lines = broken(Path(sys.argv[1]))
    print("\n".join([*lines, f"{len(lines)} broken links"]))
    sys.exit(bool(lines))
