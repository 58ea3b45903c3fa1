// testserver is what the manifests beside it are tested with, in one program, each part being the project's own code:
//
//	testserver etcd|apiserver|controller-manager|kubectl FLAGS
//	testserver trainer <DOCUMENTS
//
// The last one reads a TrainJob and its TrainingRuntime and prints what Kubeflow Trainer makes of them.
package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // the apiserver's --logging-format
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // as in kube-apiserver's main
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

// Each part believes itself to be a program of its own: it reads os.Args, and ends the process.
func main() {
	parts := map[string]func(){
		"etcd":               func() { etcdmain.Main(os.Args) },
		"apiserver":          func() { run(apiserver.NewAPIServerCommand()) },
		"controller-manager": func() { run(controllers.NewControllerManagerCommand()) },
		"kubectl": func() {
			if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
				util.CheckErr(err)
			}
		},
		"trainer": trainer,
	}
	if len(os.Args) < 2 || parts[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: testserver etcd|apiserver|controller-manager|kubectl|trainer FLAGS")
		os.Exit(2)
	}
	part := parts[os.Args[1]]
	os.Args = slices.Delete(os.Args, 0, 1)
	part()
}

func run(command *cobra.Command) { os.Exit(cli.Run(command)) }
