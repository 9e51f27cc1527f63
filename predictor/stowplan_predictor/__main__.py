"""`python -m stowplan_predictor [--settings FILE]`."""

import asyncio
import logging
import os
import sys

from stowplan_fleet import heaps, programs

from stowplan_predictor.errors import BundleError
from stowplan_predictor.serving import processes
from stowplan_predictor.serving.settings import ENV_PREFIX, PredictorSettings


def main(arguments: list[str] | None = None) -> int:
    """Serves until told to stop; 0 then, 1 where it could not start."""

    def serve(settings: PredictorSettings) -> int:
        heaps.share_arenas()
        if asyncio.run(processes.run(settings)):
            # A thread inside ONNX cannot be stopped, and the interpreter would wait for it: its grace is over.
            logging.shutdown()
            os._exit(0)
        return 0

    purpose = "Predicts how long a neural network takes on a slice of a device."
    return programs.start("stowplan_predictor", purpose, PredictorSettings, ENV_PREFIX, serve, refusals=(BundleError,), arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
