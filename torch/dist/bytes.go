package dist

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/torch"
)

// Numbers gives the values of all ranks, by rank: as many on each.
func (g *Group) Numbers(doing string, values ...float64) (all [][]float64, err error) {
	if g == nil {
		return [][]float64{values}, nil
	}
	torch.Scoped(func() {
		var tensors []torch.Tensor
		if tensors, err = g.AllGather(doing, torch.FromSlice(values)); err != nil {
			return
		}
		for _, t := range tensors {
			all = append(all, torch.ToSlice[float64](t))
		}
	})
	return all, err
}

// Any reports whether yes holds on one rank or more.
func (g *Group) Any(doing string, yes bool) (bool, error) {
	if g == nil {
		return yes, nil
	}
	all, err := g.Numbers(doing, Flag(yes))
	return slices.ContainsFunc(all, func(n []float64) bool { return n[0] != 0 }), err
}

// Flag is yes among Numbers: 1, or else 0.
func Flag(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// small is what Exchange and Send carry in one collective.
const small = 256

// packed is the length of a message and as much of it as fits into small bytes.
func packed(message []byte) []byte {
	first := make([]byte, small)
	binary.LittleEndian.PutUint64(first, uint64(len(message)))
	copy(first[8:], message)
	return first
}

// Exchange gives the messages of all ranks, by rank.
func (g *Group) Exchange(doing string, message []byte) (all [][]byte, err error) {
	if g == nil {
		return [][]byte{message}, nil
	}
	torch.Scoped(func() {
		var firsts, rests []torch.Tensor
		if firsts, err = g.AllGather(doing, torch.FromSlice(packed(message))); err != nil {
			return
		}
		lengths := make([]int, len(firsts))
		longest := 0
		for r, t := range firsts {
			b := torch.ToSlice[uint8](t)
			lengths[r] = int(binary.LittleEndian.Uint64(b))
			longest = max(longest, lengths[r])
			all = append(all, b[8:min(small, 8+lengths[r])])
		}
		if longest <= small-8 {
			return
		}
		whole := make([]byte, longest)
		copy(whole, message)
		if rests, err = g.AllGather(doing, torch.FromSlice(whole)); err != nil {
			return
		}
		for r, t := range rests {
			all[r] = torch.ToSlice[uint8](t)[:lengths[r]]
		}
	})
	return all, err
}

// Send gives root's message to all ranks; what the others pass does not count.
func (g *Group) Send(doing string, root int, message []byte) (_ []byte, err error) {
	if g == nil {
		return message, nil
	}
	torch.Scoped(func() {
		if g.Rank() != root {
			message = nil
		}
		first := torch.FromSlice(packed(message))
		if err = g.Broadcast(doing, root, first); err != nil {
			return
		}
		b := torch.ToSlice[uint8](first)
		n := int(binary.LittleEndian.Uint64(b))
		if n <= small-8 {
			message = b[8 : 8+n]
			return
		}
		whole := make([]byte, n)
		copy(whole, message)
		t := torch.FromSlice(whole)
		if err = g.Broadcast(doing, root, t); err == nil {
			message = torch.ToSlice[uint8](t)
		}
	})
	return message, err
}

// Agree is an error of any rank, on all of them: where err is not nil on one, the others get it as a text with that rank's name.
// One that is among known, such as io.EOF, they get as itself, and the end of a context as ErrStopped; any other counts before
// those.
func (g *Group) Agree(doing string, err error, known ...error) error {
	if g == nil {
		return err
	}
	const unknown = 0xFF
	known = append([]error{ErrStopped}, known...)
	var message []byte
	if err != nil {
		code := slices.IndexFunc(known, func(k error) bool { return errors.Is(err, k) })
		switch {
		case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
			code = 0
		case code < 0:
			code = unknown
		}
		message = append([]byte{byte(code)}, err.Error()...)
	}
	all, lost := g.Exchange(doing, message)
	if lost != nil || err != nil && message[0] == unknown {
		return cmp.Or(err, lost)
	}
	for r, m := range all {
		if len(m) > 0 && m[0] == unknown {
			return fmt.Errorf("%s: rank %d: %s", doing, r, m[1:])
		}
	}
	if err != nil {
		return err
	}
	for _, m := range all {
		if len(m) > 0 {
			return known[m[0]]
		}
	}
	return nil
}
