package serve

// Stats count what a server did since its start.
type Stats struct {
	Requests  int // that got a place in the queue
	Refused   int // that got none: the queue was full, or the server closed
	Cancelled int // whose caller's context ended first
	Failed    int // answered with an error of the model

	Batches int // that the model computed
	Tokens  int // the requests' cost in them, see Model.Cost
	Padded  int // what was computed beside that, as the requests of a batch are padded to its longest

	Queued int // requests that wait now, those that are being encoded counted
}

// Stats reads the counters.
func (s *Server[I, E]) Stats() Stats {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	stats := s.stats
	stats.Queued = len(s.queue) + s.encoding
	return stats
}
