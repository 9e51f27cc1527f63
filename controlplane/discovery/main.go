// Command discovery is Prometheus' own discovery in Kubernetes as a process of its own, for a Prometheus that was built without it (Debian's): it reads
// one entry of `kubernetes_sd_configs` and keeps a file for `file_sd_configs`, with every label that Prometheus itself would see.
package main

import (
	"context"
	"log"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/documentation/examples/custom-sd/adapter"
	"gopkg.in/yaml.v2"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: discovery CONFIGURATION TARGETS")
	}
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var configuration kubernetes.SDConfig
	if err := yaml.UnmarshalStrict(text, &configuration); err != nil {
		log.Fatalf("%s: %v", os.Args[1], err)
	}
	logger, registry := promslog.New(&promslog.Config{}), prometheus.NewRegistry()
	metrics, err := discovery.RegisterSDMetrics(registry, discovery.NewRefreshMetrics(registry))
	if err != nil {
		log.Fatal(err)
	}
	found, err := kubernetes.New(logger, metrics["kubernetes"], &configuration)
	if err != nil {
		log.Fatal(err)
	}
	adapter.NewAdapter(context.Background(), os.Args[2], "kubernetes", found, logger, metrics, registry).Run()
	select {}
}
