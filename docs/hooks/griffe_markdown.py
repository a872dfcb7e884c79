"""The extension of mkdocstrings that reads docstrings as Markdown."""

from __future__ import annotations

from typing import Any

from docstrings import as_markdown
from griffe import Extension, Object


class DocstringsAsMarkdown(Extension):
    """Tells mkdocstrings what docstrings say, in Markdown."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
