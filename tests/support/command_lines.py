"""What tests of the command line hold in their hands: the files that commands take, and how a command ended."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.stdout)


@dataclass(frozen=True, slots=True)
class Desk:
    """Files that commands take."""

    model: Path
    bundle: Path
    device: Path

    @property
    def options(self) -> list[str]:
        """Options that name the made-up device and bundle."""
        return ["--bundle", str(self.bundle), "--device", str(self.device)]


Run = Callable[..., Outcome]
"""Runs a command in this process."""
