"""Breadth: networks of torchvision, timm and transformers, exported both ways, load with every shape bound and every operator counted.

Small sizes and random weights: neither changes which operators an exporter writes.
"""

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from stowplan_cli.forecasts.stripping import stripped
from stowplan_fleet.errors import GraphRefused
from stowplan_predictor.graphs.loading import load_graph

torch = pytest.importorskip("torch", reason="probe: the training libraries are not installed")
torchvisions = pytest.importorskip("stowplan_predictor.training.zoo.torchvisions", reason="probe: the training libraries are not installed")

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

_IDS, _IMAGE = (1, 16), (1, 3, 64, 64)
_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "attn_implementation": "eager"}
_TEXT = {**_SMALL, "vocab_size": 100}


def _torchvision(name: str, **options: object) -> Any:
    return getattr(torchvisions.torchvision().models, name)(weights=None, num_classes=10, **options)


def _timm(name: str, **options: object) -> Any:
    torchvisions.torchvision()  # timm imports it
    import timm

    return timm.create_model(name, pretrained=False, num_classes=10, **options)


class _First(torch.nn.Module):  # type: ignore[misc,name-defined]
    """The first output of a transformers model, as a tensor."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any) -> Any:
        return self.model(x, return_dict=False)[0]


def _transformers(model: str, config: str, **options: object) -> Any:
    torchvisions.torchvision()  # transformers imports it
    import transformers

    found = transformers.models.whisper.modeling_whisper.WhisperEncoder if model == "WhisperEncoder" else getattr(transformers, model)
    return _First(found(getattr(transformers, config)(**options)))


_FAMILIES: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "resnet": (lambda: _torchvision("resnet18"), _IMAGE),
    "vgg": (lambda: _torchvision("vgg11"), (1, 3, 224, 224)),
    "densenet": (lambda: _torchvision("densenet121"), _IMAGE),
    "inception": (lambda: _torchvision("inception_v3", init_weights=False, aux_logits=False), (1, 3, 96, 96)),
    "googlenet": (lambda: _torchvision("googlenet", init_weights=False, aux_logits=False), _IMAGE),
    "shufflenet": (lambda: _torchvision("shufflenet_v2_x0_5"), _IMAGE),
    "squeezenet": (lambda: _torchvision("squeezenet1_1"), _IMAGE),
    "mnasnet": (lambda: _torchvision("mnasnet0_5"), _IMAGE),
    "mobilenet_v2": (lambda: _torchvision("mobilenet_v2"), _IMAGE),
    "mobilenet_v3": (lambda: _torchvision("mobilenet_v3_small"), _IMAGE),
    "efficientnet": (lambda: _torchvision("efficientnet_b0"), _IMAGE),
    "regnet": (lambda: _torchvision("regnet_y_400mf"), _IMAGE),
    "convnext": (lambda: _torchvision("convnext_tiny"), _IMAGE),
    "swin": (lambda: _torchvision("swin_t"), _IMAGE),
    "maxvit": (lambda: _torchvision("maxvit_t"), (1, 3, 224, 224)),
    "vit": (lambda: _timm("vit_tiny_patch16_224", img_size=32), (1, 3, 32, 32)),
    "deit": (lambda: _timm("deit_tiny_distilled_patch16_224", img_size=32), (1, 3, 32, 32)),
    "mixer": (lambda: _timm("mixer_s32_224"), (1, 3, 224, 224)),
    "ghostnet": (lambda: _timm("ghostnet_100"), _IMAGE),
    "mobilevit": (lambda: _timm("mobilevit_xxs"), _IMAGE),
    "poolformer": (lambda: _timm("poolformer_s12"), _IMAGE),
    "xcit": (lambda: _timm("xcit_nano_12_p16_224"), (1, 3, 224, 224)),
    "pvt": (lambda: _timm("pvt_v2_b0"), _IMAGE),
    "hrnet": (lambda: _timm("hrnet_w18_small"), _IMAGE),
    "bert": (lambda: _transformers("BertModel", "BertConfig", **_TEXT), _IDS),
    "roberta": (lambda: _transformers("RobertaModel", "RobertaConfig", **_TEXT), _IDS),
    "albert": (lambda: _transformers("AlbertModel", "AlbertConfig", embedding_size=16, **_TEXT), _IDS),
    "deberta": (lambda: _transformers("DebertaV2Model", "DebertaV2Config", **_TEXT), _IDS),
    "distilbert": (
        lambda: _transformers("DistilBertModel", "DistilBertConfig", dim=32, n_layers=2, n_heads=4, hidden_dim=64, vocab_size=100),
        _IDS,
    ),
    "t5": (lambda: _transformers("T5EncoderModel", "T5Config", d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=100), _IDS),
    "whisper": (
        lambda: _transformers(
            "WhisperEncoder",
            "WhisperConfig",
            d_model=32,
            encoder_layers=2,
            encoder_attention_heads=4,
            encoder_ffn_dim=64,
            num_mel_bins=16,
            max_source_positions=32,
        ),
        (1, 16, 64),
    ),
    "gpt2": (
        lambda: _transformers("GPT2Model", "GPT2Config", n_embd=32, n_layer=2, n_head=4, vocab_size=100, use_cache=False, attn_implementation="eager"),
        _IDS,
    ),
    "llama": (lambda: _transformers("LlamaModel", "LlamaConfig", num_key_value_heads=2, use_cache=False, **_TEXT), _IDS),
    "segformer": (lambda: _transformers("SegformerModel", "SegformerConfig", hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1]), _IMAGE),
}
# The older exporter cannot write them (aten::diff).
_NEW_ONLY = {"gpt2", "llama"}
# One of each way in which shapes depend on values: windows, patches, shuffles, attention, pooling, positions; and the largest structures.
_STRIPPED = ["bert", "deberta", "maxvit", "mobilevit", "resnet", "segformer", "shufflenet", "swin", "t5", "vit", "whisper", "xcit"]
# The newer exporter takes seconds for each, so a few of every kind; torch 2.13 cannot export T5's attention that way.
_NEW = ["resnet", "mobilenet_v3", "shufflenet", "vit", "bert", "whisper", "gpt2", "llama"]


def _example(shape: tuple[int, ...]) -> Any:
    return torch.zeros(shape, dtype=torch.long) if len(shape) == 2 else torch.zeros(shape)


def _exported(family: str, *, new: bool) -> bytes:
    build, shape = _FAMILIES[family]
    torch.manual_seed(0)
    network, example, file = build().eval(), _example(shape), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if new:
            torch.onnx.export(network, (example,), dynamo=True, verbose=False).save(file)
        else:
            torch.onnx.export(network, (example,), file, dynamo=False, opset_version=17, input_names=["x"], dynamic_axes={"x": {0: "batch"}})
    return file.getvalue()


def _true_shapes(content: bytes, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """What ONNX Runtime's outputs really measure."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    feed = np.zeros(shape, np.int64 if len(shape) == 2 else np.float32)
    return [result.shape for result in session.run(None, {session.get_inputs()[0].name: feed})]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("family", sorted(_FAMILIES.keys() - _NEW_ONLY))
