"""What people name: model files and shapes, devices, GPUs and their slices, bundles; made ready to ask (`questions`)."""
