"""Option sets: options that several commands have in common, as the fields of a dataclass."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer shall see it, which reads options off a signature: each parameter that is a dataclass gives way to its fields, which are options.

    A field is annotated as a parameter would be (`Annotated[..., typer.Option(...)]`) and has a default.
    """
    sets: dict[str, type[Any]] = {}
    shown: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        if isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation):
            sets[name] = parameter.annotation
            shown += [_parameter(field.name, field.type, field.default) for field in fields(parameter.annotation)]
        else:
            shown.append(parameter)

    @functools.wraps(command)
    def spread_out(**given: Any) -> None:  # noqa: ANN401 - whatever the fields are
        made = {name: kind(**{field.name: given.pop(field.name) for field in fields(kind)}) for name, kind in sets.items()}
        command(**given, **made)

    spread_out.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    spread_out.__annotations__ = {}
    return spread_out


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:  # noqa: ANN401 - of any type
    if default is MISSING:
        raise TypeError(f"option {name} of a set has no default")
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
