package finetune

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
)

// Shared keeps the output of frozen stages from one Fit of a process for the next: runs of one sweep that freeze the
// same weights and read the same data compute it once. A run comes to the same numbers with it, bit for bit, as by
// itself: what is kept is taken only where stages, weights, data, the grouping of the samples, device, precision and
// threads are all the same. The zero value is ready, and is to be closed.
type Shared struct {
	mutex   sync.Mutex
	entries map[string]*sharedRows
	// Hits counts how often the output for a data set was there already.
	Hits int
}

// sharedRows is what one data set gives.
type sharedRows struct {
	cache  any // *cache[B]
	bytes  int64
	device torch.Device
	free   func()
}

// Close frees all that is kept. No Fit that uses it may run.
func (s *Shared) Close() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for key, e := range s.entries {
		e.free()
		delete(s.entries, key)
	}
}

// held is the memory of a device that can be had back, in bytes.
func (s *Shared) held(device torch.Device) (bytes int64) {
	if s == nil {
		return 0
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, e := range s.entries {
		if e.device == device {
			bytes += e.bytes
		}
	}
	return bytes
}

// drop frees all that is kept on a device, and reports whether there was anything. No Fit that uses it may run but the
// one that calls.
func (s *Shared) drop(device torch.Device) (dropped bool) {
	if s == nil {
		return false
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for key, e := range s.entries {
		if e.device == device {
			e.free()
			delete(s.entries, key)
			dropped = true
		}
	}
	return dropped
}

// makeRoom frees what is kept under other keys, where what a phase needs is more than half of the free memory.
func (s *Shared) makeRoom(needed, free int64, keys ...string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, key := range keys {
		if e := s.entries[key]; e != nil {
			needed -= e.bytes
		}
	}
	if free <= 0 || needed <= free/2 {
		return
	}
	for key, e := range s.entries {
		if !slices.Contains(keys, key) {
			e.free()
			delete(s.entries, key)
		}
	}
}

// sharedKey says what the kept output of a data set depends on; "" where nothing is shared.
func (r *run[B]) sharedKey(plan *Plan, of split[B]) string {
	f, ok := any(of.set).(data.Fingerprinter)
	if r.options.Shared == nil || !ok || of.set.Len() == 0 {
		return ""
	}
	h := sha256.New()
	fmt.Fprintln(h, f.Fingerprint(), plan.viewsOf(of.random), plan.values, r.backend.Device(), plan.CacheDevice, r.forward.Precision, torch.NumThreads(), r.options.Deterministic)
	for _, s := range plan.Stages[:plan.NumFrozen] {
		fmt.Fprintln(h, s.Name, s.PerSample)
		for _, p := range s.params {
			fmt.Fprintln(h, p.Name, p.Tensor.Shape(), p.Tensor.DType(), p.Tensor.Digest())
		}
		for _, b := range s.buffers {
			fmt.Fprintln(h, b.Name, b.Tensor.Shape(), b.Tensor.DType(), b.Tensor.Digest())
		}
	}
	for _, request := range of.batches {
		fmt.Fprintln(h, request.Length, request.Indices)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// roomForShared frees what other phases left, where a phase needs its memory.
func (r *run[B]) roomForShared(plan *Plan, keys ...string) {
	if r.options.Shared != nil && !plan.CacheOnDisk {
		r.options.Shared.makeRoom(plan.CacheBytes, r.freeOn(plan.CacheDevice), keys...)
	}
}

// sharedCache gives what is kept under a key, or in a file, or else fills a cache and keeps it; nil where there is no
// place for it after all.
func (r *run[B]) sharedCache(
	ctx context.Context, key string, plan *Plan, of split[B], done func(samples int) error,
) (*cache[B], error) {
	if c := r.takeShared(key); c != nil {
		return c, done(len(c.starts))
	}
	c, err := r.openKept(plan, of, done)
	if c == nil && err == nil {
		c, err = r.filledCache(ctx, plan, of, done)
	}
	if c != nil && err == nil {
		r.share(key, c)
	}
	return c, err
}

func (r *run[B]) freeOn(device torch.Device) int64 {
	if device == r.backend.Device() {
		return r.backend.FreeMemory()
	}
	return train.AvailableMemory()
}

// takeShared gives what is kept under a key; nil where nothing is.
func (r *run[B]) takeShared(key string) *cache[B] {
	s := r.options.Shared
	if s == nil || key == "" {
		return nil
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	e := s.entries[key]
	if e == nil {
		return nil
	}
	c, ok := e.cache.(*cache[B])
	if ok {
		s.Hits++
	}
	return c
}

// share keeps a cache that was filled for the runs to come.
func (r *run[B]) share(key string, c *cache[B]) {
	s := r.options.Shared
	if s == nil || key == "" || c.file == nil && c.stored < len(c.starts) { // other runs do not know which samples are left out
		return
	}
	e := &sharedRows{cache: c, device: c.device}
	for _, rows := range c.rows {
		if c.file == nil || c.device.Type != torch.CPUType { // what is mapped takes no memory
			e.bytes += int64(rows.NBytes())
		}
	}
	e.free = func() {
		c.shared = false
		c.Close()
	}
	c.shared = true
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.entries == nil {
		s.entries = map[string]*sharedRows{}
	}
	s.entries[key] = e
}
