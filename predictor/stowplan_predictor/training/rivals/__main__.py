"""Fits every rival on every fold and writes what each predicts: `python -m stowplan_predictor.training.rivals [--systems gcn,dnn] [--minutes 30]`.

Every (system, fold) is a unit that is kept at once: a run that was stopped goes on where it was, and what neither data nor code changed is not fitted again.
Exit codes: 0 all predictions are written, 75 (temporary failure) time ran out and another run goes on, 1 a system failed or the data set is refused.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.harness import runners
from stowplan_predictor.training.harness.systems import System
from stowplan_predictor.training.harness.units import UnitKind, Units, default_work
from stowplan_predictor.training.harness.worlds import World, read_world
from stowplan_predictor.training.networks import kernel_systems
from stowplan_predictor.training.rivals import systems

EXIT_DONE: Final = 0
EXIT_REFUSED: Final = 1
EXIT_UNFINISHED: Final = 75
# Rivals that look at whole networks, and systems that sum kernels: the published one of those, ours, and what ours are made of.
UNITS: Final[Mapping[str, UnitKind]] = {**systems.UNITS, **kernel_systems.UNITS}
SYSTEMS: Final[Mapping[str, System]] = {**systems.SYSTEMS, **kernel_systems.SYSTEMS}


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rivals", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="names, separated by commas (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin nothing that is not expected to end within them (default 60)")
    parser.add_argument("--datasets", type=Path, default=Path("datasets"), help="where data sets lie (default ./datasets)")
    parser.add_argument("--device", default=None, help="whose data set; the only one where not given")
    parser.add_argument("--work", type=Path, default=default_work(), help="where units are kept")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def _folder(datasets: Path, device: str | None) -> Path:
    found = sorted(path.parent for path in datasets.glob("*/provenance.json") if device in (None, path.parent.name))
    if len(found) != 1:
        raise DatasetRefused(f"{datasets}: {len(found)} data sets{f' of {device}' if device else ''}; name one of them with --device")
    return found[0]


def _plan(world: World, work: Path, names: Sequence[str]) -> runners.Plan:
    chosen = [SYSTEMS[name] for name in names]
    needed = dict.fromkeys(kind for system in chosen for kind in system.units)
    return runners.Plan(world, Units(work), UNITS, chosen, {kind: UNITS[kind].key(world) for kind in needed})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs rivals."""
    arguments = _arguments(argv)
    names = [name for name in arguments.systems.split(",") if name]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, refresh_per_second=1)
    if unknown := sorted(set(names) - SYSTEMS.keys()):
        progress.console.print(f"error: no system named {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
        return EXIT_REFUSED
    try:
        world = read_world(_folder(arguments.datasets, arguments.device), arguments.seed)
        plan = _plan(world, arguments.work, names)
    except DatasetRefused as error:
        progress.console.print(f"error: {error}")
        return EXIT_REFUSED
    bar = progress.add_task("fitting", total=len(plan.open_units()))
    try:
        outcome = runners.run(plan, arguments.minutes, progress.console.print, lambda label: progress.update(bar, advance=1, description=label), progress.start)
    finally:
        progress.stop()
    for kind, seconds in outcome.seconds.items():
        progress.console.print(f"{kind}: {len(seconds)} units, {statistics.fmean(seconds):.0f} s each")
    progress.console.print(f"{world.folder}: predictions of {', '.join(sorted(outcome.written)) or 'no system'} written; {outcome.left} units are left")
    if outcome.failed:
        return EXIT_REFUSED
    return EXIT_UNFINISHED if outcome.left else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
