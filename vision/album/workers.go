package album

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// each calls f for 0 to n-1 from so many goroutines, one for each core if workers is below 1, and returns the errors in
// that order. When ctx is done before all were begun, its error is the last.
func each(ctx context.Context, workers, n int, f func(i int) error) []error {
	if workers < 1 {
		workers = runtime.GOMAXPROCS(0)
	}
	type failure struct {
		at  int
		err error
	}
	var (
		next atomic.Int64
		mu   sync.Mutex
		bad  []failure
		wg   sync.WaitGroup
	)
	for range min(workers, n) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(i); err != nil {
					mu.Lock()
					bad = append(bad, failure{i, err})
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	slices.SortFunc(bad, func(a, b failure) int { return cmp.Compare(a.at, b.at) })
	var errs []error
	for _, b := range bad {
		errs = append(errs, b.err)
	}
	if err := ctx.Err(); err != nil && int(next.Load()) < n {
		errs = append(errs, err)
	}
	return errs
}
