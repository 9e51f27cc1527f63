// Command issuing is cert-manager's controller with the parts that our chart relies on: its own controllers of issuers, certificates and requests, and its
// own issuers of the kinds CA and SelfSigned. cert-manager's command itself is in a module of its own that the Go module proxy does not have.
package main

import (
	"context"
	"log"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/cert-manager/cert-manager/pkg/controller"
	"golang.org/x/sync/errgroup"

	// Each makes itself known to the packages above.
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
)

// Of cert-manager's own defaults, those that a run of minutes needs otherwise.
var options = controller.ContextOptions{
	KubernetesAPIQPS:   50,
	KubernetesAPIBurst: 100,
	IssuerOptions:      controller.IssuerOptions{ClusterResourceNamespace: "cert-manager"},
	CertificateOptions: controller.CertificateOptions{
		CertificateRequestMinimumBackoffDuration: time.Second,
		CertificateRequestMaximumBackoffDuration: time.Minute,
	},
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: issuing KUBECONFIG")
	}
	options.Kubeconfig = os.Args[1]
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	factory, err := controller.NewContextFactory(ctx, options)
	check(err)
	running, ctx := errgroup.WithContext(ctx)
	for _, name := range slices.Sorted(maps.Keys(controller.Known())) {
		one, err := controller.Known()[name](factory)
		check(err)
		running.Go(func() error { return one.Run(2, ctx) })
	}
	shared, err := factory.Build()
	check(err)
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	check(running.Wait())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
