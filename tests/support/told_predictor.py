"""`python -m support.told_predictor SECONDS`: the predictor's process with a pipeline that takes so long for each question and says 5 ms to all."""

import asyncio
import sys
import time

from stowplan_fleet import logs, settings
from stowplan_fleet.answers import Answer
from stowplan_fleet.questions import Question
from stowplan_predictor.serving import processes
from stowplan_predictor.serving.settings import ENV_PREFIX, PredictorSettings
from support.answering import ToldPipeline, answer_of, told


def main(seconds: float) -> int:
    """Serves until told to stop."""

    def slow(_: Question) -> Answer:
        time.sleep(seconds)
        return answer_of(5.0)

    logs.configure()
    return asyncio.run(processes.run(settings.load(PredictorSettings, None, ENV_PREFIX), lambda: told(ToldPipeline(judge=slow))))


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
