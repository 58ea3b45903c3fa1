package preflight

import (
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/internal/quantity"
)

// Lengths are the lengths of texts in tokens, with the special ones, cut where the model cuts them.
type Lengths struct {
	Median  int `json:"median"`
	P95     int `json:"p95"`
	Longest int `json:"longest"`
	Cut     int `json:"cut"`   // texts that were longer
	Limit   int `json:"limit"` // data.max_length
}

// CheckLengths notes how long texts are. lengths are those of all samples in tokens after they were cut at limit, and
// cut are the rows that were.
func (r *Report) CheckLengths(lengths []int, limit int, cut []Case) {
	if len(lengths) == 0 {
		return
	}
	sorted := slices.Sorted(slices.Values(lengths))
	r.Tokens = &Lengths{
		Median: sorted[len(sorted)/2], P95: sorted[len(sorted)*95/100], Longest: sorted[len(sorted)-1], Cut: len(cut), Limit: limit,
	}
	r.Add(Truncated, Warning, len(lengths), fmt.Sprintf("%s longer than %d tokens (data.max_length): the rest is not seen",
		some(len(cut), len(lengths), "text", "texts"), limit), cut)
}

// Sizes are the sizes of pictures in pixels.
type Sizes struct {
	Smallest [2]int `json:"smallest"` // by its shorter side: width and height
	Median   int    `json:"median"`   // of the shorter sides
	Largest  [2]int `json:"largest"`
	Input    int    `json:"input"` // a side of what the model sees
}

// Size is the width and the height of a picture; 0 and 0 where they are not known.
type Size struct{ Width, Height int }

// CheckSizes compares the pictures' sizes with the side of the square that the model sees. Warnings are pictures of
// which the shorter side is less than half of that, so that they are blown up, and pictures that are more than three
// times as long as wide, of which the middle square shows less than a third.
func (r *Report) CheckSizes(sizes []Size, where func(i int) string, input int) {
	s := &Sizes{Input: input}
	var short []int
	var small, narrow []Case
	for i, p := range sizes {
		side, long := min(p.Width, p.Height), max(p.Width, p.Height)
		if side <= 0 {
			continue
		}
		if len(short) == 0 || side < min(s.Smallest[0], s.Smallest[1]) {
			s.Smallest = [2]int{p.Width, p.Height}
		}
		if side > min(s.Largest[0], s.Largest[1]) {
			s.Largest = [2]int{p.Width, p.Height}
		}
		short = append(short, side)
		pixels := fmt.Sprintf("%d x %d pixels", p.Width, p.Height)
		if 2*side < input {
			small = append(small, Case{Where: where(i), What: pixels})
		}
		if long > 3*side {
			narrow = append(narrow, Case{Where: where(i), What: pixels})
		}
	}
	if len(short) == 0 {
		return
	}
	slices.Sort(short)
	s.Median = short[len(short)/2]
	r.Pictures = s
	r.Add(SmallPictures, Warning, len(sizes), fmt.Sprintf("%s less than half as large as the model's input, %d pixels: they are blown up; images.size makes the input smaller",
		some(len(small), len(sizes), "picture", "pictures"), input), small)
	r.Add(NarrowPictures, Warning, len(sizes), some(len(narrow), len(sizes), "picture", "pictures")+
		" more than three times as long as wide: an evaluation sees the middle square alone", narrow)
}

// CheckTexts notes rows without text and rows whose bytes were replaced: they are kept as they are.
func (r *Report) CheckTexts(empty, notUTF8 []Case, all int) {
	r.Add(EmptyTexts, Warning, all, fmt.Sprintf("%s without a text, kept as they are", quantity.Count(len(empty), "row", "rows")), empty)
	r.Add(NotUTF8, Warning, all, fmt.Sprintf("%s with bytes that are not UTF-8, kept with U+FFFD in their place",
		quantity.Count(len(notUTF8), "row", "rows")), notUTF8)
}
