"""The measured process: `python -m stowplan_predictor.measuring.workers` reads one JSON command a line and answers with one JSON line.

Commands: `open` (a network, on given cores with given threads), `sample` (closed loop, back to back), `profile` (kernel by kernel, in a second session;
`profile_own` in the same one), `serve` (a model server on a socket), `generate` (open-loop requests to one). A process measures one network and ends; nothing
of an earlier network is left in its caches. A `slot` in a command names one of several sessions of it, such as one a slice.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from stowplan_predictor.errors import RuntimeRefused
from stowplan_predictor.measuring import references
from stowplan_predictor.measuring.sessions import Measured


def main() -> int:
    """Answers commands until standard input ends."""
    slots: dict[str, Measured] = {}
    for line in sys.stdin:
        command = json.loads(line)
        name, slot, arguments = command.pop("command"), command.pop("slot", ""), command
        try:
            measured = slots.get(slot)
            if name == "open":
                measured = slots[slot] = Measured(**arguments)
                answer = measured.opened()
            elif measured is None and name not in _ALONE:
                raise RuntimeRefused(f"{name}: nothing is open")
            else:
                if measured is not None:
                    os.sched_setaffinity(0, measured.cpus)
                answer = _COMMANDS[name](measured, arguments)
        except RuntimeRefused as error:
            answer = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return 0


def _serve(measured: Any, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    from stowplan_predictor.measuring import serving_loops  # noqa: PLC0415 - only a server needs it

    return serving_loops.serve(measured.session, measured.outputs, measured.feeds, **arguments)


def _generate(_measured: Any, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    from stowplan_predictor.measuring import request_loops  # noqa: PLC0415 - only a generator needs it

    return request_loops.generate(**arguments)


def _best(_measured: Any, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    os.sched_setaffinity(0, arguments["cpus"])
    seen = references.Referee(arguments["threads"]).best(arguments["seconds"])
    return {"product_ms": seen.product_ms, "copy_ms": seen.copy_ms}


# Commands that need no open network.
_ALONE: Final = ("generate", "best")
_COMMANDS: Final[Mapping[str, Callable[[Any, dict[str, Any]], dict[str, Any]]]] = {
    "warm_up": lambda measured, arguments: {"runs": measured.warm_up(**arguments)},
    "look": lambda measured, _arguments: dict(measured.look()),
    "copied": lambda measured, _arguments: dict(measured.copied()),
    "sample": lambda measured, arguments: dict(measured.sample(**arguments)),
    "bursts": lambda measured, arguments: dict(measured.bursts(**arguments)),
    "dump": lambda measured, arguments: {"bytes": measured.dump(**arguments)},
    "profile": lambda measured, arguments: dict(measured.profile(**arguments)),
    "profile_own": lambda measured, arguments: dict(measured.profile_own(**arguments)),
    "serve": _serve,
    "best": _best,
    "generate": _generate,
}

if __name__ == "__main__":
    sys.exit(main())
