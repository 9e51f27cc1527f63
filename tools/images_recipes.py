"""The Containerfile as data: what each target's image is told to be, so that both builders make the same one.

Only what a builder without an engine can follow is understood: stages, and the instructions that end up in an image's configuration. RUN and COPY belong to
the engine; the other builder knows by `sites` and `copies` what they come to.
"""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from images_errors import RecipeRefused

CONTAINERFILE: Final = Path(__file__).resolve().parent.parent / "images" / "Containerfile"
_SITE_SUFFIX: Final = "-site"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One stage of the Containerfile."""

    name: str
    parent: str
    """Name of the stage it starts from; the text after FROM where that is a base image."""
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = "/"
    ports: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()
    """Files of the tree and where they go; not those of other stages."""
    runs: tuple[str, ...] = ()

    def configuration(self) -> dict[str, Any]:
        """The part `config` of an OCI image configuration (image-spec, config.md)."""
        return {
            "User": self.user,
            "WorkingDir": self.workdir,
            "Env": [f"{name}={value}" for name, value in self.environment.items()],
            "Labels": self.labels,
            "ExposedPorts": {f"{port}/tcp": {} for port in self.ports},
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.command),
        }


def targets(text: str | None = None) -> dict[str, Recipe]:
    """The stages that are images: those with an entrypoint, by name.

    Raises:
        RecipeRefused: an instruction is not understood.
    """
    return {name: recipe for name, recipe in stages(text).items() if recipe.entrypoint}


def stages(text: str | None = None) -> dict[str, Recipe]:
    """All stages by name, each with what it inherits.

    Raises:
        RecipeRefused: an instruction is not understood.
    """
    found: dict[str, Recipe] = {}
    current: Recipe | None = None
    for word, rest in _instructions(CONTAINERFILE.read_text() if text is None else text):
        if word == "FROM":
            match = re.fullmatch(r"(\S+) AS ([a-z][a-z0-9-]*)", rest)
            if match is None:
                raise RecipeRefused(f"{CONTAINERFILE.name}: `FROM {rest}`: write FROM BASE AS NAME")
            parent = found.get(match[1], Recipe("", match[1]))
            current = replace(parent, name=match[2], parent=match[1], runs=(), copies=())
        elif current is not None:
            current = _with(current, word, rest)
        elif word != "ARG":
            raise RecipeRefused(f"{CONTAINERFILE.name}: {word} before the first FROM")
        if current is not None:
            found[current.name] = current
    return found


def requirement_of(recipe: Recipe, text: str | None = None) -> str:
    """What the stage `NAME-site` installs: an extra of ours (`[predictor]`), or a file of requirements.

    Raises:
        RecipeRefused: there is no such stage, or it installs in another way.
    """
    site = stages(text).get(recipe.name + _SITE_SUFFIX)
    last = shlex.split(site.runs[-1])[-1] if site and site.runs else ""
    extra = re.fullmatch(r"\$\(ls /wheels/\*\.whl\)(\[[a-z]+\])", last)
    if extra is not None:
        return extra[1]
    copied = [] if site is None else [source for source in _all_copied(text) if last == f"/{Path(source).name}"]
    if not copied:
        raise RecipeRefused(f"{CONTAINERFILE.name}: stage {recipe.name}{_SITE_SUFFIX} must install one extra of the wheel, or one file of requirements")
    return copied[0]


def _with(recipe: Recipe, word: str, rest: str) -> Recipe:
    changes: dict[str, Any]
    match word:
        case "ENV":
            changes = {"environment": recipe.environment | _pairs(rest)}
        case "LABEL":
            changes = {"labels": recipe.labels | _pairs(rest)}
        case "USER" | "WORKDIR":
            changes = {word.lower(): rest}
        case "EXPOSE":
            changes = {"ports": (*recipe.ports, *rest.split())}
        case "ENTRYPOINT":
            changes = {"entrypoint": _list(word, rest), "command": ()}
        case "CMD":
            changes = {"command": _list(word, rest)}
        case "RUN":
            changes = {"runs": (*recipe.runs, rest)}
        case "COPY":
            changes = {"copies": (*recipe.copies, *_copied(rest))}
        case _:
            raise RecipeRefused(f"{CONTAINERFILE.name}: {word} is not understood by the builder without an engine")
    return replace(recipe, **changes)


def _copied(rest: str) -> list[tuple[str, str]]:
    if rest.startswith("--from="):
        return []  # from another stage: the engine's affair
    *sources, target = rest.split()
    return [(source, target) for source in sources]


def _all_copied(text: str | None) -> list[str]:
    return [source for stage in stages(text).values() for source, _ in stage.copies]


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    for line in text.replace("\\\n", " ").splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            word, _, rest = stripped.partition(" ")
            yield word.upper(), rest.strip()


def _pairs(rest: str) -> dict[str, str]:
    return dict(item.split("=", 1) for item in shlex.split(rest))


def _list(word: str, rest: str) -> tuple[str, ...]:
    try:
        return tuple(json.loads(rest))
    except ValueError:
        raise RecipeRefused(f'{CONTAINERFILE.name}: {word} {rest}: write a list, ["python", …]') from None