def test_family_of_the_older_exporter(family: str, batch: int, exports: dict[str, bytes]) -> None:
    """With the batch bound, every operator is counted, and outputs have the shape that ONNX Runtime gives them."""
    if family not in exports:
        exports[family] = _exported(family, new=False)
    content = exports[family]
    shape = (batch, *_FAMILIES[family][1][1:])

    graph = load_graph(content, {"x": shape})

    assert [graph.tensors[name].shape for name in graph.outputs] == _true_shapes(content, shape)
    assert all(size >= 0 for tensor in graph.tensors.values() for size in tensor.shape)
    assert graph.flops > 0


@pytest.mark.parametrize("family", _STRIPPED)
def test_family_without_its_weights(family: str, exports: dict[str, bytes]) -> None:
    """`stowplan strip` leaves a fraction that fits a ConfigMap, without any large floating-point tensor, and the same graph at every batch size."""
    if family not in exports:
        exports[family] = _exported(family, new=False)
    content, shape = exports[family], _FAMILIES[family][1]

    structure, digest = stripped(content, {"x": shape})

    assert len(structure) < 1 << 20
    assert max(map(_float_values, onnx.load_model_from_string(structure).graph.initializer), default=0) <= 16
    assert digest == load_graph(content, {"x": shape}).digest == load_graph(structure, {"x": shape}).digest
    other = {"x": (3, *shape[1:])}
    assert load_graph(structure, other).digest == load_graph(content, other).digest != digest


@pytest.mark.parametrize("family", ["bert", "swin", "shufflenet", "vit"])
def test_integers_of_real_models_decide_shapes(family: str, exports: dict[str, bytes]) -> None:
    """The test above means something: without the integers that stripping keeps, these are other graphs or none."""
    if family not in exports:
        exports[family] = _exported(family, new=False)
    content, shape = exports[family], {"x": _FAMILIES[family][1]}
    structure, digest = stripped(content, shape)
    model = onnx.load_model_from_string(structure)
    tensors = [*model.graph.initializer, *(item.t for node in model.graph.node for item in node.attribute if item.name == "value")]
    integers = [tensor for tensor in tensors if tensor.data_type == onnx.TensorProto.INT64]
    assert integers
    for tensor in integers:
        values = np.ones_like(onnx.numpy_helper.to_array(tensor))
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))

    try:
        found = load_graph(model.SerializeToString(), shape).digest
    except GraphRefused:
        return
    assert found != digest


def _float_values(tensor: onnx.TensorProto) -> int:
    """How many floating-point values a tensor holds in the file."""
    if tensor.data_type not in {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16}:
        return 0
    return max(len(tensor.raw_data) // 4, len(tensor.float_data), len(tensor.double_data))


@pytest.mark.parametrize("family", _NEW)
def test_family_of_the_newer_exporter(family: str) -> None:
    """The same for graphs that `dynamo=True` writes, which use other operators; without weights they are the same graphs."""
    content = _exported(family, new=True)

    graph = load_graph(content)

    assert [graph.tensors[name].shape for name in graph.outputs] == _true_shapes(content, _FAMILIES[family][1])
    assert graph.flops > 0
    assert load_graph(stripped(content, {})[0]).digest == graph.digest


@pytest.fixture(scope="module")
def exports() -> dict[str, bytes]:
    """Models exported so far."""
    return {}
