package corpus

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Split parts the rows into those to train on and those to test on, each in the order of the file.
// test says how:
//
//   - "0.1": that share, drawn by the seed, with every class in its proportion. Every class keeps
//     a row to train on.
//   - "every 10": the rows 0, 10, 20, ...
//   - "": none.
func (t *Table) Split(test string, seed uint64) (train, held *Table, err error) {
	var chosen []bool
	if n, ok := strings.CutPrefix(strings.TrimSpace(test), "every "); ok {
		chosen, err = t.every(strings.TrimSpace(n))
	} else if test == "" {
		return t.pick(func(int) bool { return true }), t.pick(func(int) bool { return false }), nil
	} else {
		chosen, err = t.share(strings.TrimSpace(test), seed)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("split %q: %w", test, err)
	}
	train = t.pick(func(i int) bool { return !chosen[i] })
	held = t.pick(func(i int) bool { return chosen[i] })
	if len(held.Rows) == 0 || len(train.Rows) == 0 {
		return nil, nil, fmt.Errorf("split %q: of the %d rows of %s it puts %d into training and %d into the test",
			test, len(t.Rows), t.Path, len(train.Rows), len(held.Rows))
	}
	return train, held, nil
}

func (t *Table) every(number string) ([]bool, error) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 2 {
		return nil, fmt.Errorf("%q is not a whole number from 2 up", number)
	}
	chosen := make([]bool, len(t.Rows))
	for i := 0; i < len(chosen); i += n {
		chosen[i] = true
	}
	return chosen, nil
}

func (t *Table) share(number string, seed uint64) ([]bool, error) {
	share, err := strconv.ParseFloat(number, 64)
	if err != nil || !(0 < share && share < 1) {
		return nil, fmt.Errorf(`expected a share between 0 and 1, such as "0.1", or a step, such as "every 10"`)
	}
	rows := map[string][]int{}
	for i, r := range t.Rows {
		rows[r.Label] = append(rows[r.Label], i)
	}
	classes := t.Classes()
	if len(rows[""]) > 0 { // a table without labels is one class
		classes = append(classes, "")
	}

	// Largest remainders: whole rows for each class, and the rest to those that lost most by it.
	type quota struct {
		class string
		rows  int
		rest  float64
	}
	left := int(math.Round(share * float64(len(t.Rows))))
	quotas := make([]quota, len(classes))
	for i, c := range classes {
		whole, rest := math.Modf(share * float64(len(rows[c])))
		quotas[i] = quota{c, int(whole), rest}
		left -= int(whole)
	}
	slices.SortStableFunc(quotas, func(a, b quota) int { return cmp.Compare(b.rest, a.rest) })
	for i := range quotas[:max(0, min(left, len(quotas)))] {
		quotas[i].rows++
	}
	take := map[string]int{}
	for _, q := range quotas {
		take[q.class] = min(q.rows, len(rows[q.class])-1)
	}

	random := rand.New(rand.NewPCG(seed, 0x7468617773706c74)) // "thawsplt": a stream of its own
	chosen := make([]bool, len(t.Rows))
	for _, c := range classes {
		random.Shuffle(len(rows[c]), func(i, j int) { rows[c][i], rows[c][j] = rows[c][j], rows[c][i] })
		for _, i := range rows[c][:take[c]] {
			chosen[i] = true
		}
	}
	return chosen, nil
}

// pick returns the table of the rows that keep says yes to.
func (t *Table) pick(keep func(i int) bool) *Table {
	part := &Table{Path: t.Path, Columns: t.Columns}
	for i, r := range t.Rows {
		if keep(i) {
			part.Rows = append(part.Rows, r)
			part.count(r)
		}
	}
	return part
}
