package preflight

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"

	"github.com/thaw-ml/thaw/internal/suggest"
)

// Two texts are nearly the same when of the pieces of pieceLength letters that either has, in lower case and without
// punctuation, they share at least nearShare (Jaccard's index; Broder 1997).
const (
	pieceLength = 5
	nearShare   = 0.8
)

// A signature estimates that share: bands of bandRows values each, the smallest hashes of the pieces that fall into a
// value's bin (one permutation hashing; Li, Owen and Zhang 2012), empty bins taking that of another (Shrivastava 2017).
// Texts of which one whole band agrees are compared: with 16 bands of 5 that is 99.8 % of those that share 0.8, and 4 %
// of those that share 0.3.
const (
	bands    = 16
	bandRows = 5
	values   = bands * bandRows
)

type signature [values]uint32

// mostCompared is the number of training texts that a text is compared with at most, those that come first; mostInBand
// that which one band proposes.
const (
	mostCompared = 64
	mostInBand   = 16
)

// CheckNearTexts finds test texts that are nearly a training text, and training texts that are nearly an earlier one.
// Exact copies, which have equal keys, are CheckCopies' own. Both are warnings: texts of one template are near one
// another too. 100,000 texts of a few sentences take some seconds on two cores. Only ctx's end is an error.
func (r *Report) CheckNearTexts(ctx context.Context, train, test Rows, trainTexts, testTexts Keys) error {
	repeatedKey := map[string]bool{}
	skip := make([]bool, len(trainTexts)) // exact copies of earlier texts
	for i, text := range trainTexts {
		skip[i] = text == "" || repeatedKey[text]
		repeatedKey[text] = true
	}
	skipTest := make([]bool, len(testTexts))
	for i, text := range testTexts {
		skipTest[i] = text == "" || repeatedKey[text]
	}
	trainTable, err := newTable(ctx, trainTexts, skip)
	if err != nil {
		return err
	}
	testTable, err := newTable(ctx, testTexts, skipTest)
	if err != nil {
		return err
	}
	across, err := near(ctx, testTable, trainTable, false)
	if err != nil {
		return err
	}
	within, err := near(ctx, trainTable, trainTable, true)
	if err != nil {
		return err
	}
	list := func(rows Rows, texts Keys, found []int32) (cases []Case) {
		for i, at := range found {
			if at >= 0 {
				cases = append(cases, Case{
					Where: rows.Where(i), Other: train.Where(int(at)), What: suggest.Quote(texts[i]), near: true,
				})
			}
		}
		return cases
	}
	leaked, repeated := list(test, testTexts, across), list(train, trainTexts, within)
	r.Add(NearDuplicates, Warning, test.Len(), some(len(leaked), test.Len(), "test text", "test texts")+
		" nearly a training text, exact copies not counted", leaked)
	r.Add(NearRepeated, Warning, train.Len(), some(len(repeated), train.Len(), "training text", "training texts")+
		" nearly an earlier one, exact copies not counted", repeated)
	return nil
}

// textTable is texts with what finds near ones.
type textTable struct {
	texts      Keys
	skip       []bool // without a signature: empty, or not asked for
	signatures []signature
}

func newTable(ctx context.Context, texts Keys, skip []bool) (*textTable, error) {
	t := &textTable{texts, skip, make([]signature, len(texts))}
	err := parallel(ctx, len(texts), func() func(i int) {
		var pieces []uint64
		return func(i int) {
			if skip[i] {
				return
			}
			if pieces = appendPieces(pieces[:0], texts[i]); len(pieces) == 0 {
				skip[i] = true
				return
			}
			t.signatures[i] = sign(pieces)
		}
	})
	return t, err
}

