"""Promises about the tree itself: what a newcomer, an image or an import could trip over."""

import operator
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_operator_folder_never_shadows_the_standard_library() -> None:
    """`operator/` holds a package of a distinct name and no `__init__.py`, so that `import operator` is Python's own."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert operator.add(2, 2) == 4


def test_tests_have_no_packages() -> None:
    """No `__init__.py` below tests/, so that `tests/operator` cannot become a package that shadows anything."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_test_modules_have_distinct_names() -> None:
    """Without packages, two test modules of one name would hide each other."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_make_lists_every_habit() -> None:
    """`make` alone names each target that a person may type, with what it does."""
    listed = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    makefile = (ROOT / "Makefile").read_text()
    habits = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    assert {"run", "test", "lint", "generate", "controlplane", "images", "cluster", "bench", "dataset", "train", "clean"} <= habits
    assert habits == set(re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE))
    assert habits == set(re.findall(r"^  (\S+)\s+\S", listed, re.MULTILINE))


def test_a_dry_run_of_a_habit_runs_nothing() -> None:
    """Make carries out lines that name `$(MAKE)` even under -n, and with `.ONESHELL` that is the whole recipe: `make -n test` would run every test."""
    assert not re.search(r"\$[({]MAKE[)}]", (ROOT / "Makefile").read_text())


def test_serving_extras_hold_no_torch() -> None:
    """Torch and the other training libraries are named by the extra `train` (and `dev`, which includes it) alone."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name in ("predictor", "extender", "operator", "cli"):
        assert not re.search(r"torch|sklearn|scikit|timm|transformers|pyarrow|\btrain\b", " ".join(extras[name])), name


def test_every_requirement_is_pinned() -> None:
    """Each requirement of pyproject.toml has its line in constraints.txt, and no line names an index or an address."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(item for extra in project["optional-dependencies"].values() for item in extra)]
    names = {re.split(r"[<>=!\[;\s]", item, maxsplit=1)[0].lower().replace("_", "-") for item in wanted} - {"stowplan"}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    assert names <= pinned
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)


def test_every_dependency_earns_its_line() -> None:
    """docs/dependencies.md says of each requirement why this one and what else was weighed."""
    text = (ROOT / "docs" / "dependencies.md").read_text().lower()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(item for extra in project["optional-dependencies"].values() for item in extra)]
    names = {re.split(r"[<>=!\[;\s]", item, maxsplit=1)[0].lower() for item in wanted} - {"stowplan"}
    assert sorted(name for name in names if f"`{name}`" not in text) == []


def test_siblings_in_contracts_never_import_each_other() -> None:
    """Layers name siblings with `|`: `:`, which reads alike, lets them import each other, and a contract with it holds whatever they do."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {contract["name"]: contract["layers"] for contract in contracts if contract["type"] == "layers"}
    assert any("|" in layer for found in layers.values() for layer in found)
    assert {name: [layer for layer in found if ":" in layer] for name, found in layers.items() if any(":" in layer for layer in found)} == {}


@pytest.mark.parametrize("component", ["fleet", "predictor", "extender", "operator", "cli"])
def test_the_map_names_every_room(component: str) -> None:
    """docs/architecture.md names each package inside a component, and no package that is gone."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    package = ROOT / component / f"stowplan_{component}"
    rooms = {path.parent.relative_to(ROOT).as_posix() for path in package.rglob("__init__.py")}
    assert sorted(room for room in rooms if f"`{room}/`" not in text) == []
    named = set(re.findall(rf"`({component}/stowplan_[a-z_/]+)/`", text))
    assert sorted(room for room in named if not (ROOT / room).is_dir()) == []
