"""Zoo entries to ONNX files, in a cache outside the tree, keyed by the versions that shape a graph. Nothing is downloaded: weights are random."""

import importlib
import importlib.metadata
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import onnx
import onnx.backend.test
import torch

from stowplan_predictor.training import random_networks
from stowplan_predictor.training.torchvisions import torchvision
from stowplan_predictor.training.zoo import Entry

# Opset 17 is the newest that the TorchScript exporter writes completely, and old enough for every runtime that people still serve with.
OPSET: Final = 17
_KEYED: Final = ("torch", "torchvision", "timm", "transformers")
_TINY: Final[Mapping[str, Any]] = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}


# These import torchvision themselves: it must be made importable first.
torchvision()
timm: Any = importlib.import_module("timm")
transformers: Any = importlib.import_module("transformers")


class ExportFailed(Exception):
    """A library could not build or export one of its networks; the others go on."""


def cache_folder() -> Path:
    """Where exports are kept: `$STOWPLAN_CACHE` or the user's cache folder, by opset and library versions."""
    root = Path(os.environ.get("STOWPLAN_CACHE") or Path.home() / ".cache" / "stowplan")
    key = "_".join([f"opset{OPSET}", *(f"{name}{importlib.metadata.version(name)}" for name in _KEYED)])
    return root / "zoo" / key


def source_of(entry: Entry) -> str:
    """Library and version, as data sets write it."""
    if entry.library == "random":
        return f"stowplan {importlib.metadata.version('stowplan')}"
    return f"{entry.library} {importlib.metadata.version(entry.library)}"


def export(entry: Entry, folder: Path | None = None) -> Path:
    """The entry's ONNX file, exported unless it is there already.

    Raises:
        ExportFailed: with the library's own words.
    """
    path = (folder or cache_folder()) / f"{entry.name}.onnx"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    try:
        match entry.library:
            case "onnx":
                light = Path(onnx.backend.test.__file__).parent / "data" / "light" / f"{entry.model}.onnx"
                temporary.write_bytes(light.read_bytes())
            case "random":
                temporary.write_bytes(random_networks.network(int(entry.model)))
            case _:
                _export_torch(entry, temporary)
    except Exception as error:
        temporary.unlink(missing_ok=True)
        raise ExportFailed(f"{entry.name}: {type(error).__name__}: {str(error)[:300]}") from error
    temporary.replace(path)
    return path


def _export_torch(entry: Entry, path: Path) -> None:
    torch.manual_seed(0)
    module, inputs, names = _BUILDERS[entry.library](entry)
    module.eval()
    with warnings.catch_warnings(), torch.inference_mode():
        # The TorchScript exporter is deprecated in favour of one whose graphs fewer runtimes and tools have seen; it warns on each use.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        # A trace warns where Python looks at a tensor; shapes are bound here, so what is looked at is constant.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        warnings.filterwarnings("ignore", category=UserWarning)
        torch.onnx.export(module, inputs, str(path), dynamo=False, opset_version=OPSET, input_names=names, output_names=["output"])


class _FirstOutput(torch.nn.Module):  # type: ignore[misc] # torch is not read by mypy
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


def _torchvision(entry: Entry) -> tuple[Any, tuple[Any, ...], list[str]]:
    options: dict[str, Any] = {"weights": None}
    if entry.model in ("googlenet", "inception_v3"):
        options |= {"init_weights": False, "aux_logits": False}
    if entry.family == "segmentation":
        options |= {"weights_backbone": None}
    module = torchvision().models.get_model(entry.model, **options)
    image = torch.randn(entry.batch, 3, entry.size, entry.size)
    by_library_name = {"lraspp_mobilenet_v3_large": "input"}.get(entry.model, "x")
    wrapped = _FirstOutput(module, [by_library_name], {}) if entry.family == "segmentation" else module
    return wrapped, (image,), ["image"]


def _timm(entry: Entry) -> tuple[Any, tuple[Any, ...], list[str]]:
    # Fused attention traces to an operator whose decomposition hides the matrix products; the plain form exports them.
    timm.layers.set_fused_attn(enable=False)
    try:
        module = timm.create_model(entry.model, pretrained=False, img_size=entry.size, exportable=True)
    except TypeError:
        module = timm.create_model(entry.model, pretrained=False, exportable=True)
    return module, (torch.randn(entry.batch, 3, entry.size, entry.size),), ["image"]


