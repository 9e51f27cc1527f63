"""Measuring campaigns: `python -m stowplan_predictor.training.campaigns --minutes 25`.

Plans, exports what is missing, measures task by task, and assembles the data set. Every result is kept at once: a campaign that was stopped goes on where it
was. Exit codes: 0 everything planned is done, 75 (temporary failure) time ran out and another run goes on, 1 the data set could not be assembled.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stowplan_predictor.errors import DatasetRefused, MeasurementError, RuntimeRefused
from stowplan_predictor.training.campaigns import assemblies, durations, generated_runs, isolated_plans, isolated_runs, plans, runs
from stowplan_predictor.training.campaigns.durations import Clock
from stowplan_predictor.training.campaigns.plans import Task
from stowplan_predictor.training.campaigns.results import Results
from stowplan_predictor.training.data.datasets import AnyRow
from stowplan_predictor.training.zoo import entries as zoo

EXIT_DONE: Final = 0
EXIT_REFUSED: Final = 1
EXIT_UNFINISHED: Final = 75

Runner = Callable[[Task], dict[str, list[AnyRow]]]


def run_tasks(
    tasks: Sequence[Task], results: Results, runner: Runner, clock: Clock, *, advance: Callable[[Task], None], now: Callable[[], float]
) -> list[Task]:
    """Runs what is not done yet, in order, while it fits; returns the tasks that are still open."""
    for task in tasks:
        if results.is_done(task):
            advance(task)
            continue
        began = now()
        if not clock.fits(task, began):
            continue
        try:
            rows = runner(task)
        except MeasurementError as error:
            results.keep_failure(task, f"{type(error).__name__}: {error}")
        else:
            results.keep(task, rows)
            clock.record(task, now() - began)
        advance(task)
    return left_of(tasks, results)


def left_of(tasks: Sequence[Task], results: Results) -> list[Task]:
    """Tasks that were neither measured nor found impossible."""
    return [task for task in tasks if not results.is_done(task)]


def export_all(entries: Sequence[zoo.Entry], folder: Path, advance: Callable[[str], None]) -> None:
    """Exports what is missing; keeps the reasons of those that cannot be."""
    # Only here: the exporters load torch, which no measurement may have in its process.
    from stowplan_predictor.training.zoo import exports  # noqa: PLC0415

    failed = assemblies.left_out(folder)
    for entry in entries:
        advance(entry.name)
        if entry.name in failed:
            continue
        try:
            path = exports.export(entry)
        except exports.ExportFailed as error:
            assemblies.keep_left_out(folder, entry.name, str(error))
            continue
        try:
            assemblies.keep_structure(folder, entry, path, exports.source_of(entry))
        except RuntimeRefused as error:
            assemblies.keep_left_out(folder, entry.name, str(error))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="campaigns", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=25.0, help="measure at most this long; run again to go on (default 25)")
    parser.add_argument("--datasets", type=Path, default=Path("datasets"), help="where data sets lie (default ./datasets)")
    parser.add_argument("--work", type=Path, default=_default_work(), help="where results are kept until everything is assembled")
    parser.add_argument("--device", default=None, help="name of this machine's device; made of the CPU model where not given")
    parser.add_argument("--export-only", action="store_true", help="only export networks to ONNX")
    parser.add_argument("--share", default="1/1", help="with --export-only: the I-th of N parts, so that N processes share the work (default 1/1)")
    parser.add_argument("--no-assemble", action="store_true", help="leave the data set as it is; assemble when measuring is finished")
    parser.add_argument("--assemble-only", action="store_true", help="only write the data set from results that are there")
    return parser.parse_args(argv)


def _default_work() -> Path:
    return Path(os.environ.get("STOWPLAN_CACHE") or Path.home() / ".cache" / "stowplan") / "campaign"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a campaign."""
    arguments = _arguments(argv)
    entries, results = zoo.entries(), Results(arguments.work / "results")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    left: list[Task] = []
    # Drawing is foreign load too: once a second is enough.
    with Progress(*columns, refresh_per_second=1) as progress:
        if arguments.export_only:
            share, shares = (int(number) for number in arguments.share.split("/"))
            wanted = plans.ordered(entries)[share - 1 :: shares]
            bar = progress.add_task("exporting", total=len(wanted))
            export_all(wanted, arguments.work, lambda name: progress.update(bar, advance=1, description=f"exporting {name}"))
            progress.console.print(f"{len(wanted)} networks looked at; {len(assemblies.left_out(arguments.work))} cannot be exported")
            published = {entry.name for entry in entries if entry.split == "zoo"} & assemblies.exported(arguments.work).keys()
            if share == shares:
                isolated_plans.write_first(arguments.work, assemblies.structure_rows(arguments.work, published))
            return EXIT_DONE
        if not arguments.assemble_only:
            exported = assemblies.exported(arguments.work)
            if not exported:
                progress.console.print("no network is exported yet: run with --export-only first")
                return EXIT_REFUSED
            tasks = plans.plan([entry for entry in entries if entry.name in exported], generated_runs.tasks(), isolated_runs.tasks(arguments.work))
            assemblies.survey_once(arguments.work, arguments.device, progress.console.print)
            best = assemblies.references_once(arguments.work, plans.WHOLE, progress.console.print)
            bar = progress.add_task("measuring", total=len(tasks))
            optimized = assemblies.OptimizedFolder(arguments.work)
            progress.console.print(f"{durations.outlook(left_of(tasks, results))}; this run stops after {arguments.minutes:g} minutes")

            def run(task: Task) -> dict[str, list[AnyRow]]:
                progress.update(bar, description=task.key)
                files: Callable[[str], Path] = exported.__getitem__
                match task.kind:
                    case "visit":
                        return runs.run_visit(task, files, progress.console.print, optimized.read(task.network), best)
                    case "randoms":
                        return generated_runs.run_randoms(task, arguments.work, progress.console.print, best)
                    case "isolated":
                        return isolated_runs.run_isolated(task, arguments.work, progress.console.print, best)
                    case "network":
                        return runs.run_network(task, files, progress.console.print)
                    case "pair":
                        return runs.run_pair(task, files, progress.console.print)
                    case _:
                        return runs.run_load(task, files, progress.console.print)

            clock = Clock(time.monotonic() + arguments.minutes * 60)
            left = run_tasks(tasks, results, run, clock, advance=lambda _: progress.update(bar, advance=1), now=time.monotonic)
        if arguments.no_assemble:
            progress.console.print(durations.outlook(left))
            return EXIT_UNFINISHED if left else EXIT_DONE
        try:
            summary = assemblies.assemble(arguments.work, results, arguments.datasets)
        except DatasetRefused as error:
            progress.console.print(f"error: {error}")
            return EXIT_REFUSED
        progress.console.print(summary if arguments.assemble_only else f"{summary}; {durations.outlook(left)}")
    return EXIT_UNFINISHED if left else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
