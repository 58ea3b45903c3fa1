package data

import (
	"maps"
	"sync"
)

// Skipped notes which samples of a data set cannot be read, for one that goes on without them. The zero value has none. Its
// methods may be called from several goroutines at once.
type Skipped struct {
	mutex sync.Mutex
	why   map[int]error
}

// Note says that a sample cannot be read, and why.
func (s *Skipped) Note(sample int, why error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.why == nil {
		s.why = map[int]error{}
	}
	s.why[sample] = why
}

// Why is the error of a sample that cannot be read; nil of another.
func (s *Skipped) Why(sample int) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.why[sample]
}

// All are the errors by sample.
func (s *Skipped) All() map[int]error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	out := make(map[int]error, len(s.why))
	maps.Copy(out, s.why)
	return out
}
