package dist

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"

	"github.com/thaw-ml/thaw/torch"
)

// packedTensor is a tensor in a message; without a shape, and with Undefined set, it is the undefined one.
type packedTensor struct {
	Undefined bool
	DType     torch.DType
	Shape     []int
	Data      []byte
}

// Pack makes a message of tensors, which may be undefined or lie on any device.
func Pack(tensors []torch.Tensor) ([]byte, error) {
	parts := make([]packedTensor, len(tensors))
	for i, t := range tensors {
		if !t.Defined() {
			parts[i].Undefined = true
			continue
		}
		parts[i] = packedTensor{DType: t.DType(), Shape: t.Shape(), Data: t.Bytes()}
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(parts); err != nil {
		return nil, fmt.Errorf("packing tensors: %w", err)
	}
	return b.Bytes(), nil
}

// Unpack gives the tensors of a message that Pack made, on the CPU.
func Unpack(message []byte) ([]torch.Tensor, error) {
	var parts []packedTensor
	if err := gob.NewDecoder(bytes.NewReader(message)).Decode(&parts); err != nil {
		return nil, fmt.Errorf("unpacking tensors: %w", err)
	}
	tensors := make([]torch.Tensor, len(parts))
	for i, p := range parts {
		if !p.Undefined {
			tensors[i] = torch.FromBytes(p.Data, p.DType, p.Shape...)
		}
	}
	return tensors, nil
}

// ErrStopped is the error of a process where another one of the group was asked to stop.
var ErrStopped = errors.New("another process of the run was asked to stop")

// InTurn makes messages of n pieces, each by the rank whose turn it is, and gives all ranks all of them in order. An error of
// one rank is one of all.
func (g *Group) InTurn(doing string, n int, piece func(i int) ([]byte, error), each func(i int, message []byte) error) error {
	for first := 0; first < n; first += g.Size() {
		var message []byte
		var err error
		if i := first + g.Rank(); i < n {
			message, err = piece(i)
		}
		switch {
		case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrStopped):
			message = []byte{2}
		case err != nil:
			message = append([]byte{1}, err.Error()...)
		default:
			message = append([]byte{0}, message...)
		}
		all, lost := g.Exchange(doing, message)
		if err != nil {
			return err
		}
		if lost != nil {
			return lost
		}
		for r, m := range all {
			if m[0] == 2 {
				return ErrStopped
			}
			if m[0] != 0 {
				return fmt.Errorf("%s: rank %d: %s", doing, r, m[1:])
			}
		}
		for r, m := range all[:min(g.Size(), n-first)] {
			if err := each(first+r, m[1:]); err != nil {
				return err
			}
		}
	}
	return nil
}
