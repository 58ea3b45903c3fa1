package dist

import (
	"bytes"
	"cmp"
	"encoding/gob"
	"errors"
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/torch"
)

// Encode makes a message of a value that encoding/gob knows, such as a struct with fields of type [Tensors].
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		return nil, fmt.Errorf("making a message: %w", err)
	}
	return b.Bytes(), nil
}

// Decode reads into v what Encode made.
func Decode(message []byte, v any) error {
	if err := gob.NewDecoder(bytes.NewReader(message)).Decode(v); err != nil {
		return fmt.Errorf("reading a message: %w", err)
	}
	return nil
}

// Tensors are part of a message. They may be undefined or lie on any device; where they are read they lie on the CPU, in the
// caller's scope.
type Tensors []torch.Tensor

// packedTensor is a tensor in a message.
type packedTensor struct {
	Undefined bool
	DType     torch.DType
	Shape     []int
	Data      []byte
}

// GobEncode is for encoding/gob.
func (t Tensors) GobEncode() ([]byte, error) {
	parts := make([]packedTensor, len(t))
	for i, x := range t {
		if !x.Defined() {
			parts[i].Undefined = true
			continue
		}
		parts[i] = packedTensor{DType: x.DType(), Shape: x.Shape(), Data: x.Bytes()}
	}
	return Encode(parts)
}

// GobDecode is for encoding/gob.
func (t *Tensors) GobDecode(message []byte) error {
	var parts []packedTensor
	if err := Decode(message, &parts); err != nil {
		return err
	}
	*t = make(Tensors, len(parts))
	for i, p := range parts {
		if !p.Undefined {
			(*t)[i] = torch.FromBytes(p.Data, p.DType, p.Shape...)
		}
	}
	return nil
}

// ErrStopped is the error of a process where another one of the group was asked to stop.
var ErrStopped = errors.New("another process of the run was asked to stop")

// InTurn makes messages of n pieces, each by the rank whose turn it is, and gives all ranks all of them in order. An error of
// one rank is one of all, see Agree.
func (g *Group) InTurn(doing string, n int, piece func(i int) ([]byte, error), each func(i int, message []byte) error) error {
	for first := 0; first < n; first += g.Size() {
		message := []byte{0}
		var err error
		if i := first + g.Rank(); i < n {
			var made []byte
			if made, err = piece(i); err != nil {
				message[0] = 1
			}
			message = append(message, made...)
		}
		all, lost := g.Exchange(doing, message)
		if lost != nil {
			return cmp.Or(err, lost)
		}
		if slices.ContainsFunc(all, func(m []byte) bool { return m[0] != 0 }) {
			return g.Agree(doing, err)
		}
		for r, m := range all[:min(g.Size(), n-first)] {
			if err := each(first+r, m[1:]); err != nil {
				return err
			}
		}
	}
	return nil
}
