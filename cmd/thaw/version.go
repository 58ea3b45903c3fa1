package main

import (
	"fmt"
	"runtime"

	"github.com/thaw-ml/thaw"
	"github.com/thaw-ml/thaw/torch"
)

type versionCmd struct{}

func (versionCmd) Run(s streams) error {
	fmt.Fprintln(s.out, versions())
	return nil
}

// versions is what thaw version and thaw --version print.
func versions() string {
	return fmt.Sprintf("thaw %s · libtorch %s · %s", thaw.Version, torch.Version(), runtime.Version())
}
