package finetune

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/thaw-ml/thaw/torch"
)

// planCache decides whether the frozen stages' output is kept, and where, and says how large that will be.
func (r *run[B]) planCache(plan *Plan) error {
	if plan.Prefix == 0 || r.spec.Cache == "off" {
		return nil
	}
	if r.train.Varies() {
		return nil // a sample is another in each epoch
	}
	var b B
	for _, i := range slices.Concat(r.trainSet.sorted()...) {
		var err error
		if b, err = r.train.Batch(Request{Indices: []int{i}}); err != nil {
			return err
		}
		if b.Size() > 0 {
			break
		}
		closeBatch(b)
	}
	defer closeBatch(b)
	row := r.rowBytes(plan, b)
	for _, s := range []sampler{r.trainSet, r.testSet} {
		for _, n := range s.lengths {
			plan.CacheBytes += int64(plan.keptRows(n)) * row
		}
	}
	// What is left must do for the trained stages' activations: half of the memory is a careful share.
	device := r.machine.device()
	for _, place := range []struct {
		device torch.Device
		free   int64
	}{{device, r.machine.free()}, {torch.CPU, availableMemory()}} {
		if place.free <= 0 || plan.CacheBytes <= place.free/2 {
			plan.Cached, plan.CacheDevice = true, place.device
			return nil
		}
	}
	r.report.Note("warning", fmt.Sprintf("the frozen stages' output is %s and %s of memory are free: it is not kept, the stages run at every step",
		byteSize(plan.CacheBytes), byteSize(availableMemory())))
	return nil
}

// fillCaches runs the frozen stages on all rows, where the plan keeps their output.
func (r *run[B]) fillCaches(ctx context.Context, plan *Plan) (train, test *cache[B], err error) {
	if !plan.Cached {
		return nil, nil, nil
	}
	began := time.Now()
	defer func() { r.result.Seconds.Prefix += time.Since(began).Seconds() }()
	r.report.Begin("prefix", r.train.Len()+r.test.Len())
	samples := 0
	done := func(n int) {
		samples += n
		r.report.Advance(samples, 0)
	}
	fill := func(data Dataset[B], s sampler) (*cache[B], error) {
		return r.fillCache(ctx, plan, data, requests(longFirst(s.sorted()), 0), plan.CacheDevice, done)
	}
	if train, err = fill(r.train, r.trainSet); err != nil {
		return nil, nil, err
	}
	if r.test.Len() > 0 {
		filled, kept := train, false
		defer func() {
			if !kept { // the test rows met an error, or a panic of the model's
				filled.Close()
			}
		}()
		if test, err = fill(r.test, r.testSet); err != nil {
			return nil, nil, err
		}
		kept = true
	}
	r.report.End(nil)
	return train, test, nil
}

// availableMemory is what the machine can give without swapping, in bytes; 0 where it does not say.
func availableMemory() int64 { return 1024 * procField("/proc/meminfo", "MemAvailable:") }

// peakResident is the most memory that the process ever held, in bytes.
func peakResident() int64 { return 1024 * procField("/proc/self/status", "VmHWM:") }

// procField reads a number in kB from one of Linux's status files.
func procField(path, name string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok {
			var n int64
			fmt.Sscan(rest, &n)
			return n
		}
	}
	return 0
}
