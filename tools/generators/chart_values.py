"""Makes the table of values at the end of charts/stowplan/README.md: `python tools/generators/chart_values.py ROOT` writes below ROOT.

Defaults are those of values.yaml, and what a value means is the comment above it there, or the schema's description where it has none. The prose is kept.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

_CHART: Final = Path("charts/stowplan")
_HEADING: Final = "## Values\n"
_INDENT: Final = 2


def comments(text: str) -> dict[str, str]:
    """By path of a value: the comment lines above it."""
    found: dict[str, str] = {}
    path: list[str] = []
    above: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            above.append(stripped.removeprefix("#").strip())
            continue
        if stripped:
            depth = (len(line) - len(line.lstrip())) // _INDENT
            path = [*path[:depth], stripped.partition(":")[0]]
            if above:
                found[".".join(path)] = " ".join(above)
        above = []
    return found


def rows(values: Mapping[str, Any], schema: Mapping[str, Any], said: Mapping[str, str], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Path, default and meaning of each value; a group with a comment of its own has a row, too."""
    for name, value in values.items():
        here, node = f"{path}.{name}".removeprefix("."), schema["properties"][name]
        meaning = said.get(here) or node["description"]
        if isinstance(value, Mapping) and node.get("properties"):
            if here in said:
                yield here, "", meaning
            yield from rows(value, node, said, here)
        else:
            yield here, f"`{json.dumps(value, ensure_ascii=False)}`", meaning


def table(values: str, schema: Mapping[str, Any]) -> str:
    """The section, as Markdown."""
    lines = [_HEADING, "", "| value | default | meaning |", "|---|---|---|"]
    for path, default, meaning in rows(yaml.safe_load(values), schema, comments(values)):
        lines.append(f"| `{path}` | {default} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(line.rstrip("\n") for line in lines) + "\n"


def main(root: Path) -> None:
    """Writes the README with a new table."""
    prose = (_CHART / "README.md").read_text().partition(_HEADING)[0]
    made = root / _CHART / "README.md"
    made.parent.mkdir(parents=True, exist_ok=True)
    text = table((_CHART / "values.yaml").read_text(), json.loads((_CHART / "values.schema.json").read_text()))
    made.write_text(prose + text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
