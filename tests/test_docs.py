"""The pages of the documentation: their code runs, prints what they say it prints, and their links lead somewhere.

The ```python blocks of a page run in order, in one namespace, in an empty directory. A ```text block right after one is what it
prints, with ... for what varies. A block that needs files of the reader's is marked ```py and not run.
"""

from __future__ import annotations

import doctest
import re
import runpy
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from fastdw.cli import COMMANDS, make_parser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\s*^```text\n(?P<printed>.*?)^```$)?", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)[^)]*\)")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[tuple[str, str | None]]:
    """The code, on the lines that it has in the page, and what it prints where that is said."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        yield "\n" * text.count("\n", 0, found.start("code")) + found["code"], found["printed"]


def run(page: Path, namespace: dict, capsys: pytest.CaptureFixture) -> set[str]:
    """Every block that can be; the modules that others miss."""
    missing = set()
    for code, printed in blocks(page):
        capsys.readouterr()
        try:
            exec(compile(code, name(page), "exec"), namespace)
        except ModuleNotFoundError as error:
            if (error.name or "fastdw").startswith("fastdw"):
                raise
            missing.add(error.name)
            continue
        got = capsys.readouterr().out
        if printed is not None:
            same = doctest.OutputChecker().check_output(printed, got, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
            assert same, f"{name(page)} says that this prints\n{printed}\nbut it prints\n{got}"
    return missing


@pytest.mark.parametrize("page", [page for page in PAGES if "```python\n" in page.read_text()], ids=name)
def test_code_runs(page, tmp_path, own_profile, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    missing = run(page, {"__name__": "__main__"}, capsys)
    if missing:
        pytest.skip(f"the other blocks run; some need {', '.join(sorted(missing))}")


SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`((?:fastdw|python -m (?:bench|tests)[\w.]*) [^`\n]+)`")
TYPED = re.compile(r"(?:^|&& )fastdw ([^#&\n]+)", re.MULTILINE)


def test_commands_are_found():
    text = "".join(page.read_text() for page in PAGES)
    assert len(NAMED.findall(text)) > 20
    assert len(TYPED.findall("".join(SHELL.findall(text)))) > 5


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_exist(page):
    """Those in the text by their names, those in ```sh blocks with their options."""
    for command in NAMED.findall(page.read_text()):
        words = command.split()
        assert words[1] in COMMANDS if words[0] == "fastdw" else find_spec(words[2]), command
    for block in SHELL.findall(page.read_text()):
        for command in TYPED.findall(block):
            make_parser().parse_args(shlex.split(command))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    broken = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not broken


def test_the_api_reference_is_up_to_date():
    make_api = runpy.run_path(str(ROOT / "docs" / "make_api.py"))
    assert (ROOT / "docs" / "api.md").read_text() == make_api["page"](), "run python docs/make_api.py"


def test_the_index_links_every_page():
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / link).resolve() for link in LINK.findall(index.read_text())}
    pages = {page.resolve() for page in PAGES if page.parent != ROOT} - {index.resolve()}
    assert pages <= linked, f"not linked: {sorted(map(str, pages - linked))}"
