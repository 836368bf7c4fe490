"""What is read out of a page."""

import json
from html.parser import HTMLParser


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text of scripts by id."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self.text, self._script = [], {}, [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._script = dict(attrs).get("id", "") if tag == "script" else None

    def handle_endtag(self, tag):
        self._script = None

    def handle_data(self, data):
        if self._script is None:
            self.text.append(data)
        else:
            self.scripts[self._script] = data


def data_of(path):
    """The blocks' data, by name."""
    return json.loads(Elements(path.read_text(encoding="utf-8")).scripts["data"])


def rows_of(data, *heads):
    """The rows of the first table with these heads at its beginning, as dictionaries by their first cells."""
    found = next(b for b in data.values() if b["kind"] == "table" and tuple(b["heads"][: len(heads)]) == heads)
    return {row[0]: dict(zip(found["heads"], row, strict=True)) for row in found["rows"]}
