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

// SendNamed gives all ranks the named tensors of root, on the CPU in the caller's scope, one after the other: a rank needs room for those
// alone that it keeps. What the others pass as tensors does not count. At root they are no copies where they lie on the CPU already.
func (g *Group) SendNamed(doing string, root int, tensors []torch.Named, keeps func(name string) bool) (kept []torch.Named, err error) {
	type header struct {
		Name  string
		DType torch.DType
		Shape []int
	}
	var headers []header
	if g.Rank() == root {
		for _, n := range tensors {
			headers = append(headers, header{n.Name, n.Tensor.DType(), n.Tensor.Shape()})
		}
	}
	message, err := Encode(headers)
	if err == nil {
		message, err = g.Send(doing, root, message)
	}
	if err == nil {
		err = Decode(message, &headers)
	}
	if err != nil {
		return nil, err
	}
	for i, h := range headers {
		var t torch.Tensor
		if g.Rank() == root {
			t = tensors[i].Tensor.Detach().ToDevice(torch.CPU).Contiguous()
		} else {
			t = torch.Empty(h.DType, torch.CPU, h.Shape...)
		}
		if err := g.Broadcast(doing, root, t); err != nil {
			return nil, err
		}
		if keeps(h.Name) {
			kept = append(kept, torch.Named{Name: h.Name, Tensor: t})
		} else {
			t.Close()
		}
	}
	return kept, nil
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
