"""Configurations of kernels that published networks hold rarely or not at all, as data: sizes stay near those that published networks have."""

from typing import Final

# (channels, side before, side after)
RESIZES: Final = (
    (21, 12, 96), (21, 20, 160), (21, 28, 224), (21, 33, 256), (21, 65, 520), (21, 40, 320), (19, 64, 256), (150, 32, 128), (128, 16, 64), (256, 7, 14),
    (64, 56, 112), (256, 14, 28), (3, 256, 224), (3, 128, 224), (32, 112, 56), (192, 14, 16), (768, 7, 9), (384, 16, 14), (96, 14, 28), (64, 8, 64),
    (40, 28, 112), (512, 7, 14), (16, 64, 128), (18, 14, 56),
)  # fmt: skip
RESIZE_WAYS: Final = (("nearest", "asymmetric"), ("linear", "half_pixel"), ("linear", "align_corners"), ("cubic", "half_pixel"))
# (channels read, channels written, side, dilation)
DILATED: Final = (
    (32, 32, 65, 2), (64, 64, 33, 2), (64, 64, 28, 4), (80, 80, 20, 2), (64, 64, 12, 6), (64, 64, 33, 12), (48, 64, 28, 12), (64, 64, 20, 18), (32, 64, 33, 18),
    (64, 64, 12, 24), (16, 16, 112, 2), (24, 24, 56, 4), (40, 40, 32, 6), (64, 64, 14, 2), (72, 72, 14, 4), (64, 32, 40, 24),
)  # fmt: skip
DILATED_DEPTHWISE: Final = ((672, 10, 2), (960, 10, 2), (672, 16, 2), (960, 20, 2), (144, 28, 2), (96, 56, 2), (384, 14, 4), (192, 28, 3), (64, 56, 3))
# (channels, channels squeezed)
SQUEEZES: Final = (
    (16, 8), (32, 8), (64, 16), (72, 24), (96, 4), (120, 32), (144, 6), (192, 48), (240, 10), (240, 64), (256, 16), (384, 96), (480, 20), (480, 120),
    (576, 144), (672, 28), (672, 168), (960, 40), (1152, 48),
)  # fmt: skip
# Shapes and the axis, not the last one, along which they are normalised.
AXES: Final = (
    ((1, 21, 96, 96), 1), ((1, 19, 64, 64), 1), ((1, 2, 64, 28), 1), ((1, 196, 192), 1), ((1, 64, 56, 56), 1), ((1, 4, 196, 16), 2), ((1, 8, 64, 64), 2),
    ((2, 2, 128, 14, 14), 1), ((1, 3, 128, 49), 1), ((1, 6, 32, 784), 2), ((1, 1000, 7, 7), 1), ((4, 49, 96), 1),
)  # fmt: skip
MAPS: Final = ((1, 16, 112, 112), (1, 64, 56, 56), (1, 128, 28, 28), (1, 320, 14, 14), (1, 960, 7, 7), (4, 64, 14, 14))
TOKENS: Final = ((1, 64, 256), (1, 196, 192), (1, 49, 768), (1, 128, 384), (2, 197, 96))
UNARY: Final = (
    "Relu", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "Erf", "Exp", "Log", "Sqrt", "Reciprocal",
    "Abs", "Neg", "Floor", "Sin", "Cos",
)  # fmt: skip
EINSUMS: Final = (
    ("bhid,bhjd->bhij", (1, 4, 64, 32), (1, 4, 64, 32)), ("bhid,bhjd->bhij", (1, 8, 196, 32), (1, 8, 196, 32)),
    ("bhij,bhjd->bhid", (1, 4, 64, 64), (1, 4, 64, 32)), ("bhij,bhjd->bhid", (1, 8, 196, 196), (1, 8, 196, 32)),
    ("bhwc,hkc->bhwk", (4, 14, 14, 32), (14, 14, 32)), ("bnd,dm->bnm", (1, 64, 128), (128, 256)), ("bnqc,bnkc->bnqk", (1, 3, 128, 64), (1, 3, 128, 64)),
    ("bchw,bc->bhw", (1, 64, 28, 28), (1, 64)), ("bij,bjk->bik", (4, 49, 49), (4, 49, 64)), ("bhnk,bhnv->bhkv", (1, 4, 196, 16), (1, 4, 196, 64)),
    ("ij,jk->ik", (128, 256), (256, 128)), ("blh,bmh->blm", (1, 64, 256), (1, 64, 256)),
)  # fmt: skip
# Window and stride of a pooling, and the shape that it reads.
POOLS: Final = (
    (5, 1, (1, 128, 14, 14)), (9, 1, (1, 128, 14, 14)), (13, 1, (1, 256, 7, 7)), (3, 1, (1, 96, 28, 28)), (2, 2, (1, 64, 112, 112)), (7, 1, (1, 64, 28, 28)),
)  # fmt: skip
# (channels read, channels written, window, stride, side) of transposed convolutions.
TRANSPOSED: Final = ((64, 32, 2, 2, 28), (128, 64, 2, 2, 14), (32, 16, 4, 2, 56), (64, 21, 4, 2, 14), (16, 8, 3, 2, 64), (21, 21, 4, 2, 32))
