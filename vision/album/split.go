package album

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Each use of a seed has a stream of its own.
const (
	splitStream = 0x7468617773706c74 // "thawsplt"
	limitStream = 0x746861776c696d74 // "thawlimt"
)

// Split parts the pictures into those to train on and those to test on, each in the album's order. test says how:
//
//   - "0.1": that share, drawn by the seed from each class: the class's share of its pictures, rounded down or up so
//     that all together is right. A class of two pictures or more has at least one in either part, and a class of one
//     keeps it for training: with many classes so small, all together can be another number.
//   - "every 10": the pictures 0, 10, 20, ...
//   - "": none.
//
// The same album, test and seed give the same parts, always.
func (a *Album) Split(test string, seed uint64) (train, held *Album, err error) {
	var chosen []bool
	test = strings.TrimSpace(test)
	if n, ok := strings.CutPrefix(test, "every "); ok {
		chosen, err = a.every(strings.TrimSpace(n))
	} else if test == "" {
		return a.pick(func(int) bool { return true }), a.pick(func(int) bool { return false }), nil
	} else {
		chosen, err = a.share(test, seed)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("split %q: %w", test, err)
	}
	train = a.pick(func(i int) bool { return !chosen[i] })
	held = a.pick(func(i int) bool { return chosen[i] })
	if held.Len() == 0 || train.Len() == 0 {
		return nil, nil, fmt.Errorf("split %q: of the %d pictures of %s it puts %d into training and %d into the test",
			test, a.Len(), a.Source, train.Len(), held.Len())
	}
	return train, held, nil
}

func (a *Album) every(number string) ([]bool, error) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 2 {
		return nil, fmt.Errorf("%q is not a whole number from 2 up", number)
	}
	chosen := make([]bool, a.Len())
	for i := 0; i < len(chosen); i += n {
		chosen[i] = true
	}
	return chosen, nil
}

func (a *Album) share(number string, seed uint64) ([]bool, error) {
	share, err := strconv.ParseFloat(number, 64)
	if err != nil || !(0 < share && share < 1) {
		return nil, errors.New(`expected a share between 0 and 1, such as "0.1", or a step, such as "every 10"`)
	}
	return a.draw(seed, splitStream, quotas(a.Counts(), share)), nil
}

// quotas returns how many pictures of each class are held back, by largest remainders: whole ones for each class, and
// the rest to those that lost most by it.
func quotas(counts []int, share float64) []int {
	n := make([]int, len(counts))
	rest := make([]float64, len(counts))
	order := make([]int, len(counts))
	sum := 0
	for c, count := range counts {
		exact := share * float64(count)
		n[c] = int(exact)
		if count >= 2 {
			n[c] = max(1, n[c])
		}
		sum += count
		rest[c], order[c] = exact-float64(n[c]), c
	}
	left := int(math.Round(share * float64(sum)))
	for _, k := range n {
		left -= k
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rest[b], rest[a]) })
	for _, c := range order {
		if left > 0 && rest[c] > 0 && n[c]+1 < counts[c] {
			n[c]++
			left--
		}
	}
	return n
}

// Limit returns the album of perClass pictures of each class, or of all where a class has no more. The seed decides
// which; those of a smaller number are among those of a larger one. They keep their order.
func (a *Album) Limit(perClass int, seed uint64) *Album {
	counts := a.Counts()
	for c := range counts {
		counts[c] = min(max(perClass, 0), counts[c])
	}
	chosen := a.draw(seed, limitStream, counts)
	return a.pick(func(i int) bool { return chosen[i] })
}

// draw chooses n[c] pictures of each class c.
func (a *Album) draw(seed, stream uint64, n []int) []bool {
	of := make([][]int, len(a.Classes))
	for i, it := range a.items {
		of[it.class] = append(of[it.class], i)
	}
	random := rand.New(rand.NewPCG(seed, stream))
	chosen := make([]bool, len(a.items))
	for c, list := range of {
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for _, i := range list[:n[c]] {
			chosen[i] = true
		}
	}
	return chosen
}
