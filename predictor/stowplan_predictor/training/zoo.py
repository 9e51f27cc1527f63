"""The networks that data sets are measured on: named, by family, with random weights; what is learned from them is structure, never weights.

Breadth first: many families at few sizes, because an unseen family is what a predictor meets. Sizes are bounded so that one inference takes at most about
250 ms on one core. A family groups networks that would give each other away: they are held out together. The nine `light` models that ship inside the onnx
package are for judgement only; zoo models of the same families carry the same family name, so that they can be left out of training too.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

FOLDS: Final = 5
_RANDOM_NETWORKS: Final = 72


@dataclass(frozen=True, slots=True)
class Entry:
    """One network to export."""

    name: str
    family: str
    library: str
    """`torchvision`, `timm`, `transformers`, `onnx` (its light models) or `random` (our generator)."""
    model: str
    """The library's name for it; for `random` the seed."""
    batch: int
    size: int
    """Side of the square image, or tokens (frames) of a sequence; 0 where the model itself says."""

    @property
    def split(self) -> str:
        """`zoo`, `random` or `light`."""
        return {"onnx": "light", "random": "random"}.get(self.library, "zoo")


# family: (model, "batch x size" ...). First the variants that every campaign wants; further sizes of the same network cost time and add little.
_TORCHVISION: Final = {
    "alexnet": {"alexnet": "1x224 4x224"},
    "vgg": {"vgg11": "1x224", "vgg13_bn": "1x224"},
    "resnet": {
        "resnet18": "1x224 4x128 1x320", "resnet34": "1x224", "resnet50": "1x224 2x160", "resnet101": "1x192",
        "wide_resnet50_2": "1x160", "resnext50_32x4d": "1x224",
    },
    "densenet": {"densenet121": "1x224", "densenet169": "1x160"},
    "inception": {"googlenet": "1x224", "inception_v3": "1x299"},
    "squeezenet": {"squeezenet1_0": "1x224", "squeezenet1_1": "1x224 8x128"},
    "shufflenet": {"shufflenet_v2_x0_5": "1x224", "shufflenet_v2_x1_0": "1x224 4x160", "shufflenet_v2_x2_0": "1x192"},
    "mobilenetv2": {"mobilenet_v2": "1x224 1x128 4x160"},
    "mobilenetv3": {"mobilenet_v3_small": "1x224 8x128", "mobilenet_v3_large": "1x224 1x320"},
    "mnasnet": {"mnasnet0_5": "1x224", "mnasnet1_0": "1x192"},
    "efficientnet": {"efficientnet_b0": "1x224 4x128", "efficientnet_b1": "1x240", "efficientnet_b2": "1x192"},
    "efficientnetv2": {"efficientnet_v2_s": "1x224"},
    "regnet": {"regnet_y_400mf": "1x224", "regnet_x_800mf": "1x224 2x160", "regnet_y_1_6gf": "1x192"},
    "convnext": {"convnext_tiny": "1x192"},
    "swin": {"swin_t": "1x224"},
    "segmentation": {"lraspp_mobilenet_v3_large": "1x256", "deeplabv3_mobilenet_v3_large": "1x160", "fcn_resnet50": "1x96"},
}  # fmt: skip
_TIMM: Final = {
    "vit": {
        "vit_tiny_patch16_224": "1x224 4x224", "vit_small_patch32_224": "1x224", "vit_small_patch16_224": "1x224",
        "deit_tiny_distilled_patch16_224": "1x224",
    },
    "cait": {"cait_xxs24_224": "1x224"},
    "xcit": {"xcit_nano_12_p16_224": "1x224"},
    "pit": {"pit_ti_224": "1x224", "pit_xs_224": "1x224"},
    "levit": {"levit_128s": "1x224", "levit_192": "1x224"},
    "mobilevit": {"mobilevit_xxs": "1x192", "mobilevitv2_050": "1x224"},
    "edgenext": {"edgenext_xx_small": "1x224"},
    "efficientformer": {"efficientformer_l1": "1x224"},
    "poolformer": {"poolformer_s12": "1x224"},
    "mixer": {"mixer_s32_224": "1x224", "mixer_s16_224": "1x224", "resmlp_12_224": "1x224", "gmlp_ti16_224": "1x224"},
    "convmixer": {"convmixer_768_32": "1x96"},
    "ghostnet": {"ghostnet_050": "1x224", "ghostnet_100": "1x224"},
    "fbnet": {"fbnetc_100": "1x224", "spnasnet_100": "1x192"},
    "hardcorenas": {"hardcorenas_a": "1x224"},
    "repvgg": {"repvgg_a0": "1x224", "mobileone_s0": "1x224"},
    "dla": {"dla46_c": "1x224", "dla34": "1x192"},
    "hrnet": {"hrnet_w18_small": "1x224"},
    "cspnet": {"cspresnet50": "1x192", "cspdarknet53": "1x160"},
    "darknet": {"darknet53": "1x160"},
    "vovnet": {"ese_vovnet19b_dw": "1x224"},
    "selecsls": {"selecsls42b": "1x224"},
    "res2net": {"res2net50_26w_4s": "1x192"},
    "resnest": {"resnest14d": "1x192"},
    "sknet": {"skresnet18": "1x224"},
    "senet": {"seresnet50": "1x192", "ecaresnet26t": "1x192"},
    "xception": {"xception41": "1x160"},
    "nfnet": {"eca_nfnet_l0": "1x160"},
    "dpn": {"dpn68": "1x192"},
    "rexnet": {"rexnet_100": "1x224"},
    "tinynet": {"tinynet_e": "1x106", "tinynet_a": "1x192"},
    "lcnet": {"lcnet_050": "1x224", "lcnet_100": "4x160"},
    "mobilenetv4": {"mobilenetv4_conv_small": "1x224", "mobilenetv4_conv_medium": "1x192"},
    "fastvit": {"fastvit_t8": "1x192"},
    "starnet": {"starnet_s1": "1x224"},
    "inceptionnext": {"inception_next_atto": "1x224"},
    "pvt": {"pvt_v2_b0": "1x224"},
    "twins": {"twins_pcpvt_small": "1x160"},
    "visformer": {"visformer_tiny": "1x224"},
    "efficientvit": {"efficientvit_b0": "1x224", "efficientvit_m0": "1x224"},
    "coat": {"coat_tiny": "1x224"},
    "davit": {"davit_tiny": "1x160"},
    "focalnet": {"focalnet_tiny_srf": "1x160"},
    "hgnet": {"hgnetv2_b0": "1x224"},
    "crossvit": {"crossvit_9_240": "1x240"},
    "convit": {"convit_tiny": "1x224"},
    "tnt": {"tnt_s_legacy_patch16_224": "1x224"},
}  # fmt: skip
_TRANSFORMERS: Final = {
    "bert": {"bert-mini": "1x64 4x128", "bert-small": "1x128", "bert-medium": "1x64", "bert-base": "1x32 1x128"},
    "distilbert": {"distilbert": "1x64 1x128"},
    "albert": {"albert": "1x64"},
    "electra": {"electra-small": "1x128"},
    "mobilebert": {"mobilebert": "1x64"},
    "squeezebert": {"squeezebert": "1x64"},
    "mpnet": {"mpnet": "1x32"},
    "gpt2": {"gpt2-mini": "1x64", "gpt2-small": "1x32"},
    "gpt-neo": {"gpt-neo-mini": "1x64"},
    "opt": {"opt-mini": "1x64"},
    "llama": {"llama-mini": "1x64", "qwen2-mini": "1x128"},
    "t5": {"t5-small-encoder": "1x64"},
    "whisper": {"whisper-tiny-encoder": "1x1500"},
    "segformer": {"segformer-b0": "1x256"},
    "clip": {"clip-text": "1x77"},
    "bart": {"bart-encoder-mini": "1x64"},
}  # fmt: skip
# File in the onnx package's backend/test/data/light: family.
_LIGHT: Final = {
    "light_bvlc_alexnet": "alexnet", "light_densenet121": "densenet", "light_inception_v1": "inception", "light_inception_v2": "inception",
    "light_resnet50": "resnet", "light_shufflenet": "shufflenet", "light_squeezenet": "squeezenet", "light_vgg19": "vgg", "light_zfnet512": "zfnet",
}  # fmt: skip


