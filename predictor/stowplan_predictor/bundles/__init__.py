"""Trained models on disk: `manifests` (what a bundle says of itself), `writing`, `loading` (which refuses anything altered), `gpu_bundles`."""
