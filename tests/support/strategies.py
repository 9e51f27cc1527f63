"""Hypothesis strategies for the fleet's values."""

from types import MappingProxyType

from hypothesis import strategies as st
from stowplan_fleet import slices
from stowplan_fleet.answers import Answer, Basis, LatencyInterval, UnknownReason, unknown
from stowplan_fleet.devices import CoreThroughput, CpuDevice, GpuDevice, GpuInstance, Provenance
from stowplan_fleet.questions import Occupant, Question, UnknownOccupant
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import DeviceName, Slice, SliceClass, SliceKind

device_names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True).map(DeviceName)
mig_profiles = st.builds("{}g.{}gb{}".format, st.integers(1, 7), st.integers(1, 999), st.sampled_from(["", ".me", "-me", ".gfx", ".me.all"]))
any_slices = st.one_of(
    st.integers(1, 1_024_000).map(slices.cpu_slice),
    st.just(Slice(SliceKind.FULL)),
    mig_profiles.map(lambda profile: Slice(SliceKind.MIG, profile)),
    st.integers(1, 100).map(lambda percent: Slice(SliceKind.MPS, str(percent))),
    st.integers(1, 99).map(lambda replicas: Slice(SliceKind.TIME, str(replicas))),
)
slice_classes = st.builds(SliceClass, device_names, any_slices)

words = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs"]), max_size=20)
_rates = st.floats(1e7, 1e14)


@st.composite
def cpu_devices(draw: st.DrawFn, *, measured: bool = True) -> CpuDevice:
    """Sound CPU descriptors; without provenance where `measured` is False."""
    counts = sorted(draw(st.sets(st.integers(1, 256), max_size=5)) | {1})
    return CpuDevice(
        name=draw(device_names),
        model=draw(words),
        isa=tuple(sorted(draw(st.sets(st.sampled_from(["avx", "avx2", "avx512f", "fma", "sse4_2"]))))),
        cores=draw(st.integers(counts[-1], 1024)),
        l1d_bytes=draw(st.integers(0, 1 << 20)),
        l2_bytes=draw(st.integers(0, 1 << 24)),
        l3_bytes=draw(st.integers(0, 1 << 30)),
        throughputs=tuple(CoreThroughput(count, draw(_rates), draw(_rates)) for count in counts),
        dispatch_us=MappingProxyType(draw(st.dictionaries(words, st.floats(0, 1e4), max_size=5))),
        provenance=Provenance(draw(words), draw(words), MappingProxyType(draw(st.dictionaries(words, words, max_size=3)))) if measured else None,
        fabricated=draw(st.booleans()),
    )


_instances = st.builds(GpuInstance, st.none() | st.integers(1, 200), st.none() | st.integers(1, 1 << 40))
gpu_devices = st.builds(
    GpuDevice,
    device_names,
    st.none() | st.integers(1, 1 << 40),
    st.none() | st.integers(1, 200),
    st.dictionaries(st.sampled_from(["1g.10gb", "1g.10gb.me", "3g.40gb"]), _instances, max_size=3),
)

_digests = st.binary(min_size=32, max_size=32).map(lambda raw: GraphDigest(f"sha256:{raw.hex()}"))
occupants = st.builds(Occupant, _digests, slice_classes, st.floats(0, 1e6), st.integers(1, 4096), st.integers(1, 1024), st.integers(1, 4096))
questions = st.builds(
    Question,
    occupants,
    st.lists(occupants | st.builds(UnknownOccupant, st.integers(0, 10**7)), max_size=4).map(tuple),
    st.integers(1, 99),
    st.none() | st.integers(1, 47),
)


@st.composite
def intervals(draw: st.DrawFn) -> LatencyInterval:
    """Ordered, finite intervals."""
    lower, median, upper = sorted(draw(st.lists(st.floats(0, 1e9), min_size=3, max_size=3)))
    return LatencyInterval(median, lower, upper, draw(st.floats(0, 1, exclude_min=True)))


known_answers = st.builds(
    Answer,
    basis=st.sampled_from([Basis.MEASURED, Basis.EXTRAPOLATED, Basis.UNVALIDATED]),
    message=words,
    isolated=st.none() | intervals(),
    colocated=st.none() | intervals(),
    response=st.none() | intervals(),
    utilization=st.none() | st.floats(0, 1e6),
)
answers = known_answers | st.builds(unknown, st.sampled_from(list(UnknownReason)), words)
