package tokenizer

import (
	"cmp"
	"slices"
)

// trie is a set of byte strings with values, in a double array (Aoe, 1989): the child of node n
// under byte b is cell base[n]+b, if that cell's parent is n.
type trie struct {
	cells []cell
}

type cell struct {
	base   int32
	parent int32 // -1: free; -2: the root
	value  int32 // -1: no string ends here
}

type trieEntry struct {
	key   string
	value int32
}

const noValue = -1

// newTrie builds the trie of entries, whose keys differ. An empty key is left out.
func newTrie(entries []trieEntry) *trie {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b trieEntry) int { return cmp.Compare(a.key, b.key) })
	b := trieBuilder{free: 1}
	b.grow(512)
	b.cells[0] = cell{parent: -2, value: noValue}
	for len(entries) > 0 && entries[0].key == "" {
		entries = entries[1:]
	}
	b.place(0, entries)
	// Behind the last node there is room for any byte, so that a lookup needs no bound.
	last := len(b.cells) - 1
	for last > 0 && b.cells[last].parent < 0 {
		last--
	}
	b.grow(last + 1 + 256)
	return &trie{cells: slices.Clip(b.cells[:last+1+256])}
}

// longest returns the length and value of the longest key that begins s[from:], or 0 and noValue.
func longest[T string | []byte](t *trie, s T, from int) (length int, value int32) {
	cells := t.cells
	node, value := int32(0), int32(noValue)
	for i := from; i < len(s); i++ {
		next := cells[node].base + int32(s[i])
		if cells[next].parent != node {
			break
		}
		node = next
		if v := cells[node].value; v != noValue {
			length, value = i+1-from, v
		}
	}
	return length, value
}

type trieBuilder struct {
	cells []cell
	free  int // cells below are taken, or given up
}

func (b *trieBuilder) grow(n int) {
	for len(b.cells) < n {
		b.cells = append(b.cells, cell{parent: -1, value: noValue})
	}
}

// pending is a node whose children are still to be placed: the entries share depth bytes.
type pending struct {
	node    int32
	depth   int
	entries []trieEntry
}

func (b *trieBuilder) place(root int32, entries []trieEntry) {
	queue := []pending{{node: root, entries: entries}}
	var groups []pending
	var labels []byte
	for len(queue) > 0 {
		p := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		groups, labels = groups[:0], labels[:0]
		for rest := p.entries; len(rest) > 0; {
			label := rest[0].key[p.depth]
			n := 1
			for n < len(rest) && rest[n].key[p.depth] == label {
				n++
			}
			groups = append(groups, pending{depth: p.depth + 1, entries: rest[:n]})
			labels = append(labels, label)
			rest = rest[n:]
		}
		if len(groups) == 0 {
			continue
		}
		base := b.fit(labels)
		b.cells[p.node].base = int32(base)
		for i, g := range groups {
			g.node = int32(base) + int32(labels[i])
			b.cells[g.node] = cell{parent: p.node, value: noValue}
			if g.entries[0].key != "" && len(g.entries[0].key) == g.depth {
				b.cells[g.node].value = g.entries[0].value
				g.entries = g.entries[1:]
			}
			queue = append(queue, g)
		}
	}
}

// fit finds a base at which every label's cell is free.
func (b *trieBuilder) fit(labels []byte) int {
	first := int(labels[0])
	start := max(b.free, first+1)
	taken := 0
	for at := start; ; at++ {
		b.grow(at + 257)
		if b.cells[at].parent >= 0 {
			taken++
			continue
		}
		base := at - first
		if slices.ContainsFunc(labels, func(l byte) bool { return b.cells[base+int(l)].parent >= 0 }) {
			continue
		}
		// A stretch that is nearly full is not looked through again: as in Darts, a few lost
		// cells are cheaper than many looks.
		if taken*20 >= (at-start+1)*19 {
			b.free = at
		}
		return base
	}
}
