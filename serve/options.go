package serve

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Options bound batches and the queue. The zero value of a field stands for its default.
type Options struct {
	// MaxBatch is the number of requests that are computed together at most; the default is 32.
	MaxBatch int
	// MaxTokens is the size of a batch at most, padding counted: requests times the largest [Model].Cost among them. A
	// request that is larger alone is computed alone. 0 is no limit.
	MaxTokens int
	// MaxWait is the longest that the model rests although requests wait, for callers who were just answered to come
	// back with their next; the default is 2 ms, and below 0 it never rests. A request that comes while the model rests
	// and nobody is expected back is computed at once.
	MaxWait time.Duration
	// MaxQueue is the number of requests at most that wait, those that are being encoded counted; one more is refused
	// with ErrFull. The default is 1024.
	MaxQueue int
}

// resolved fills in the defaults and checks all values.
func (o Options) resolved() (Options, error) {
	var wrong []error
	atLeast := func(name string, value, least int) {
		if value < least {
			wrong = append(wrong, fmt.Errorf("%s must be %d or more, found %d", name, least, value))
		}
	}
	o.MaxBatch = cmp.Or(o.MaxBatch, 32)
	o.MaxWait = max(0, cmp.Or(o.MaxWait, 2*time.Millisecond))
	o.MaxQueue = cmp.Or(o.MaxQueue, 1024)
	atLeast("MaxBatch", o.MaxBatch, 1)
	atLeast("MaxTokens", o.MaxTokens, 0)
	atLeast("MaxQueue", o.MaxQueue, 1)
	if err := errors.Join(wrong...); err != nil {
		return o, fmt.Errorf("serve: Options: %w", err)
	}
	return o, nil
}
