"""Renders `docs/accuracy.md` from the manifest of a bundle: `python -m stowplan_predictor.training.evaluations [--check]`.

Nothing is measured and nothing is trained here: the page shows what the trainer judged on committed data, and a check fails where page and bundle differ.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from stowplan_predictor.bundles.loading import CPU_RUNTIME, load_bundle, shipped_bundle
from stowplan_predictor.bundles.manifests import Manifest

_SCORE: Final = ("cases", "MAPE", "95 % of MAPE", "median error", "within 10 %", "rank correlation")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)


def _score(found: Mapping[str, Any]) -> list[str]:
    return [
        str(found["cases"]),
        f"{found['mape_percent']:.1f} %",
        f"{found['mape_low_percent']:.1f} to {found['mape_high_percent']:.1f} %",
        f"{found['median_ape_percent']:.1f} %",
        f"{found['within_10_percent']:.0f} %",
        f"{found['rank_correlation']:.3f}",
    ]


def _provenance(manifest: Manifest) -> str:
    lines = [f"Bundle `{manifest.name}@{manifest.version}`, runtime `{manifest.runtime}`."]
    for name, dataset in manifest.provenance["datasets"].items():
        measured = dataset["measured"]
        versions = ", ".join(f"{software} {version}" for software, version in sorted(measured["versions"].items()))
        lines.append(
            f"Measured on `{name}` ({measured['cpu']}, {measured['cores']} cores, {measured['system']}, host `{measured['host']}`) "
            f"from {measured['date']['first']} to {measured['date']['last']}; {versions}."
        )
    return "\n".join(lines)


def _light(light: Mapping[str, Any]) -> str:
    rows = [
        [
            row["network"].removeprefix("light_"), row["slice"], f"{row['predicted_ms']:.2f}", f"{row['measured_ms']:.2f}", f"{row['error_percent']:+.1f} %",
            f"{row['floor_ms']:.2f}", f"{row['floor_error_percent']:+.1f} %", f"{100 * row['cv']:.1f} %", "noisy" if row["noisy"] else "",
        ]
        for row in light["rows"]
    ]  # fmt: skip
    scores = [["all", *_score(light["all"])], *([name, *_score(found)] for name, found in light["by_slice"].items()), ["floor", *_score(light["floor"])]]
    refused = "".join(f"\nNot judged: {name}: {why}.\n" for name, why in light["not_judged"].items())
    return f"""## The nine light models of the onnx package

Predicted by a model that was trained without their families (the shipped bundle knows those families from the zoo, never these models).
The floor is the linear regression on FLOPs, trained without them as well. CV is the variation of the measured runs;
`noisy` marks truths of which no repeat stayed quiet: none is left out. These models train nothing, but they were looked at during development: seeing that
local response normalisation was never measured, random networks that hold it were added to the training set.

{table(["network", "slice", "predicted ms", "measured ms", "error", "floor ms", "floor error", "CV", ""], rows)}

{table(["slice", *_SCORE], scores)}

The 90 % interval held in {light["interval_coverage_percent"]} % of these cases.
{refused}"""


def _networks(networks: Mapping[str, Any]) -> str:
    scores = [[name, *_score(found)] for name, found in networks["held_out_families"].items()]
    floors = [[name.replace("_", " "), *_score(found)] for name, found in networks["floor"].items()]
    noise = [[name, found["retests"], f"{found['mean_absolute_difference_percent']:.1f} %"] for name, found in networks["noise"].items()]
    refused = "".join(f"* {name}: {why}\n" for name, why in (networks["not_judged"] | networks["refused"]).items())
    return f"""## Networks alone, families held out

Five folds over families; every prediction comes from a model that saw no network of that family.

{table(["slice", *_SCORE], scores)}

The floor, on the published networks:

{table(["model", *_SCORE], floors)}

The 90 % interval, calibrated on the other folds, held in {networks["interval_coverage_percent"]} % of the cases.
The noise of the measurements (the same network measured again later; a difference of two measurements, hence larger than the error of one):

{table(["slice", "retests", "mean difference"], noise)}

Networks that could not be judged: {"" if refused else "none."}
{refused}"""


def _kernels(kernels: Mapping[str, Any], profiles: Mapping[str, Any]) -> str:
    ranked = sorted(kernels.items(), key=lambda item: (-item[1]["share_of_time_percent"], item[0]))
    rows = [[name, found["recipe"], found["families"], f"{found['share_of_time_percent']:.1f} %", *_score(found)] for name, found in ranked]
    return f"""## Kernels by type, families held out

{profiles["used"]} of {profiles["taken"]} kernel profiles agree with the unprofiled run within a factor of 1.25; the others train nothing.
Profiled time of runtime kernels that belong to none of ours: {profiles["unmatched_percent"]} %. The kind of regressor was chosen on these folds.

{table(["type", "regressor", "families", "share of time", *_SCORE], rows)}
"""


def _colocation(colocation: Mapping[str, Any]) -> str:
    rows = [
        ["slowdown", *_score(colocation["slowdown"])],
        ["floor: mean slowdown", *_score(colocation["floor"]["mean_slowdown"])],
        ["floor: no slowdown", *_score(colocation["floor"]["no_slowdown"])],
        ["service time beside a tenant", *_score(colocation["service_time_beside"])],
    ]
    measured = colocation["measured_slowdown"]
    return f"""## Beside a tenant

Pairs of networks, each in closed loop on a core of its own; families of subject and tenant held out.
The measured slowdown has a median of {measured["median"]:.3f} and reaches {measured["largest"]:.3f}.

{table(["what", *_SCORE], rows)}
"""


def _response(response: Mapping[str, Any]) -> str:
    rows, floors = [], []
    for percentile, found in sorted(response["by_percentile"].items(), key=lambda item: int(item[0])):
        rows.append([f"p{percentile}", *_score(found)])
        floors.append([f"p{percentile}", *_score(found["floor_no_waiting"])])
    return f"""## Under load

{response["formula"]}, given the inference time and the overhead measured in the same session, against a real server under open-loop Poisson arrivals.

{table(["percentile", *_SCORE], rows)}

The floor (nobody ever waits):

{table(["percentile", *_SCORE], floors)}
"""


def render(manifest: Manifest) -> str:
    """The page."""
    errors = manifest.errors
    parts = [
        "<!-- Generated by `python -m stowplan_predictor.training.evaluations`; do not edit. -->",
        "# Accuracy",
        _provenance(manifest),
        "MAPE is the mean of |predicted - measured| / measured; its 95 % range is a bootstrap over families.",
        _light(errors["light"]),
        _networks(errors["networks"]),
        _kernels(errors["kernels"], errors["profiles"]),
        _colocation(errors["colocation"]),
        _response(errors["response"]),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the page, or compares it; exit status 1 where it differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, help="a bundle directory; the shipped one where not given")
    parser.add_argument("--output", type=Path, default=Path("docs/accuracy.md"))
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the page is not what the bundle says")
    chosen = parser.parse_args(arguments)
    page = render((load_bundle(chosen.bundle) if chosen.bundle else shipped_bundle(CPU_RUNTIME)).manifest)
    if chosen.check:
        if not chosen.output.is_file() or chosen.output.read_text(encoding="utf-8") != page:
            sys.stderr.write(f"{chosen.output}: not what the bundle says; run `python -m stowplan_predictor.training.evaluations`\n")
            return 1
        return 0
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
