"""What is remembered is bounded by the memory it takes: many small entries or a few large ones."""

import numpy as np
import pytest
from stowplan_fleet.answers import Basis, UnknownReason
from stowplan_fleet.devices import Device
from stowplan_fleet.questions import Occupant, Question, UnknownOccupant
from stowplan_fleet.slices import DeviceName, SliceClass, parse_slice
from stowplan_predictor.bundles.loading import Bundle, load_bundle
from stowplan_predictor.errors import GraphTooLarge
from stowplan_predictor.pipelines import Pipeline, cpu_runs
from stowplan_predictor.pipelines.analyses import Analyses, reading_here
from stowplan_predictor.pipelines.caches import CacheLimits, LruCache
from stowplan_predictor.pipelines.footprints import footprint_bytes
from support.synthetic_bundles import DEVICE, RUNTIME, chain_model, write_synthetic_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(write_synthetic_bundle(tmp_path_factory.mktemp("bundle") / "b"))


def test_a_cache_holds_as_many_bytes_as_it_may() -> None:
    """The least recently used entries go first, however many a new one replaces; what is larger than the whole cache is not kept."""
    cache: LruCache[str, int] = LruCache(10, lambda _, size: size)
    for key, size in (("a", 4), ("b", 3), ("c", 3)):
        assert cache.put(key, size)
    assert cache.get("a") == 4
    assert cache.put("d", 5)
    assert (cache.get("a"), cache.get("b"), cache.get("c"), cache.get("d"), cache.bytes) == (4, None, None, 5, 9)
    assert not cache.put("a", 11)
    assert (cache.get("a"), len(cache), cache.bytes) == (None, 1, 5)


def test_footprints_grow_with_what_they_measure() -> None:
    """An array counts with its elements, also where it is a view; strings with their characters; what is no plain value is an error."""
    view = np.frombuffer(bytes(80_000), np.float64)
    assert 80_000 < footprint_bytes(view) < 81_000
    assert 80_000 < footprint_bytes(np.zeros(10_000)) < 81_000
    assert 2_000 < footprint_bytes(("x" * 1000, {"y" * 1000: 1.0})) < 3_000
    with pytest.raises(TypeError, match="object"):
        footprint_bytes(object())


def test_graphs_fill_no_more_than_they_may(bundle: Bundle) -> None:
    """Twenty models leave as many as fit; the oldest is analysed again when it comes back, and then answers as before."""
    pipeline = Pipeline(bundle, caches=CacheLimits(graphs_bytes=1 << 20))
    one = pipeline.analyze(chain_model(channels=4, convolutions=100), {}).graph_digest
    question = Question(Occupant(one, SliceClass(DEVICE.name, parse_slice("cpu:1")), 1.0))
    first = pipeline.predict([question], {DEVICE.name: DEVICE}, RUNTIME)[0]
    again = Question(Occupant(one, SliceClass(DEVICE.name, parse_slice("cpu:2")), 1.0))
    for side in range(30, 50):
        pipeline.analyze(chain_model(channels=4, side=side, convolutions=100), {})

    assert 1 < pipeline.cache_entries["graphs"] < 20
    assert pipeline.cache_bytes["graphs"] <= (1 << 20) + (8 << 20)
    assert pipeline.predict([again], {DEVICE.name: DEVICE}, RUNTIME)[0].unknown_reason is UnknownReason.GRAPH_NOT_FOUND
    pipeline.analyze(chain_model(channels=4, convolutions=100), {})
    assert pipeline.predict([again], {DEVICE.name: DEVICE}, RUNTIME)[0].basis is not Basis.UNKNOWN
    assert pipeline.predict([question], {DEVICE.name: DEVICE}, RUNTIME)[0] == first


def test_a_graph_that_fits_no_cache_is_refused() -> None:
    """It would be forgotten as soon as it is known, and pushed again for ever."""
    with pytest.raises(GraphTooLarge, match="not remembered"):
        Analyses(reading_here(), graphs_bytes=500).analyze(chain_model(), {})


def test_answers_with_many_tenants_count_for_more(bundle: Bundle) -> None:
    """A question is part of what is remembered: long ones push out more."""
    pipeline = Pipeline(bundle, caches=CacheLimits(answers_bytes=1 << 20))
    digest = pipeline.analyze(chain_model(), {}).graph_digest
    own = Occupant(digest, SliceClass(DEVICE.name, parse_slice("cpu:1")), 1.0)
    for count in range(1, 50):
        pipeline.predict([Question(own, tuple(UnknownOccupant(0) for _ in range(50 * count)))], {DEVICE.name: DEVICE}, RUNTIME)

    assert 0 < pipeline.cache_entries["answers"] < 10
    assert pipeline.cache_bytes["answers"] <= 1 << 20


def test_recalled_answers_are_those_given_before(bundle: Bundle) -> None:
    """Nothing is computed: None until every question was answered once, then the same answers in the same order, unknown ones included."""
    pipeline = Pipeline(bundle)
    digest = pipeline.analyze(chain_model(), {}).graph_digest
    own = Occupant(digest, SliceClass(DEVICE.name, parse_slice("cpu:1")), 1.0)
    elsewhere = Question(Occupant(digest, SliceClass(DeviceName("nowhere"), parse_slice("cpu:1")), 1.0))
    questions = [Question(own), elsewhere, Question(own, percentile=50)]
    devices: dict[DeviceName, Device] = {DEVICE.name: DEVICE}

    assert pipeline.recall(questions, devices, RUNTIME) is None
    given = pipeline.predict(questions, devices, RUNTIME)
    assert pipeline.recall(questions, devices, RUNTIME) == given
    assert pipeline.recall([*questions, Question(own, percentile=60)], devices, RUNTIME) is None
    assert pipeline.recall(questions, devices, "tensorrt") == pipeline.predict(questions, devices, "tensorrt")


def test_many_slices_of_a_graph_are_computed_some_at_a_time(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many a call asks for: the answers are those of one slice at a time."""
    digests = []
    answers = []
    questions: list[Question] = []
    for at_a_time in (1, 5, 10_000):
        monkeypatch.setattr(cpu_runs, "_KERNELS_AT_A_TIME", at_a_time)
        pipeline = Pipeline(bundle)
        digests.append(pipeline.analyze(chain_model(), {}).graph_digest)
        questions = [Question(Occupant(digests[0], SliceClass(DEVICE.name, parse_slice(f"cpu:{250 * part}m")), 1.0)) for part in range(1, 17)]
        answers.append(pipeline.predict(questions, {DEVICE.name: DEVICE}, RUNTIME))

    assert all(answer.isolated is not None for answer in answers[0])
    assert answers[0] == answers[1] == answers[2]
