"""How much slower a network gets beside its tenants: a linear regression of log slowdown on products of demand and pressure, from measured pairs.

Coefficients are not negative, so more pressure never makes anything faster. Several tenants add up their pressures, which pairs cannot confirm:
that is an extrapolation. A tenant of which only its CPU request is known counts, for every core it asked for, as the pressure per core that
nine in ten measured tenants stay below: also an extrapolation, on the safe side.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from stowplan_fleet.answers import UnknownReason

from stowplan_predictor.colocation.demands import Demand, Pressure
from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.intervals import LogInterval

TERMS: Final = ("busy", "traffic", "traffic_x_traffic", "compute_x_compute", "footprint_x_footprint", "footprint_x_traffic")


@dataclass(frozen=True, slots=True)
class ColocationTable:
    """What a bundle says about tenants."""

    terms: tuple[str, ...]
    """Must be TERMS."""
    coefficients: tuple[float, ...]
    """Of log slowdown, none negative."""
    interval: LogInterval
    """Of log(measured / predicted service time beside a tenant) on held-out families: isolated error and slowdown error together."""
    measured: tuple[tuple[int, int], ...]
    """(subject, tenant) pairs of slices in millicores that were measured."""
    unknown_per_core: Pressure
    """Pressure of a core's worth of a tenant of which nothing is known."""
    coverage: float


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Everyone beside a subject, summed up."""

    pressure: Pressure
    millicores: int
    """Cores they asked for, in thousandths."""
    slices: tuple[int, ...]
    """Size of each tenant of ours, in millicores."""
    unknown: int
    """Tenants of which only their request is known."""


def terms(subject: Demand, beside: Pressure) -> NDArray[np.float64]:
    """The regression's inputs, in the order of TERMS; all are zero without tenants."""
    return np.array([
        beside.busy,
        beside.traffic,
        subject.traffic * beside.traffic,
        subject.compute * beside.compute,
        subject.footprint * beside.footprint,
        subject.footprint * beside.traffic,
    ])  # fmt: skip


def log_slowdown(subject: Demand, beside: Pressure, table: ColocationTable) -> float:
    """log(service time beside those tenants / service time alone); 0 without tenants, never negative."""
    return float(terms(subject, beside) @ np.array(table.coefficients))


def check_room(subject_millicores: int, neighbours: Neighbourhood, device_cores: int, device: str) -> None:
    """Refuses tenants that do not fit on the device together.

    Raises:
        CannotJudge: together they ask for more cores than the device has; that was never measured.
    """
    together = subject_millicores + neighbours.millicores
    if together > 1000 * device_cores:
        raise CannotJudge(
            UnknownReason.TENANTS_NOT_SUPPORTED,
            f"subject and tenants ask for {together}m cores, device {device} has {device_cores}: sharing a core was never measured",
        )


def extrapolations(subject_millicores: int, neighbours: Neighbourhood, table: ColocationTable) -> tuple[str, ...]:
    """Why an answer beside those tenants goes beyond the measured pairs; empty where it does not."""
    reasons = []
    if neighbours.unknown:
        reasons.append(f"{neighbours.unknown} tenants of which only their CPU request is known")
    if len(neighbours.slices) + neighbours.unknown > 1:
        reasons.append(f"{len(neighbours.slices) + neighbours.unknown} tenants, only pairs were measured")
    unseen = sorted({size for size in neighbours.slices if (subject_millicores, size) not in table.measured})
    if unseen:
        reasons.append(f"a {subject_millicores}m slice beside {', '.join(f'{size}m' for size in unseen)} was not measured")
    return tuple(reasons)
