package main

import (
	"fmt"
	"runtime"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/torch"
)

type versionCmd struct{}

func (versionCmd) Run(s streams) error {
	fmt.Fprintf(s.out, "thaw %s · libtorch %s · %s\n", finetune.Version, torch.Version(), runtime.Version())
	return nil
}
