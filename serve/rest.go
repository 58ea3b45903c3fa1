package serve

import "time"

// rest says how long the thread rests behind a batch, until the callers who were just answered are back with their next
// requests: together with those that wait they make a larger batch. As large a share of them is expected back as came
// behind the batch before. So there is no rest where requests come from callers who wait for no answer, and none after
// the model was idle.
type rest struct {
	longest  time.Duration
	last     time.Time // when the last batch was answered
	answered int       // its requests
	expected int       // how many of their callers are expected back within longest
	back     int       // requests that came within longest
}

// batchAnswered notes that a batch was answered.
func (r *rest) batchAnswered(now time.Time, requests int) {
	expected := requests
	if r.back < r.answered {
		expected = requests * r.back / r.answered
	}
	*r = rest{longest: r.longest, last: now, answered: requests, expected: expected}
}

// came notes a request.
func (r *rest) came(now time.Time) {
	if now.Sub(r.last) < r.longest {
		r.back++
	}
}

// left is how much longer to rest.
func (r *rest) left(now time.Time) time.Duration {
	if r.back >= r.expected {
		return 0
	}
	return max(0, r.longest-now.Sub(r.last))
}
