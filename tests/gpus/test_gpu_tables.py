"""Reading the published tables: what is not the published file is refused, rows become tasks by the numbers they name. (The rows here are made up.)"""

import gzip
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the training extra")

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.gpus.tasks import COLUMNS
from stowplan_predictor.training.gpus import published, tables

pytestmark = pytest.mark.train

HEAD = "OPName,Latency,Device,Torch Version,Kernel Name,Warps per SM,Blocks per SM,Grid x,Grid y,Grid z,Block x,Block y,Block z"
MADE_UP = {
    "bmm.csv": f"{HEAD},B,M,N,K\nbmm,1.5,Tesla T4,p2.1.0,volta_sgemm_64x64_nn,1,1,1,1,1,1,1,1,8,32,64,16\n",
    "conv.csv": f"{HEAD},B,Input_Channel,Output_Channel,Kernel_Szie,Input_Size,Stride,Padding\n"
    "conv,2.5,NVIDIA A100 80GB PCIe,p2.1.0,ampere_scudnn_winograd_128x128_ldg1_relu,1,1,1,1,1,1,1,1,2,3,5,3,10,1,1\n"
    "conv,2.6,NVIDIA A100 80GB PCIe,p2.1.0,ampere_scudnn_128x64_relu,1,1,1,1,1,1,1,1,2,3,5,3,10,1,1\n"
    "conv,2.7,Tesla T4,p2.1.0,ampere_scudnn_128x64_relu,1,1,1,1,1,1,1,1,2,3,5,3,10,1,1\n",
    "add.csv": f"{HEAD},B,H\n"
    'add,0.5,Tesla P4,p2.1.0,"void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, x>(int)",1,1,1,1,1,1,1,1,7,9\n',
}


def test_rows_become_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products, convolutions and element-wise rows have their FLOPs and least bytes; kernels lose their generation's name."""
    monkeypatch.setattr(published, "files", lambda _: ((name, text.encode()) for name, text in MADE_UP.items()))
    found = tables.read(Path("made-up"))

    rows = {kind: dict(zip(COLUMNS, row, strict=True)) for kind, row in zip(found.tasks.kinds, found.tasks.numbers, strict=True)}
    assert rows["bmm"]["flops"] == 2 * 8 * 32 * 64 * 16
    # (B, M, N) times (B, N, K): the 64 is what is summed over.
    assert (rows["bmm"]["m"], rows["bmm"]["k"], rows["bmm"]["n"]) == (32, 64, 16)
    assert rows["bmm"]["bytes"] == 4 * 8 * (32 * 64 + 64 * 16 + 32 * 16)
    assert (rows["conv"]["m"], rows["conv"]["n"], rows["conv"]["k"]) == (200, 5, 27)
    assert rows["conv"]["bytes"] == 4 * (2 * 3 * 100 + 5 * 27 + 2 * 5 * 100)
    assert rows["add"]["bytes"] == 12 * 63
    assert found.names.tolist() == [
        "sgemm_64x64_nn", "scudnn_winograd_128x128_ldg1_relu", "scudnn_128x64_relu", "scudnn_128x64_relu", "vectorized_elementwise_kernel[CUDAFunctor_add]",
    ]  # fmt: skip
    assert found.tiles.tolist() == [[64, 64], [128, 128], [128, 64], [128, 64], [0, 0]]
    assert found.models.tolist() == ["T4", "A100", "A100", "T4", "P4"]
    assert np.array_equal(found.latency_ms, [1.5, 2.5, 2.6, 2.7, 0.5])
    # Of convolutions on one GPU, how many were timed before.
    assert found.shapes_before.tolist() == [0, 0, 1, 0, 0]


def test_a_missing_table_names_its_source(tmp_path: Path) -> None:
    """Whoever has not fetched the tables learns from where, at which commit, under which licence."""
    with pytest.raises(DatasetRefused, match=f"missing.*{published.SOURCE} at commit {published.COMMIT} \\(MIT\\)"):
        list(published.files(tmp_path))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_altered_table_is_refused(tmp_path: Path, suffix: str) -> None:
    """A file whose content is not the published one trains nothing, packed or not."""
    name = next(iter(published.CHECKSUMS))
    (tmp_path / f"{name}{suffix}").write_bytes(gzip.compress(b"altered") if suffix else b"altered")

    with pytest.raises(DatasetRefused, match="not the published table"):
        list(published.files(tmp_path))
