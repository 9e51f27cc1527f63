"""Names we put on, or read from, Kubernetes objects: labels, annotations, resources, environment variables.

They are part of the API: a change is a change for users.
"""

from typing import Final

GROUP: Final = "stowplan.dev"
VERSION: Final = "v1alpha1"
PLURAL: Final = "inferenceservices"
KIND: Final = "InferenceService"

SCHEDULER_NAME: Final = "stowplan"

# The marker: only pods that ask for it ever reach the extender, which goes by the name. No node advertises it (`ignoredByScheduler`).
MARKER_RESOURCE: Final = "stowplan.dev/slo"

# How much of the marker our pods ask for. Anything but nothing would be missing on every node for whoever does not know that it is to be ignored, an
# autoscaler of nodes among them; and kube-scheduler would find out for each pod on each node anew that it is.
MARKER_AMOUNT: Final = "0"

# On pods, written by the operator through the pod template.
SERVICE_LABEL: Final = "stowplan.dev/inference-service"
SLICE_CLASS_ANNOTATION: Final = "stowplan.dev/slice-class"

# On Deployments, written by the operator: digest of the pod template that it applied last, so that a change of it is known after a restart too.
TEMPLATE_DIGEST_ANNOTATION: Final = "stowplan.dev/template-digest"

# On pods, written by the extender through the Binding, in the same transaction as the node's name.
# The predicted milliseconds are the upper end of the interval: what was held against the objective.
BOUND_SLICE_ANNOTATION: Final = "stowplan.dev/slice"
PREDICTED_MS_ANNOTATION: Final = "stowplan.dev/predicted-milliseconds"
BASIS_ANNOTATION: Final = "stowplan.dev/basis"
BUNDLE_ANNOTATION: Final = "stowplan.dev/bundle"
PREDICTION_ID_ANNOTATION: Final = "stowplan.dev/prediction-id"
# On pending pods, written by the extender when a node would take one that was refused everywhere: the scheduler tries an updated pod again.
RETRY_ANNOTATION: Final = "stowplan.dev/retry-at"

# On nodes, written by whoever ran `stowplan device` there: names the descriptor in the ConfigMap.
DEVICE_LABEL: Final = "stowplan.dev/device"
# On nodes, written by an administrator: what one GPU of the node costs, and what one core of its CPU costs, in any one unit of the cluster.
GPU_PRICE_LABEL: Final = "stowplan.dev/gpu-price"
CORE_PRICE_LABEL: Final = "stowplan.dev/core-price"
# On nodes, written by an administrator: what one slice of a class costs, as `slice-price.stowplan.dev/mig-1g.10gb` or `.../cpu-2`, in the same unit; it wins
# over what the whole device costs.
SLICE_PRICE_LABEL: Final = "slice-price.stowplan.dev/"
# The ConfigMap that holds descriptors, one key a device, carries this label.
DESCRIPTORS_LABEL: Final = "stowplan.dev/device-descriptors"

# GPU-feature-discovery's labels (NVIDIA k8s-device-plugin, docs/gpu-feature-discovery/README.md).
GPU_PRODUCT: Final = "nvidia.com/gpu.product"
GPU_MEMORY_MIB: Final = "nvidia.com/gpu.memory"
GPU_MULTIPROCESSORS: Final = "nvidia.com/gpu.multiprocessors"
GPU_REPLICAS: Final = "nvidia.com/gpu.replicas"
GPU_COUNT: Final = "nvidia.com/gpu.count"
GPU_SHARING: Final = "nvidia.com/gpu.sharing-strategy"
GPU_RESOURCE: Final = "nvidia.com/gpu"
GPU_SHARED_RESOURCE: Final = "nvidia.com/gpu.shared"
MIG_RESOURCE_PREFIX: Final = "nvidia.com/mig-"
