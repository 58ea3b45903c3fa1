package main

import (
	"fmt"
	"os"

	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/torch/dist/launch"
)

// place says which of the processes that train together this one is, for a verb that can be one of several.
func place(verb string) (launch.World, error) {
	w, err := launch.Find(launch.Flags{GPUs: countGPUs}, os.Getenv)
	if err != nil {
		return w, usageError{verb + ": " + err.Error()}
	}
	return w, nil
}

// alone refuses to be one of several, for a verb of which each of them would do the same.
func alone(verb string) error {
	w, err := launch.Find(launch.Flags{GPUs: countGPUs}, os.Getenv)
	if err != nil {
		return usageError{verb + ": " + err.Error()}
	}
	if w.Size > 1 {
		return usageError{fmt.Sprintf("%s: %v: thaw %s runs in one process; start it once, without the launcher", verb, w, verb)}
	}
	return nil
}

// countGPUs counts the GPUs that this process sees.
func countGPUs() int {
	if !cuda.Built() {
		return 0
	}
	devices, _ := cuda.Devices() // fails where there is none
	return len(devices)
}
