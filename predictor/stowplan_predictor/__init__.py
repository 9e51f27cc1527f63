"""ONNX graph -> kernels -> latency -> co-location -> response time, measured and never made up.

Rooms, in the order data flows: `graphs` (ONNX to OpGraph), `fusion` (operators to kernels), `kernels` (latency of a kernel on a slice),
`colocation` (degradation beside tenants), `response` (response time under load), `pipelines` (all of it for one question), `bundles`
(trained models on disk), `serving` (gRPC). Beside the flow: `measuring` (times of real runs) and `training` (data sets, bundles, evaluation; extra
`train`; serving code never imports it).
"""
