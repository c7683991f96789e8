// Command emailasset-cluster is a Kubernetes control plane in one binary, for tests.
//
// Its first argument picks the part to run. `up` runs the others as children and is what tests start; see up.go.
package main

import (
	"fmt"
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"

	"github.com/spf13/cobra"
)

const usage = "usage: emailasset-cluster up|etcd|kube-apiserver|kube-controller-manager|kubectl [flags]"

func main() {
	if len(os.Args) < 2 {
		fail(usage)
	}
	part := os.Args[1]
	// The parts parse os.Args themselves and expect their own name in front.
	os.Args = os.Args[1:]
	switch part {
	case "up":
		if err := up(os.Args[1:]); err != nil {
			fail("emailasset-cluster up: %v", err)
		}
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		run(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		run(controllermanager.NewControllerManagerCommand())
	case "kubectl":
		if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
			util.CheckErr(err)
		}
	default:
		fail("unknown part %q; %s", part, usage)
	}
}

func run(command *cobra.Command) {
	os.Exit(cli.Run(command))
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	os.Exit(1)
}
