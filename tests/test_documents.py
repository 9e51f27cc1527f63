"""Promises about what people read: places, habits, commands and tests that a document names are there."""

import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

import pytest
import typer
from stowplan_cli.main import build

ROOT: Final = Path(__file__).resolve().parents[1]


def tracked() -> list[str]:
    """Files of the tree: what git knows, and what it would not ignore."""
    return subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()


DOCUMENTS: Final = [path for path in tracked() if path.endswith((".md", "NOTES.txt"))]

# The map says that it is not there, and why.
ABSENT: Final = "operator/__init__.py"


def code(document: str) -> Iterator[str]:
    """What stands as code in a document: spans between backticks, and lines of blocks, fenced or indented."""
    text = (ROOT / document).read_text()
    for number, part in enumerate(re.split(r"^```.*$", text, flags=re.MULTILINE)):
        if number % 2:
            yield from part.splitlines()
        else:
            yield from re.findall(r"`([^`]+)`", part)
            yield from re.findall(r"^ {4,}(\S.*)$", part, flags=re.MULTILINE)


def test_what_stands_as_code_is_found() -> None:
    """The reading below is not of nothing: it sees spans and blocks."""
    assert len(DOCUMENTS) >= 15
    assert "make" in set(code("README.md"))
    assert any(line.startswith(".venv/bin/stowplan strip") for line in code("README.md"))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_place_that_a_document_names_is_there(document: str) -> None:
    """A path that begins with one of our folders is a file or folder of the tree; what is made while building lies in `build/` and is not looked for."""
    files = tracked()
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    tops = {path.partition("/")[0] for path in files if "/" in path}
    missing = set()
    for line in code(document):
        for before, path in re.findall(r"(\S* ?)(?<![\w./~-])([\w-]+/[\w./-]*\w)", line):
            # What a command will write is not there yet.
            output = re.search(r"(--to|--output|--predictions|--campaign)[ =]$", before)
            if path.partition("/")[0] in tops and path not in folders and path not in files and path != ABSENT and not output:
                missing.add(path)
    assert missing == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_habit_that_a_document_names_is_in_the_makefile(document: str) -> None:
    """`make something` is a target."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for line in code(document) for target in re.findall(r"^make ([a-z0-9-]+)", line)}
    assert named - targets == set()


@functools.cache
def commands(*, plugin: bool) -> dict[str, set[str]]:
    """Options of each command, by its name."""
    group = typer.main.get_command(build(plugin=plugin))
    found = getattr(group, "commands", {})
    return {name: {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} for name, command in found.items()}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_that_a_document_names_is_there_with_its_options(document: str) -> None:
    """`stowplan something --option`, and the same of `kubectl stowplan`."""
    wrong = []
    for line in code(document):
        for before, command, rest in re.findall(r"(kubectl |/|^|[;|&] *)stowplan (?!-)([a-z-]+)([^|;#`]*)", line):
            known = commands(plugin=before == "kubectl ")
            if command not in known:
                wrong.append(f"{before}stowplan {command}")
                continue
            options = set(re.findall(r"(?<=\s)(--?[A-Za-z][a-z-]*)", rest))
            wrong += [f"{before}stowplan {command} {option}" for option in sorted(options - known[command] - {"-h", "--help"})]
    assert wrong == []


def named_tests(document: str) -> Iterator[tuple[str, str]]:
    """Modules and tests that a document names: `test_module::test_function`, `…` for what is left out, a module once for all that follow it in a row."""
    for row in (ROOT / document).read_text().splitlines():
        module = ""
        for span in re.findall(r"`([^`]+)`", row):
            if found := re.fullmatch(r"(test_\w+)(?:::(\S+))?", span):
                module, function = found[1], found[2] or "…"
                yield module, function
            elif module and span.startswith("…"):
                yield module, span


def test_every_test_that_the_page_of_faults_names_is_there() -> None:
    """A module of that name, and in it a test of that name."""
    named = set(named_tests("docs/faults.md"))
    assert len(named) >= 25
    modules = {PurePosixPath(path).stem: (ROOT / path).read_text() for path in tracked() if path.startswith("tests/")}
    missing = []
    for module, function in sorted(named):
        pattern = "".join(r"\w*" if part == "…" else re.escape(part) for part in re.split("(…)", function))
        if module not in modules or not re.search(rf"^(?:async )?def {pattern}\(", modules[module], re.MULTILINE):
            missing.append(f"{module}::{function}")
    assert missing == []
