"""Networks of the transformers library, from small configurations with random weights: encoders, decoders, speech and image towers."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from stowplan_predictor.training.zoo.entries import Entry
from stowplan_predictor.training.zoo.torchvisions import torchvision

# transformers imports torchvision itself: it must be made importable first.
torchvision()
transformers: Any = importlib.import_module("transformers")

Built = tuple[Any, tuple[Any, ...], list[str]]
"""A module, its example inputs, and their names."""

_EAGER: Final[Mapping[str, Any]] = {"attn_implementation": "eager"}
# The sizes that "mini" stands for, in the words of each configuration.
_BERT: Final[Mapping[str, Any]] = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
_BERT_EAGER: Final[Mapping[str, Any]] = {**_BERT, **_EAGER}
_LLAMA: Final[Mapping[str, Any]] = {**_BERT_EAGER, "vocab_size": 8000}
_BART: Final[Mapping[str, Any]] = {"d_model": 256, "encoder_layers": 4, "decoder_layers": 1, **_EAGER}
_CACHELESS: Final[Mapping[str, Any]] = {"use_cache": False}


class FirstOutput(torch.nn.Module):  # type: ignore[misc] # torch is not read by mypy
    """Keeps the first tensor of what a network returns: classes, dictionaries and caches are no ONNX outputs."""

    def __init__(self, inner: torch.nn.Module, names: list[str], fixed: Mapping[str, Any]) -> None:
        super().__init__()
        self.inner, self.names, self.fixed = inner, names, dict(fixed)

    def forward(self, *inputs: Any) -> Any:  # noqa: ANN401 - torch's own signature
        """One tensor."""
        answer = self.inner(**dict(zip(self.names, inputs, strict=True)), **self.fixed)
        while not isinstance(answer, torch.Tensor):
            answer = answer["out"] if isinstance(answer, dict) and "out" in answer else answer[0]
        return answer


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How a network is made: `<name>Model(<name>Config(**options))`, or another class of the library."""

    name: str
    """Prefix of the library's classes, such as `Bert`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: str = "text"
    """`text` (tokens and mask), `tokens` (no mask), `image`, `wave` (samples), `frames` (80 mel bands) or `spectrogram` (128 bands)."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    """Class of the model where it is not `<name>Model`."""
    part: str = ""
    """Attribute of the model that is exported, such as `encoder`; the whole model where empty."""


def _bert_sized(width: int, layers: int) -> dict[str, int]:
    return {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": width // 64, "intermediate_size": width * 4}


def _decoder(name: str, options: Mapping[str, Any]) -> _Recipe:
    return _Recipe(name, options, fixed=_CACHELESS)


_GPT: Final[Mapping[str, Any]] = {"n_embd": 256, "n_layer": 4, "n_head": 4, **_EAGER}
_RECIPES: Final[Mapping[str, _Recipe]] = {
    "bert-tiny": _Recipe("Bert", {**_bert_sized(128, 2), **_EAGER}),
    "bert-mini": _Recipe("Bert", {**_bert_sized(256, 4), **_EAGER}),
    "bert-small": _Recipe("Bert", {**_bert_sized(512, 4), **_EAGER}),
    "bert-medium": _Recipe("Bert", {**_bert_sized(512, 8), **_EAGER}),
    "bert-base": _Recipe("Bert", _EAGER),
    "roberta-mini": _Recipe("Roberta", _BERT_EAGER),
    "distilbert": _Recipe("DistilBert", _EAGER),
    "albert": _Recipe("Albert", {**_bert_sized(768, 12), **_EAGER}),
    "electra-small": _Recipe("Electra", _EAGER),
    "mobilebert": _Recipe("MobileBert", _EAGER),
    "squeezebert": _Recipe("SqueezeBert"),
    "mpnet": _Recipe("MPNet"),
    "convbert-mini": _Recipe("ConvBert", _BERT),
    "deberta-v2-mini": _Recipe("DebertaV2", {**_BERT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False}),
    "roformer-mini": _Recipe("RoFormer", _BERT),
    "xlnet-mini": _Recipe("XLNet", {"d_model": 256, "n_layer": 4, "n_head": 4, "d_inner": 1024}, inputs="tokens", fixed={"use_mems": False}),
    "nystromformer-mini": _Recipe("Nystromformer", {**_BERT, "num_landmarks": 32, "segment_means_seq_len": 128}),
    "funnel-mini": _Recipe("Funnel", {"d_model": 256, "n_head": 4, "d_head": 64, "d_inner": 1024, "block_sizes": [2, 2, 2]}),
    "gpt2-mini": _decoder("GPT2", _GPT),
    "gpt2-small": _decoder("GPT2", _EAGER),
    "gpt-neo-mini": _decoder("GPTNeo", {"hidden_size": 256, "num_layers": 4, "num_heads": 4, "attention_types": [[["global", "local"], 2]], **_EAGER}),
    "gpt-neox-mini": _decoder("GPTNeoX", _LLAMA),
    "gptj-mini": _decoder("GPTJ", {**_GPT, "rotary_dim": 32, "vocab_size": 8000}),
    "bloom-mini": _decoder("Bloom", {"hidden_size": 256, "n_layer": 4, "n_head": 4, "vocab_size": 8000}),
    "opt-mini": _decoder("OPT", {"hidden_size": 256, "word_embed_proj_dim": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "ffn_dim": 1024, **_EAGER}),
    "llama-mini": _decoder("Llama", _LLAMA),
    "qwen2-mini": _decoder("Qwen2", {**_LLAMA, "num_key_value_heads": 2}),
    "qwen3-mini": _decoder("Qwen3", {**_LLAMA, "num_key_value_heads": 2, "head_dim": 64}),
    "mistral-mini": _decoder("Mistral", {**_LLAMA, "num_key_value_heads": 2}),
    "gemma-mini": _decoder("Gemma", {**_LLAMA, "num_key_value_heads": 1, "head_dim": 64}),
    "phi-mini": _decoder("Phi", _LLAMA),
    "falcon-mini": _decoder("Falcon", {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 8000, **_EAGER}),
    "t5-small-encoder": _Recipe("T5", model="T5EncoderModel"),
    "clip-text": _Recipe("CLIPText", _BERT_EAGER),
    "clip-vision": _Recipe("CLIPVision", {**_BERT_EAGER, "image_size": 224, "patch_size": 16}, inputs="image"),
    "siglip-vision": _Recipe("SiglipVision", {**_BERT_EAGER, "image_size": 224, "patch_size": 16}, inputs="image"),
    "dinov2-mini": _Recipe(
        "Dinov2",
        {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 224, "patch_size": 14, **_EAGER},
        inputs="image",
    ),
    "bart-encoder-mini": _Recipe("Bart", _BART, part="encoder"),
    "pegasus-encoder-mini": _Recipe("Pegasus", {**_BART, "vocab_size": 8000}, part="encoder"),
    "marian-encoder-mini": _Recipe("Marian", {**_BART, "vocab_size": 8000, "pad_token_id": 0, "decoder_start_token_id": 0}, part="encoder"),
    "whisper-tiny-encoder": _Recipe(
        "Whisper",
        {"d_model": 384, "encoder_layers": 4, "encoder_attention_heads": 6, "encoder_ffn_dim": 1536, **_EAGER},
        inputs="frames",
        part="encoder",
    ),
    "wav2vec2-mini": _Recipe("Wav2Vec2", {**_BERT_EAGER, "conv_dim": (256,) * 7}, inputs="wave"),
    "hubert-mini": _Recipe("Hubert", {**_BERT_EAGER, "conv_dim": (256,) * 7}, inputs="wave"),
    "ast-mini": _Recipe("AST", {**_BERT_EAGER, "max_length": 256}, inputs="spectrogram"),
    "segformer-b0": _Recipe("Segformer", inputs="image", model="SegformerForSemanticSegmentation"),
}


def _tokens(entry: Entry) -> Any:  # noqa: ANN401 - a torch tensor
    return torch.randint(1, 100, (entry.batch, entry.size))


_INPUTS: Final[Mapping[str, Callable[[Entry], dict[str, Any]]]] = {
    "text": lambda entry: {"input_ids": _tokens(entry), "attention_mask": torch.ones((entry.batch, entry.size), dtype=torch.int64)},
    "tokens": lambda entry: {"input_ids": _tokens(entry)},
    "image": lambda entry: {"pixel_values": torch.randn(entry.batch, 3, entry.size, entry.size)},
    "wave": lambda entry: {"input_values": torch.randn(entry.batch, entry.size)},
    "frames": lambda entry: {"input_features": torch.randn(entry.batch, 80, entry.size * 2)},
    "spectrogram": lambda entry: {"input_values": torch.randn(entry.batch, entry.size, 128)},
}


def build(entry: Entry) -> Built:
    """The network of an entry, with inputs to trace it with.

    Raises:
        KeyError: there is no recipe of that name.
    """
    recipe = _RECIPES[entry.model]
    configuration = getattr(transformers, f"{recipe.name}Config")(**recipe.options)
    module = getattr(transformers, recipe.model or f"{recipe.name}Model")(configuration)
    inputs = _INPUTS[recipe.inputs](entry)
    inner = getattr(module, recipe.part) if recipe.part else module
    return FirstOutput(inner, list(inputs), recipe.fixed), tuple(inputs.values()), list(inputs)
