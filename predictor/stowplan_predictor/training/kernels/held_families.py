"""Families held out while a model is fitted: training is stopped, and errors are told, by networks of other families than those that are learned from."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.training.kernels.rows import KernelRows

_ISOLATED: Final = "isolated"


def held_names(splits: NDArray[np.str_], families: NDArray[np.str_], part: int, parts: int) -> NDArray[np.str_]:
    """Every `parts`-th family, beginning at `part`, in the order of their names, each split by itself.

    Isolated kernels bear the families of the networks that they were cut out of, and change sides with them.
    """
    held = [np.unique(families[splits == split]) for split in np.unique(splits) if split != _ISOLATED]
    return np.concatenate([names[part::parts] if len(names) > 1 else names[:0] for names in held])


def held_families(rows: KernelRows, part: int, parts: int) -> NDArray[np.bool_]:
    """Rows of `held_names`."""
    return np.isin(rows.families, held_names(rows.splits, rows.families, part, parts))
