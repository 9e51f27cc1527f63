"""The public kernel measurements: where they come from, and files that are what was published.

They are not part of this project. Whoever wants to train gets them from their source and names the folder; each file is held against its checksum.
"""

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stowplan_predictor.errors import DatasetRefused

SOURCE: Final = "https://github.com/sitar-lab/NeuSight"
COMMIT: Final = "6945927d"
LICENCE: Final = "MIT"
PAPER: Final = 'Lee, Phanishayee and Mahajan, "Forecasting GPU performance for deep learning training and inference" (NeuSight), ASPLOS 2025'
# SHA-256 of each file as text, that is, unpacked where it comes as `.csv.gz`.
CHECKSUMS: Final = {
    "kernels_train_add.csv": "e4f63bd1d89f8262daafe3d2e657af2961a7c4974f55b1884237249e9cfa14e9",
    "kernels_train_addu.csv": "3a8ed3a91da6cebb125503771c65a6f3e515bc425b379a729e7164a4f7350b36",
    "kernels_train_bmm.csv": "460339ecf6e6ba7bcea43b0be7604fe63553042591d8e62126f2754c11bd705d",
    "kernels_train_conv.csv": "d44031a8e150d2f70feca5a5f84468e682f463128f7910c2d4fa9ee7b0a399d4",
    "kernels_train_div.csv": "9b8404c448a2bf8381b453db2e5224260b7fc973f4d87db4bdadaa51b12e91be",
    "kernels_train_divu.csv": "e2cd7e0abd969dc41789420b90e65c2ed9adc1884f62d96afbe49c0c5571b7f3",
    "kernels_train_gelu.csv": "eb3284057d8798188aac0453d19a5a12bded7100e96717a773754a5b48850ac5",
    "kernels_train_linear.csv": "7f5f4bfa09a81602825bba8748cd4b64c144e3a8247dfdac6b832297d3019fd1",
    "kernels_train_ln.csv": "4f8ad6858ccfd92ac280ad0db6c85f862cbc2d2f56949bd4d434c2dade91e64c",
    "kernels_train_mul.csv": "9edd5006bb631cf6ac3868142abaf4c5f08fa3f97264db7d5b20d35d98d0df29",
    "kernels_train_mulu.csv": "0c0eefaff6367e10b821b8e0bb5ef8d289d9271a15710da955c2cc0a78ae5d9d",
    "kernels_train_pow.csv": "d9ba98bbf0b261bfeb6c6184ad5876de3f4f9a1287186c01f7df2b8dcd5b7245",
    "kernels_train_powu.csv": "d3b71c78c43f805749a5991938e0c8340bd082f1f8e6423d97b86e2b7b72863a",
    "kernels_train_relu.csv": "a5909a690ff5e3c7a0089e01721d522a8906f31b344b8e2be50d22f970472fcd",
    "kernels_train_softmax.csv": "1c3aa4906ad23591dc60b510dd33cb11e95498a62b013154d61e40b262630d24",
    "kernels_train_tanh.csv": "fc903a6beec9025d2f3608bdbc29dbe0230993169dc956a07712fbd3a1db9977",
}
ROWS: Final = 256_509


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Each table's name and content, checked.

    Raises:
        DatasetRefused: a file is missing, or is not the one that was published.
    """
    for name, wanted in CHECKSUMS.items():
        plain, packed = folder / name, folder / f"{name}.gz"
        if not plain.is_file() and not packed.is_file():
            raise DatasetRefused(f"{plain}: missing (neither it nor {packed.name}); take the tables from {SOURCE} at commit {COMMIT} ({LICENCE})")
        content = plain.read_bytes() if plain.is_file() else gzip.decompress(packed.read_bytes())
        if hashlib.sha256(content).hexdigest() != wanted:
            raise DatasetRefused(f"{folder / name}: not the published table, its SHA-256 differs; take it from {SOURCE} at commit {COMMIT}")
        yield name, content