def _text(module: Any, entry: Entry, fixed: Mapping[str, Any] | None = None) -> tuple[Any, tuple[Any, ...], list[str]]:  # noqa: ANN401 - a torch module
    tokens = torch.randint(0, 100, (entry.batch, entry.size))
    names = ["input_ids", "attention_mask"]
    return _FirstOutput(module, names, fixed or {}), (tokens, torch.ones_like(tokens)), names


def _bert_sized(width: int, layers: int) -> dict[str, int]:
    return {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": width // 64, "intermediate_size": width * 4}


def _transformers(entry: Entry) -> tuple[Any, tuple[Any, ...], list[str]]:
    t = transformers
    eager = {"attn_implementation": "eager"}
    decoder = {"fixed": {"use_cache": False}}
    small_gpt = {"n_embd": 256, "n_layer": 4, "n_head": 4}
    made: Mapping[str, Callable[[], tuple[Any, tuple[Any, ...], list[str]]]] = {
        "bert-mini": lambda: _text(t.BertModel(t.BertConfig(**_bert_sized(256, 4), **eager)), entry),
        "bert-small": lambda: _text(t.BertModel(t.BertConfig(**_bert_sized(512, 4), **eager)), entry),
        "bert-medium": lambda: _text(t.BertModel(t.BertConfig(**_bert_sized(512, 8), **eager)), entry),
        "bert-base": lambda: _text(t.BertModel(t.BertConfig(**eager)), entry),
        "distilbert": lambda: _text(t.DistilBertModel(t.DistilBertConfig(**eager)), entry),
        "albert": lambda: _text(t.AlbertModel(t.AlbertConfig(**_bert_sized(768, 12), **eager)), entry),
        "electra-small": lambda: _text(t.ElectraModel(t.ElectraConfig(**eager)), entry),
        "mobilebert": lambda: _text(t.MobileBertModel(t.MobileBertConfig(**eager)), entry),
        "squeezebert": lambda: _text(t.SqueezeBertModel(t.SqueezeBertConfig()), entry),
        "mpnet": lambda: _text(t.MPNetModel(t.MPNetConfig()), entry),
        "gpt2-mini": lambda: _text(t.GPT2Model(t.GPT2Config(**small_gpt, **eager)), entry, **decoder),
        "gpt2-small": lambda: _text(t.GPT2Model(t.GPT2Config(**eager)), entry, **decoder),
        "gpt-neo-mini": lambda: _text(
            t.GPTNeoModel(t.GPTNeoConfig(hidden_size=256, num_layers=4, num_heads=4, attention_types=[[["global", "local"], 2]], **eager)),
            entry, **decoder,
        ),
        "opt-mini": lambda: _text(
            t.OPTModel(t.OPTConfig(hidden_size=256, word_embed_proj_dim=256, num_hidden_layers=4, num_attention_heads=4, ffn_dim=1024, **eager)),
            entry, **decoder,
        ),
        "llama-mini": lambda: _text(t.LlamaModel(t.LlamaConfig(**_TINY, vocab_size=8000, **eager)), entry, **decoder),
        "qwen2-mini": lambda: _text(t.Qwen2Model(t.Qwen2Config(**_TINY, num_key_value_heads=2, vocab_size=8000, **eager)), entry, **decoder),
        "t5-small-encoder": lambda: _text(t.T5EncoderModel(t.T5Config()), entry),
        "clip-text": lambda: _text(t.CLIPTextModel(t.CLIPTextConfig(**_TINY, **eager)), entry),
        "bart-encoder-mini": lambda: _text(t.BartModel(t.BartConfig(d_model=256, encoder_layers=4, decoder_layers=1, **eager)).encoder, entry),
        "whisper-tiny-encoder": lambda: (
            _FirstOutput(t.WhisperModel(t.WhisperConfig(d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536, **eager)).encoder,
                         ["input_features"], {}),
            (torch.randn(entry.batch, 80, entry.size * 2),),
            ["input_features"],
        ),
        "segformer-b0": lambda: (
            _FirstOutput(t.SegformerForSemanticSegmentation(t.SegformerConfig()), ["pixel_values"], {}),
            (torch.randn(entry.batch, 3, entry.size, entry.size),),
            ["pixel_values"],
        ),
    }  # fmt: skip
    return made[entry.model]()


_BUILDERS: Final = {"torchvision": _torchvision, "timm": _timm, "transformers": _transformers}
