"""Hooks of MkDocs: pages that are made from the code, the results and other files of the repository."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from repository import ROOT, Linked, own_pages, pages_of_files, place_of

with warnings.catch_warnings():
    # Of what others do when they are loaded
    warnings.simplefilter("ignore")
    import reference

MATHS = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)

ELSEWHERE = re.compile(r'<(?:script|img|iframe|link rel="stylesheet")[^>]* (?:src|href)="(https?:[^"]+)"')

made: dict[str, Any] = {}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the pages, and put those that the navigation names by their folder into it."""
    made.clear()
    made.update(reference.pages())
    made.update(pages_of_files())
    own = [place_of(file) for file in own_pages()]
    # What is not in search is found by links alone: pages of sources.
    places = [place for place in sorted({*own, *made}) if place.endswith(".md") and not place.endswith("/files.md")]
    config.nav = _filled(config.nav, places, set(_entries(config.nav)))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for place, content in made.items():
        if isinstance(content, Path):
            files.append(File.generated(config, place, abs_src_path=str(content)))
        else:
            files.append(File.generated(config, place, content=content))
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas as MathML, which browsers show without a script."""
    return MATHS.sub(lambda match: convert(_plain(match[3]), display="inline" if match[2] == "(" else "block"), html)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse what would be loaded from elsewhere: the site works from a disk."""
    if found := ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_uri} must load nothing from elsewhere, but loads {found[1]}")
    return output


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links of the site's own pages to files of the repository as links to the pages that show them."""
    file = page.file.abs_src_path
    if file is None or not Path(file).is_relative_to(ROOT / "docs"):
        return markdown
    return Linked().turn(markdown, Path(file), page.file.src_uri)


def _plain(latex: str) -> str:
    return latex.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _entries(nav: Any) -> Iterator[str]:
    if isinstance(nav, dict):
        nav = list(nav.values())
    for entry in nav if isinstance(nav, list) else []:
        yield from _entries(entry)
    if isinstance(nav, str):
        yield nav


def _filled(nav: list[Any], places: list[str], named: set[str]) -> list[Any]:
    """The navigation with the pages of a folder in place of ``folder/*``, those of its folders too in place of
    ``folder/**``, but those that it names elsewhere.
    """
    filled: list[Any] = []
    for entry in nav:
        if isinstance(entry, dict):
            ((title, below),) = entry.items()
            filled.append({title: _filled(below, places, named) if isinstance(below, list) else below})
        elif entry.endswith("*"):
            start = entry.rstrip("*")
            inside = [place for place in places if place.startswith(start) and place not in named]
            filled += [place for place in inside if "/" not in place.removeprefix(start)]
            if entry.endswith("**"):
                filled += _by_folder([place for place in inside if "/" in place.removeprefix(start)], start)
        else:
            filled.append(entry)
    return filled


def _by_folder(places: list[str], start: str) -> list[Any]:
    """A section for each folder. Reports are called by their folder there, since all have one heading."""
    sections: dict[str, list[Any]] = {}
    for place in places:
        folder, _, inner = place.removeprefix(start).partition("/")
        parts = inner.removesuffix(".md").split("/")
        if parts[-1] in ("README", "report"):
            parts = parts[:-1] or ["overview"]
        below = sections.setdefault(_words(folder), [])
        below.append({_words(" / ".join(dict.fromkeys(parts))): place})
    for below in sections.values():
        below.sort(key=lambda entry: "Overview" not in entry)
    return [{title: below} for title, below in sections.items()]


def _words(name: str) -> str:
    return name[:1].upper() + name[1:].replace("_", " ")
