"""Units of work: one model fitted on one fold, kept on disk under a digest of everything it follows from, so that a run that was stopped goes on."""

import ast
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from stowplan_predictor.training.harness.worlds import World

PACKAGE = Path(__file__).resolve().parents[2]


def default_work() -> Path:
    """Where units are kept unless told otherwise: `$STOWPLAN_CACHE/rivals`, else below the user's cache."""
    return Path(os.environ.get("STOWPLAN_CACHE") or Path.home() / ".cache" / "stowplan") / "rivals"


@dataclass(frozen=True, slots=True)
class UnitKind:
    """A model that is fitted once a fold."""

    name: str
    make: Callable[[World, int], bytes]
    """Fits it for a fold and returns what it says of the fold's test networks, in a form of its own."""
    inputs: Callable[[World], str]
    """Digest of what it learns from and is asked."""
    sources: tuple[str, ...]
    """Modules and packages, as paths below the predictor's package, whose code decides what comes out."""
    only: frozenset[int] | None = None
    """The folds it is fitted on, where not all are worth their time."""

    def folds(self, world: World) -> list[int]:
        """In the order in which they are fitted."""
        return [number for number in world.folds if self.only is None or number in self.only]

    def key(self, world: World) -> str:
        """Hex digest of inputs, code and seed."""
        found = hashlib.sha256(f"{self.name}\0{world.seed}\0{self.inputs(world)}\0{code_digest(self.sources)}".encode())
        return found.hexdigest()[:24]


def _meaning(source: bytes) -> bytes:
    """A module without comments, layout and docstrings: what they say changes nothing that it computes."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [item for item in node.body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))]
    return ast.dump(tree, include_attributes=False).encode()


def code_digest(sources: Iterable[str]) -> str:
    """Hex digest of what modules and packages say to the interpreter.

    Raises:
        FileNotFoundError: there is none of that name.
    """
    found = hashlib.sha256()
    for source in sources:
        path = PACKAGE / source
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        for file in files:
            found.update(str(file.relative_to(PACKAGE)).encode() + b"\0" + _meaning(file.read_bytes()) + b"\0")
    return found.hexdigest()


@dataclass(frozen=True, slots=True)
class Units:
    """A folder of finished units."""

    folder: Path

    def path(self, kind: str, key: str, fold: int) -> Path:
        """Where a unit lies."""
        return self.folder / f"{kind}-{key}" / f"fold{fold}"

    def is_done(self, kind: str, key: str, fold: int) -> bool:
        """True where it was finished, by this code and from these data."""
        return self.path(kind, key, fold).exists()

    def read(self, kind: str, key: str, fold: int) -> bytes:
        """What a finished unit says."""
        return self.path(kind, key, fold).read_bytes()

    def keep(self, kind: str, key: str, fold: int, content: bytes) -> None:
        """Writes a unit whole or not at all."""
        path = self.path(kind, key, fold)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(content)
        temporary.replace(path)
