package data

// Shard gives the part of each batch that one of several processes computes: every world-th of its samples. A batch of fewer
// samples than processes is every process's as a whole.
func Shard(asked []Request, rank, world int) []Request {
	if world <= 1 {
		return asked
	}
	out := make([]Request, len(asked))
	for i, r := range asked {
		out[i] = r
		if Shared(r, world) {
			continue
		}
		out[i].Indices = nil
		for k := rank; k < len(r.Indices); k += world {
			out[i].Indices = append(out[i].Indices, r.Indices[k])
		}
	}
	return out
}

// Shared reports whether so many processes compute the whole of a batch each.
func Shared(r Request, world int) bool { return world > 1 && len(r.Indices) < world }
