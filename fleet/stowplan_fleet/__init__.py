"""The language every component speaks: devices, slice classes, node inventory, services, objectives, predictions.

Values are frozen and know nothing of Kubernetes, clocks or sockets. Two kinds of modules stand at the edge and are named so:
`manifests` (JSON that the API server and people write) and `clients` (the predictor over gRPC).
"""
