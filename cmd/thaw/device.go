package main

import (
	"errors"
	"fmt"

	"github.com/thaw-ml/thaw/torch"
)

// onCPU says why what left its device to the program is on the CPU although the program has CUDA; "" where it is not,
// or was to be.
func (s streams) onCPU(device string) string {
	if device != "auto" || s.noGPU == nil {
		return ""
	}
	err := s.noGPU()
	if err == nil {
		return ""
	}
	why := err.Error()
	if e, ok := errors.AsType[*torch.Error](err); ok {
		why = e.Msg
	}
	return "on the CPU: " + why
}

// warnOfCPU tells it beside the output.
func (s streams) warnOfCPU(device string) {
	if why := s.onCPU(device); why != "" {
		fmt.Fprintln(s.err, "thaw: warning:", why)
	}
}