// appendPieces hashes every pieceLength letters of a text in lower case, what is no letter and no digit being one
// space. A shorter text is one piece; one without letters has none.
func appendPieces(pieces []uint64, text string) []uint64 {
	var letters []rune
	for _, c := range text {
		if unicode.IsLetter(c) || unicode.IsDigit(c) || unicode.IsMark(c) {
			letters = append(letters, unicode.ToLower(c))
		} else if n := len(letters); n > 0 && letters[n-1] != ' ' {
			letters = append(letters, ' ')
		}
	}
	if n := len(letters); n > 0 && letters[n-1] == ' ' {
		letters = letters[:n-1]
	}
	if len(letters) == 0 {
		return pieces
	}
	for i := 0; i == 0 || i+pieceLength <= len(letters); i++ {
		h := uint64(len(letters[i:min(len(letters), i+pieceLength)]))
		for _, c := range letters[i:min(len(letters), i+pieceLength)] {
			h = mix(h ^ uint64(c))
		}
		pieces = append(pieces, h)
	}
	return pieces
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func sign(pieces []uint64) (s signature) {
	var filled [values]bool
	for _, h := range pieces {
		bin := int((h >> 32) * values >> 32)
		if v := uint32(h); !filled[bin] || v < s[bin] {
			s[bin], filled[bin] = v, true
		}
	}
	for bin := range s {
		from := bin
		for attempt := uint64(1); !filled[from]; attempt++ {
			from = int(mix(uint64(bin)<<32|attempt) % values)
		}
		if from != bin {
			s[bin] = s[from] // not marked as filled: what others take are texts' own values
		}
	}
	return s
}

// banded is a text in a band: texts with equal hashes agree in the whole band.
type banded struct {
	hash uint64
	text int32
}

func (t *textTable) band(b int) []banded {
	list := make([]banded, 0, len(t.texts))
	for i, s := range t.signatures {
		if t.skip[i] {
			continue
		}
		h := uint64(b)
		for _, v := range s[b*bandRows : (b+1)*bandRows] {
			h = mix(h ^ uint64(v))
		}
		list = append(list, banded{h, int32(i)})
	}
	slices.SortFunc(list, func(a, b banded) int {
		switch {
		case a.hash < b.hash, a.hash == b.hash && a.text < b.text:
			return -1
		}
		return 1
	})
	return list
}

// near gives for each of the texts the first of the others that it is nearly the same as, or -1. Where both are the
// same texts, only earlier ones count.
func near(ctx context.Context, of, others *textTable, earlier bool) ([]int32, error) {
	candidates := make([][][]int32, bands)
	err := parallel(ctx, bands, func() func(int) {
		return func(b int) {
			found := make([][]int32, len(of.texts))
			list, with := of.band(b), others.band(b)
			for at, i := 0, 0; i < len(list); i++ {
				for at < len(with) && with[at].hash < list[i].hash {
					at++
				}
				for k := at; k < len(with) && with[k].hash == list[i].hash && len(found[list[i].text]) < mostInBand; k++ {
					if earlier && with[k].text >= list[i].text {
						break
					}
					found[list[i].text] = append(found[list[i].text], with[k].text)
				}
			}
			candidates[b] = found
		}
	})
	if err != nil {
		return nil, err
	}
	out := make([]int32, len(of.texts))
	err = parallel(ctx, len(out), func() func(int) {
		lists := make([][]int32, bands)
		return func(i int) {
			out[i] = -1
			for b := range lists {
				lists[b] = candidates[b][i]
			}
			tried := merge(lists, mostCompared)
			if len(tried) == 0 {
				return
			}
			own := pieceSet(of.texts[i])
			for _, k := range tried {
				if agreement(&of.signatures[i], &others.signatures[k]) > nearShare-0.2 &&
					share(own, pieceSet(others.texts[k])) >= nearShare {
					out[i] = k
					return
				}
			}
		}
	})
	return out, err
}

// agreement is the share of values that two signatures have in common, which estimates that of the pieces.
func agreement(a, b *signature) float64 {
	n := 0
	for i := range a {
		if a[i] == b[i] {
			n++
		}
	}
	return float64(n) / values
}

func pieceSet(text string) []uint64 {
	pieces := appendPieces(nil, text)
	slices.Sort(pieces)
	return slices.Compact(pieces)
}

// share is Jaccard's index of two sorted sets.
func share(a, b []uint64) float64 {
	both := 0
	for i, k := 0, 0; i < len(a) && k < len(b); {
		switch {
		case a[i] < b[k]:
			i++
		case a[i] > b[k]:
			k++
		default:
			both, i, k = both+1, i+1, k+1
		}
	}
	return float64(both) / float64(len(a)+len(b)-both)
}

// parallel calls what start gives, on each of as many goroutines as there are cores, with 0 to n-1.
func parallel(ctx context.Context, n int, start func() func(i int)) error {
	const chunk = 256
	size := chunk
	if n <= 4*chunk {
		size = 1
	}
	var next atomic.Int64
	var busy sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		busy.Go(func() {
			f := start()
			for ctx.Err() == nil {
				from := int(next.Add(int64(size))) - size
				if from >= n {
					return
				}
				for i := from; i < min(from+size, n); i++ {
					f(i)
				}
			}
		})
	}
	busy.Wait()
	return ctx.Err()
}

// TextKey is the key of a text, or of a pair of texts: equal keys are equal texts, to the last space.
func TextKey(text, pair string) string {
	if pair == "" {
		return text
	}
	return strings.Join([]string{text, pair}, "\x00")
}
