package data

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

// Split chooses the samples to test on; the others are trained on. classes are the samples' class numbers from 0;
// samples without classes are all of class 0. how says which:
//
//   - "0.1": that share, drawn by the seed from each class: the class's share of its samples, rounded down or up so that all
//     together is right. A class of two samples or more has at least one in either part, and a class of one keeps it for
//     training: with many classes so small, all together can be another number.
//   - "every 10": the samples 0, 10, 20, ...
//   - "": none.
//
// The same classes, how and seed choose the same samples, always. It is an error when either part is empty, unless how
// is "".
func Split(classes []int, how string, seed uint64) (test []bool, err error) {
	how = strings.TrimSpace(how)
	if how == "" {
		return make([]bool, len(classes)), nil
	}
	if n, ok := strings.CutPrefix(how, "every "); ok {
		test, err = every(len(classes), strings.TrimSpace(n))
	} else {
		test, err = share(classes, how, seed)
	}
	if err != nil {
		return nil, fmt.Errorf("split %q: %w", how, err)
	}
	held := 0
	for _, chosen := range test {
		if chosen {
			held++
		}
	}
	if held == 0 || held == len(classes) {
		return nil, fmt.Errorf("split %q: of %d samples it puts %d into training and %d into the test",
			how, len(classes), len(classes)-held, held)
	}
	return test, nil
}

func every(samples int, step string) ([]bool, error) {
	n, err := strconv.Atoi(step)
	if err != nil || n < 2 {
		return nil, fmt.Errorf("%q is not a whole number from 2 up", step)
	}
	chosen := make([]bool, samples)
	for i := 0; i < len(chosen); i += n {
		chosen[i] = true
	}
	return chosen, nil
}

func share(classes []int, number string, seed uint64) ([]bool, error) {
	share, err := strconv.ParseFloat(number, 64)
	if err != nil || !(0 < share && share < 1) {
		return nil, errors.New(`expected a share between 0 and 1, such as "0.1", or a step, such as "every 10"`)
	}
	return draw(classes, seed, splitStream, quotas(count(classes), share)), nil
}

// quotas returns how many samples of each class are tested on, by largest remainders: whole ones for each class, and
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

// Limit chooses perClass samples of each class, or all of a class that has no more. The seed decides which; those of a
// smaller number are among those of a larger one.
func Limit(classes []int, perClass int, seed uint64) []bool {
	counts := count(classes)
	for c := range counts {
		counts[c] = min(max(perClass, 0), counts[c])
	}
	return draw(classes, seed, limitStream, counts)
}

// count gives the number of samples of each class.
func count(classes []int) []int {
	var counts []int
	for _, c := range classes {
		for c >= len(counts) {
			counts = append(counts, 0)
		}
		counts[c]++
	}
	return counts
}

// draw chooses n[c] samples of each class c.
func draw(classes []int, seed, stream uint64, n []int) []bool {
	of := make([][]int, len(n))
	for i, c := range classes {
		of[c] = append(of[c], i)
	}
	random := rand.New(rand.NewPCG(seed, stream))
	chosen := make([]bool, len(classes))
	for c, list := range of {
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for _, i := range list[:n[c]] {
			chosen[i] = true
		}
	}
	return chosen
}