def _library(library: str, table: dict[str, dict[str, str]]) -> Iterator[Entry]:
    for family, models in table.items():
        for model, variants in models.items():
            for variant in variants.split():
                batch, size = map(int, variant.split("x"))
                yield Entry(f"{model}-b{batch}-s{size}", family, library, model, batch, size)


def entries() -> tuple[Entry, ...]:
    """Every network, in an order of falling importance within each source: light first, since they judge."""
    light = [Entry(name, family, "onnx", name, 1, 0) for name, family in _LIGHT.items()]
    zoo = [*_library("torchvision", _TORCHVISION), *_library("timm", _TIMM), *_library("transformers", _TRANSFORMERS)]
    # Twelve random networks a family: a fold then holds out random networks of its own.
    random = [Entry(f"random-{seed:03d}", f"random-{seed % 6}", "random", str(seed), 1, 0) for seed in range(_RANDOM_NETWORKS)]
    return (*light, *zoo, *random)


def light_families() -> frozenset[str]:
    """Families that the light models belong to: zoo networks of these must not train a model that is judged on the light models."""
    return frozenset(_LIGHT.values())


def folds() -> dict[str, int]:
    """Fold of each family, by a checksum of its name, dealt so that folds differ by one family at most."""
    ordered = sorted({entry.family for entry in entries()}, key=lambda family: (zlib.crc32(family.encode()), family))
    return {family: position % FOLDS for position, family in enumerate(ordered)}
