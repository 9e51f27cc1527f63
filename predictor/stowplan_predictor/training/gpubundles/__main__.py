"""A bundle from a campaign: `python -m stowplan_predictor.training.gpubundles --campaign DIR --runtime torch-inductor --output DIR`.

Prints the page's section on that GPU, and with `--predictions DIR` keeps what was predicted of each held-out network. Needs the zoo's libraries (extra
`train`), no GPU.
"""

import argparse
import sys
from pathlib import Path

import stowplan_predictor
from stowplan_predictor.errors import BundleError, DatasetRefused
from stowplan_predictor.training.cuda.plans import EAGER, INDUCTOR, RUNTIMES
from stowplan_predictor.training.gpubundles import pages, runs


def main(arguments: list[str] | None = None) -> int:
    """See above; 1 where the tables or the bundle are refused."""
    parser = argparse.ArgumentParser(description="Trains the bundle of a GPU and a runtime from a campaign's tables.")
    parser.add_argument("--campaign", type=Path, required=True, help="folder that `stowplan profile --device cuda --to` added to")
    parser.add_argument("--runtime", choices=RUNTIMES, default=INDUCTOR)
    parser.add_argument("--output", type=Path, required=True, help="where the bundle goes; a bundle that is there is replaced")
    parser.add_argument("--public", type=Path, default=Path(stowplan_predictor.__file__).parent / "shipped" / EAGER, help="bundle of GPUs that is calibrated")
    parser.add_argument("--predictions", type=Path, help="folder for predictions of held-out networks and pairs")
    options = parser.parse_args(arguments)

    def say(text: str) -> None:
        sys.stderr.write(f"{text}\n")

    try:
        found, version = runs.train(options.campaign, options.runtime, options.public, options.output, predictions=options.predictions, say=say)
    except (DatasetRefused, BundleError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for text in found.missing:
        say(f"missing: {text}")
    say(f"{options.output}: {version}")
    sys.stdout.write(pages.section(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
