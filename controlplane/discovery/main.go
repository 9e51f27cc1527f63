// Command discovery is Prometheus' own discovery in Kubernetes as a process of its own, for a Prometheus that was built without it (Debian's): it reads
// one entry of `kubernetes_sd_configs` and keeps a file for `file_sd_configs`, with every label that Prometheus itself would see.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"gopkg.in/yaml.v2"
)

type target struct {
	Targets []string       `json:"targets"`
	Labels  model.LabelSet `json:"labels"`
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: discovery CONFIGURATION TARGETS")
	}
	text, err := os.ReadFile(os.Args[1])
	check(err)
	var configuration kubernetes.SDConfig
	check(yaml.UnmarshalStrict(text, &configuration))
	registry := prometheus.NewRegistry()
	metrics, err := discovery.RegisterSDMetrics(registry, discovery.NewRefreshMetrics(registry))
	check(err)
	found, err := kubernetes.New(promslog.New(&promslog.Config{}), metrics["kubernetes"], &configuration)
	check(err)
	updates, groups := make(chan []*targetgroup.Group), map[string]*targetgroup.Group{}
	go found.Run(context.Background(), updates)
	for changed := range updates {
		for _, group := range changed {
			groups[group.Source] = group
		}
		write(groups, os.Args[2])
	}
}

// write replaces the file whole, for a reader may come at any moment.
func write(groups map[string]*targetgroup.Group, path string) {
	all := []target{}
	for _, group := range groups {
		for _, one := range group.Targets {
			labels := group.Labels.Merge(one)
			address := string(labels[model.AddressLabel])
			delete(labels, model.AddressLabel)
			all = append(all, target{[]string{address}, labels})
		}
	}
	text, err := json.Marshal(all)
	check(err)
	check(os.WriteFile(path+".partial", text, 0o600))
	check(os.Rename(path+".partial", path))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
