"""The measured process: `python -m stowplan_predictor.training.cuda.workers` reads one JSON command a line and answers with one JSON line.

Commands: `describe` (what torch sees), `prepare` and `measure` (a network or a block of random kernels, built and compiled; then end to end and kernel by
kernel), `open` and `wall` (a network kept ready, timed one request at a time), `spin` (run it without rest until the next line comes). What libraries print
goes to standard error.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import IO, Any, Final

from stowplan_predictor.errors import RuntimeRefused


def main() -> int:
    """Answers commands until standard input ends."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        state: dict[str, Any] = {"answers": answers}
        while line := sys.stdin.readline():
            command = json.loads(line)
            name = command.pop("command")
            try:
                answer = _COMMANDS[name](state, command)
            except RuntimeRefused as error:
                answer = {"error": str(error)}
            except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
                answer = {"error": f"{type(error).__name__}: {str(error)[:500]}"}
            _say(answers, answer)
    return 0


def _say(answers: IO[str], answer: Mapping[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _describe(_state: dict[str, Any], _arguments: dict[str, Any]) -> dict[str, Any]:
    from stowplan_predictor.training.cuda import sessions  # noqa: PLC0415 - torch is loaded by what needs it, so that its failure is an answer

    return sessions.describe()


def _prepare(state: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    from stowplan_predictor.training.cuda import sessions  # noqa: PLC0415

    # The one before makes room first.
    state.pop("ready", None)
    state["ready"] = sessions.prepare(**arguments)
    return {"prepared": True}


def _measure(state: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    from stowplan_predictor.training.cuda import sessions  # noqa: PLC0415

    return sessions.measure(state["ready"], **arguments)


def _open(state: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    from stowplan_predictor.training.cuda import sessions  # noqa: PLC0415

    state["run"] = sessions.opened(**arguments)
    return sessions.describe()


def _wall(state: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    from stowplan_predictor.training.cuda import timings  # noqa: PLC0415

    steady = timings.warm_up(state["run"], 0.5)
    return {"wall_ms": timings.wall(state["run"], **arguments), "steady": steady}


def _spin(state: dict[str, Any], _arguments: dict[str, Any]) -> dict[str, Any]:
    from stowplan_predictor.training.cuda import sessions  # noqa: PLC0415

    _say(state["answers"], {"spinning": True})
    return sessions.spin(state["run"], sys.stdin)


_COMMANDS: Final[Mapping[str, Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]]] = {
    "describe": _describe, "prepare": _prepare, "measure": _measure, "open": _open, "wall": _wall, "spin": _spin,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
