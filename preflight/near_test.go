package preflight_test

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/preflight"
)

// sentences are texts of words that a seed draws.
func sentences(n int, seed uint64) (texts preflight.Keys) {
	g := rand.New(rand.NewPCG(seed, 1))
	for range n {
		words := make([]string, 20)
		for i := range words {
			for range 2 + g.IntN(6) {
				words[i] += string(rune('a' + g.IntN(26)))
			}
		}
		texts = append(texts, strings.Join(words, " "))
	}
	return texts
}

func TestNearTexts(t *testing.T) {
	train, test := sentences(500, 1), sentences(500, 2)
	test[3] = strings.ToUpper(train[7]) + " !"                    // other case and punctuation
	test[9] = strings.Replace(train[8], " ", " and ", 1)          // one word more
	test[10] = train[11]                                          // exact copies are not counted
	test[12] = train[13][:len(train[13])/2] + test[12]            // half of it is another text
	train[490] = strings.Replace(train[20], train[20][:3], "", 1) // within training
	train[491] = train[21]
	train[492], test[13] = "", "  ?! "
	train[493], test[14] = "ok", "OK."
	labels := times(500, "bad")
	var r preflight.Report
	require.NoError(t, r.CheckNearTexts(t.Context(), of("train", labels...), of("test", labels...), train, test))
	var found []string
	f := find(t, &r, preflight.NearDuplicates)
	for _, c := range f.First {
		found = append(found, c.Where+" ~ "+c.Other)
	}
	assert.Equal(t, []string{"test:5 ~ train:9", "test:11 ~ train:10", "test:16 ~ train:495"}, found)
	assert.Equal(t, preflight.Warning, f.Grade)
	assert.Equal(t, "3 test texts (0.6 %) are nearly a training text, exact copies not counted", f.Text)
	assert.Contains(t, f.First[0].String(), "test:5 ~ train:9  \"")
	f = find(t, &r, preflight.NearRepeated)
	require.Equal(t, 1, f.Count)
	assert.Contains(t, f.First[0].String(), "train:492 ~ train:22  \"")
}

// Every pair with a share above the threshold is found, whatever the texts: a text is cut by one word after the other.
func TestNearTextsByShare(t *testing.T) {
	const n = 400
	train := sentences(n, 3)
	for words, want := range map[int]bool{0: true, 1: true, 8: false} {
		test := make(preflight.Keys, n)
		for i, text := range train {
			fields := strings.Fields(text)
			test[i] = strings.Join(fields[words:], " ") + "." // never an exact copy
		}
		var r preflight.Report
		labels := times(n, "bad")
		require.NoError(t, r.CheckNearTexts(t.Context(), of("train", labels...), of("test", labels...), train, test))
		count := 0
		if len(r.Findings) > 0 {
			count = find(t, &r, preflight.NearDuplicates).Count
		}
		assert.Equal(t, want, count > n*98/100, "%d words less: %d found", words, count)
		assert.Equal(t, !want, count == 0, "%d words less: %d found", words, count)
	}
}

func TestNearTextsOfOneTemplate(t *testing.T) {
	// 20,000 rows that all are near one another take no time that grows with their square.
	texts := make(preflight.Keys, 20_000)
	for i := range texts {
		texts[i] = fmt.Sprintf("your order number %d has been sent to the address that you gave us and arrives tomorrow", i)
	}
	labels := times(len(texts)/2, "bad")
	var r preflight.Report
	require.NoError(t, r.CheckNearTexts(t.Context(), of("train", labels...), of("test", labels...), texts[:10_000], texts[10_000:]))
	assert.Greater(t, find(t, &r, preflight.NearDuplicates).Count, 9_900)
}

func TestNearTextsEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var r preflight.Report
	texts := sentences(10, 1)
	labels := times(10, "bad")
	assert.ErrorIs(t, r.CheckNearTexts(ctx, of("train", labels...), of("test", labels...), texts, texts), context.Canceled)
}

// scene draws smooth shapes that a seed places, at a size.
func scene(seed uint64, width, height int, shift int) []byte {
	g := rand.New(rand.NewPCG(seed, 2))
	type blob struct{ x, y, r, v float64 }
	blobs := make([]blob, 12)
	for i := range blobs {
		blobs[i] = blob{g.Float64(), g.Float64(), 0.05 + 0.3*g.Float64(), 40 + 60*g.Float64()}
	}
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	var pixels []byte
	for y := range height {
		for x := range width {
			v := 60.0 + float64(shift)
			for _, b := range blobs {
				dx, dy := float64(x)/float64(width)-b.x, float64(y)/float64(height)-b.y
				if d := (dx*dx + dy*dy) / (b.r * b.r); d < 1 {
					v += b.v * (1 - d)
				}
			}
			c := uint8(min(255, v))
			m.Set(x, y, color.RGBA{c, c, c, 255})
			pixels = append(pixels, c, c, c)
		}
	}
	return pixels
}

func TestNearPictures(t *testing.T) {
	const n = 40
	hash := func(seed uint64, width, height, shift int) preflight.PictureHash {
		return preflight.HashPicture(width, height, scene(seed, width, height, shift))
	}
	var train, test []preflight.PictureHash
	trainKeys, testKeys := make(preflight.Keys, n), make(preflight.Keys, n)
	for i := range uint64(n) {
		train, test = append(train, hash(i, 160, 120, 0)), append(test, hash(1000+i, 160, 120, 0))
	}
	test[4] = hash(5, 640, 480, 0)               // larger
	test[6] = hash(7, 90, 70, 3)                 // smaller, and a little brighter
	test[8] = hash(9, 160, 120, 60)              // much brighter: another picture
	test[10], testKeys[10] = train[11], "copied" // counted elsewhere
	trainKeys[11] = "copied"
	test[12] = preflight.PictureHash{} // unreadable, as is
	train[13] = preflight.PictureHash{}
	var r preflight.Report
	labels := times(n, "bad")
	other := of("test", labels...)
	other.labels[4] = []string{"good"}
	require.NoError(t, r.CheckNearPictures(t.Context(), of("train", labels...), other, train, test, trainKeys, testKeys))
	f := find(t, &r, preflight.NearDuplicates)
	require.Equal(t, 2, f.Count, f.First)
	assert.Equal(t, `test:6 ~ train:7  labelled "good", and "bad" in training`, f.First[0].String())
	assert.Equal(t, "test:8 ~ train:9", f.First[1].String())
}

func TestHashOfNothing(t *testing.T) {
	assert.Equal(t, preflight.PictureHash{}, preflight.HashPicture(0, 10, nil))
	assert.Equal(t, preflight.PictureHash{}, preflight.HashPicture(10, 10, make([]byte, 299)))
	assert.NotEqual(t, preflight.PictureHash{}, preflight.HashPicture(1, 1, []byte{9, 9, 9}), "of one pixel all points are that")
}

func BenchmarkNearTexts(b *testing.B) {
	const n = 100_000
	texts := sentences(n, 1)
	labels := times(n/2, "bad")
	for b.Loop() {
		var r preflight.Report
		if err := r.CheckNearTexts(b.Context(), of("train", labels...), of("test", labels...), texts[:n/2], texts[n/2:]); err != nil {
			b.Fatal(err)
		}
	}
}
