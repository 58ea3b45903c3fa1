package onnx

import (
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/internal/version"
	"github.com/thaw-ml/thaw/torch"
)

// Model is a graph with what is written beside it.
type Model struct {
	Graph    *Graph
	Doc      string            // for people
	Metadata map[string]string // metadata_props, which runtimes give as they are
	// Inline is how many bytes a file may have, weights included: 0 is the most that a protocol buffer may have, 2 GiB
	// less one byte. A larger model's weights are in a file of their own beside it.
	Inline int64
}

// DataSuffix ends the name of the file with the weights of a model that is larger than Inline: "model.onnx.data".
const DataSuffix = ".data"

const (
	pageSize  = 4096 // weights begin at multiples in their own file, so that runtimes can map them
	smallSize = 1024 // weights up to here stay in the model, as shape inference reads shapes from them
)

// Save writes the model, atomically. Weights are copied one at a time.
func (m Model) Save(path string) error {
	limit := m.Inline
	if limit == 0 {
		limit = math.MaxInt32
	}
	parts := m.parts("", nil)
	if total(parts) > limit {
		offsets, err := m.saveData(path + DataSuffix)
		if err != nil {
			return err
		}
		parts = m.parts(filepath.Base(path)+DataSuffix, offsets)
		if n := total(parts); n > math.MaxInt32 {
			return fmt.Errorf("write %s: %d bytes without the weights are more than a protocol buffer may have", path, n)
		}
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		for _, p := range parts {
			if err := p.write(w); err != nil {
				return err
			}
		}
		return nil
	})
}

// part is a piece of the file: bytes, or a weight's elements.
type part struct {
	bytes  []byte
	weight *weight
}

func (p part) size() int64 {
	if p.weight != nil {
		return p.weight.size()
	}
	return int64(len(p.bytes))
}

func (p part) write(w io.Writer) error {
	if p.weight == nil {
		_, err := w.Write(p.bytes)
		return err
	}
	return p.weight.write(w)
}

// write writes the elements.
func (w *weight) write(to io.Writer) error {
	var data []byte
	if err := torch.Try(func() { data = w.bytes() }); err != nil {
		return fmt.Errorf("the weight %s: %w", w.name, err)
	}
	if int64(len(data)) != w.size() {
		return fmt.Errorf("the weight %s has %d bytes in place of %d", w.name, len(data), w.size())
	}
	_, err := to.Write(data)
	return err
}

func total(parts []part) (n int64) {
	for _, p := range parts {
		n += p.size()
	}
	return n
}

// parts are the pieces of the file in order. Weights with an offset are in the file data.
func (m Model) parts(data string, offsets map[string]int64) []part {
	graph := []part{{bytes: m.Graph.head()}}
	for i := range m.Graph.weights {
		w := &m.Graph.weights[i]
		offset, outside := offsets[w.name]
		if outside {
			graph = append(graph, part{bytes: message(nil, graphInitializer, w.outside(data, offset))})
			continue
		}
		head := w.head()
		head = protowire.AppendTag(head, tensorRawData, protowire.BytesType)
		head = protowire.AppendVarint(head, uint64(w.size()))
		b := protowire.AppendTag(nil, graphInitializer, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(int64(len(head))+w.size()))
		graph = append(graph, part{bytes: append(b, head...)}, part{weight: w})
	}
	b := m.head()
	b = protowire.AppendTag(b, modelGraph, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(total(graph)))
	return append([]part{{bytes: b}}, graph...)
}

// head is the model without its graph.
func (m Model) head() []byte {
	b := number(nil, modelIRVersion, irVersion)
	b = text(b, modelProducerName, "thaw")
	b = text(b, modelProducerVersion, version.WithRevision())
	if m.Doc != "" {
		b = text(b, modelDoc, m.Doc)
	}
	b = message(b, modelOpset, number(text(nil, opsetDomain, ""), opsetVersion, Opset))
	for _, key := range slices.Sorted(maps.Keys(m.Metadata)) {
		b = message(b, modelMetadata, entry(key, m.Metadata[key]))
	}
	return b
}

// saveData writes the large weights to a file and tells where each begins.
func (m Model) saveData(path string) (offsets map[string]int64, err error) {
	offsets = map[string]int64{}
	err = atomicfile.Write(path, func(w io.Writer) error {
		at := int64(0)
		for i := range m.Graph.weights {
			weight := &m.Graph.weights[i]
			if weight.size() <= smallSize {
				continue
			}
			gap := (pageSize - at%pageSize) % pageSize
			if _, err := w.Write(make([]byte, gap)); err != nil {
				return err
			}
			at += gap
			offsets[weight.name] = at
			if err := weight.write(w); err != nil {
				return err
			}
			at += weight.size()
		}
		return nil
	})
	return offsets, err
}

// outside is a weight whose elements are in another file.
func (w *weight) outside(file string, offset int64) []byte {
	b := w.head()
	b = message(b, tensorExternalData, entry("location", file))
	b = message(b, tensorExternalData, entry("offset", strconv.FormatInt(offset, 10)))
	b = message(b, tensorExternalData, entry("length", strconv.FormatInt(w.size(), 10)))
	return number(b, tensorDataLocation, external)
}
