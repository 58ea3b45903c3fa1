package data

import "iter"

// Source is a list of items, such as pictures with their classes, that is read as it is needed.
type Source[I any] interface {
	Len() int
	// At reads item i, counted from 0. It may be called from several goroutines at once.
	At(i int) (I, error)
}

// Items is a source of items in memory.
type Items[I any] []I

// Len is the number of items.
func (s Items[I]) Len() int { return len(s) }

// At gives an item.
func (s Items[I]) At(i int) (I, error) { return s[i], nil }

// Slice is a source of samples of any type, each of which item turns into an item when it is needed, in every epoch
// anew.
func Slice[S, I any](samples []S, item func(S) (I, error)) Source[I] {
	return mapped[S, I]{samples, item}
}

type mapped[S, I any] struct {
	samples []S
	item    func(S) (I, error)
}

func (m mapped[S, I]) Len() int            { return len(m.samples) }
func (m mapped[S, I]) At(i int) (I, error) { return m.item(m.samples[i]) }

// Collect reads a sequence to its end and keeps its items in memory.
func Collect[I any](seq iter.Seq2[I, error]) (Items[I], error) {
	var items Items[I]
	for item, err := range seq {
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}
