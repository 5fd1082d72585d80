"""Pages as tests read them: what is text, what is markup, what would be fetched."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

FETCHING = {"src", "srcset", "href", "action", "formaction", "data", "poster", "xlink:href", "background", "ping"}


class Page(HTMLParser):
    """A parsed page: tags with their attributes, texts, every reference."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.references: list[str] = []
        self.text = ""
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        self.references += [value for name, value in found.items() if name in FETCHING]

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every element with this tag."""
        return [attributes for name, attributes in self.tags if name == tag]

    def attributes(self) -> set[str]:
        """The names of all attributes."""
        return {name for _, attributes in self.tags for name in attributes}
