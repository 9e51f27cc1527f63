"""Model files and shapes as they are typed: `MODEL.onnx --shape x=1x3x224x224`."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

from pathlib import Path
from typing import Annotated, Final

import typer

from stowplan_cli.terminal.exits import Refused

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="ONNX file; its weights are not needed.", show_default=False)]
ShapeOption = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="NAME=1x3x224x224", help="Shape of an input; binds dynamic dimensions. May be repeated.", show_default=False),
]

# More would not fit an int64 element count whatever the other dimensions are; the analysis has tighter bounds and says them.
_LARGEST_DIMENSION: Final = 2**62


def parse_shapes(texts: list[str] | None) -> dict[str, tuple[int, ...]]:
    """Shapes by input name; an empty shape (`x=`) is a scalar's.

    Raises:
        Refused: not `NAME=AxBxC` with whole numbers from 1 on, or a name given twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts or []:
        name, separator, dimensions = text.rpartition("=")
        sizes = dimensions.split("x") if dimensions else []
        if not separator or not name or not all(size.isascii() and size.isdecimal() and len(size) < 20 for size in sizes):
            raise Refused(f"--shape {text[:64]!r}: write NAME=1x3x224x224, whole numbers from 1 on")
        shape = tuple(int(size) for size in sizes)
        if any(not 1 <= size <= _LARGEST_DIMENSION for size in shape):
            raise Refused(f"--shape {text[:64]!r}: every dimension is a whole number from 1 on")
        if name in shapes:
            raise Refused(f"--shape {name[:64]!r} is given twice; give it once")
        shapes[name] = shape
    return shapes


def read_model(path: Path) -> bytes:
    """The bytes of a model file.

    Raises:
        Refused: there is no such file, it cannot be read, or it is larger than an ONNX file can be.
    """
    from stowplan_predictor.graphs.limits import DEFAULT_LIMITS

    try:
        if not path.is_file():
            raise Refused(f"{path}: {'not a plain file' if path.exists() else 'no such file'}; name an ONNX file")
        size = path.stat().st_size
        if size > DEFAULT_LIMITS.max_file_bytes:
            raise Refused(f"{path}: {size} bytes, an ONNX file ends at 2 GiB; export it with external data, or strip its weights")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise Refused(f"{path}: cannot be read ({error}); check the path and its permissions") from error
