"""Limits on model files: what we accept from a tenant before we spend time and memory on it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one analysis. A model beyond one of them is refused by name, never analysed in part."""

    max_file_bytes: int = 2**31 - 1
    """Protocol buffers end at 2 GiB; larger models keep their weights in external files, which need not be there."""

    max_structure_bytes: int = 64 * 2**20
    """What is left of the file once large weights are skipped; the structure of real models, with their small weights, stays below 20 MiB."""

    max_fields: int = 400_000
    """Fields looked at while skipping weights: less than a second. A model of 20,000 nodes has some 100,000, and `max_nodes` is reached before."""

    max_parts: int = 4_000_000
    """Messages and values that may unpack from what is copied. Hand-made protocol buffers unpack to a hundred times their size (an empty node
    costs two bytes in the file and about 200 in memory), so this bounds memory to 1 GiB. Real nodes take 100 to 300 bytes: room for 30,000."""

    max_nodes: int = 100_000
    """Nodes and initializers, each inlined function or branch counted again. The largest exports of torchvision, timm and transformers
    that we know hold fewer than 20,000; at some 30 us a node the bound is seconds."""

    max_inlined_bytes: int = 64 * 2**20
    """Of all nodes together as they stand in the file, each inlined function or branch counted again: a function of one node with a name or an
    attribute of a megabyte, called ten thousand times, is small in the file and not in memory."""

    max_name_bytes: int = 4096
    """Of one name. Exporters write scopes of some hundred characters."""

    max_nesting: int = 16
    """Branches and functions inside one another. Exporters nest two or three deep."""

    max_tensor_elements: int = 2**29
    """Of one tensor: 2 GiB of float32. No activation of a single request comes near; the largest embedding tables (128,256 x 4,096) fit."""

    max_rank: int = 16
    """Dimensions of a tensor. Exported models use up to eight; NumPy itself ends at 64."""

    max_folded_elements: int = 16 * 1024
    """Of a constant whose value is computed. Shape arithmetic works on vectors as long as a rank and on small index tables; all larger
    constants are known by type and shape only."""

    max_folded_bytes: int = 128 * 2**20
    """Of all computed values together. Real models hold a few megabytes; a hundred thousand nodes that each make the longest vector allowed would
    hold 13 GB."""

    max_flops: int = 10**18
    """Of the whole graph: days of a whole accelerator. Beyond it shapes were made up to overflow somebody's integers."""


DEFAULT_LIMITS = Limits()
