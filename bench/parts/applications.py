"""From `kubectl apply` of an InferenceService to a pod with a node: the whole system, with models nobody has seen and with one that was."""

import asyncio
import base64
import json
import statistics
import time
from typing import Any

from stowplan_fleet import keys
from support import components

from bench.parts import networks, worlds
from bench.parts.figures import percentile
from bench.parts.worlds import NAMESPACE, World


async def applied(nodes: int, count: int) -> dict[str, Any]:
    """So many services applied one after the other, each with a model of its own (cold), then as many with one that is known (warm)."""
    async with worlds.world() as world:
        cluster = world.cluster
        predictor = components.start_predictor(cluster)
        extender = components.extender(cluster, predictor, "stowplan-scheduler")
        extender.start()
        components.start_operator(cluster, predictor, "stowplan-operator")
        await world.grow(nodes)
        with worlds.scheduler(cluster, keys.SCHEDULER_NAME, f"http://127.0.0.1:{extender.port}"):
            await asyncio.sleep(3.0)
            found = {}
            for kind in ("cold", "warm"):
                times = [await _one(world, f"{kind}-{index:03d}", index if kind == "cold" else 0) for index in range(count)]
                ascending = sorted(times)
                found[kind] = {
                    "services": count,
                    "p50Milliseconds": round(statistics.median(times), 1),
                    "p99Milliseconds": round(percentile(ascending, 99), 1),
                    "leastMilliseconds": round(ascending[0], 1),
                    "mostMilliseconds": round(ascending[-1], 1),
                }
                print(f"apply to bound, {kind}: {found[kind]}", flush=True)
        return found


async def _one(world: World, name: str, variant: int) -> float:
    """Milliseconds from the start of `kubectl apply` (its own start included) to the watch that shows the pod's node."""
    model = networks.residual_network(32 + 4 * variant, channels=16, blocks=4)
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-graph"},
        "binaryData": {"model.onnx": base64.b64encode(model).decode()},
    }
    await world.request("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps", config_map)
    service = worlds.service_json(name)
    known = set(world.bound_s)
    started = time.perf_counter()
    await asyncio.to_thread(world.cluster.kubectl, "apply", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(service))
    while True:
        new = [pod for pod in world.bound_s if pod not in known and pod.startswith(name)]
        if new:
            return 1e3 * (world.bound_s[new[0]] - started)
        if time.perf_counter() - started > 60:
            status = world.cluster.kubectl("get", "inferenceservices.stowplan.dev", name, "-n", NAMESPACE, "-o", "jsonpath={.status}")
            raise RuntimeError(f"{name} was not bound within a minute: {status}")
        await asyncio.sleep(0.002)
