package boxes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/torchtest"
	"github.com/thaw-ml/thaw/vision/detection/boxes"
)

type nmsCase struct {
	Key                        string
	N                          int
	Extent, Largest, Threshold float64
	Steps, Classes             int
	Odd                        bool
	Kept                       []int
}

// inputs are those of testdata/boxes.py.
func (c nmsCase) inputs() ([]boxes.Box, []float32) {
	b, s := someBoxes(c.Key, c.N, float32(c.Extent), float32(c.Largest)), numbers(c.Key+".scores", c.N, 0.5, 0.5)
	if c.Key == "edge" || c.Key == "one" {
		for i := range b {
			for k := range b[i] {
				b[i][k] = float32(math.RoundToEven(float64(b[i][k])))
			}
		}
	}
	if c.Steps > 0 {
		for i := range s {
			s[i] = float32(math.Floor(float64(s[i]*float32(c.Steps)))) / float32(c.Steps)
		}
	}
	if c.Odd {
		nan, inf := float32(math.NaN()), float32(math.Inf(1))
		b[3][2], b[3][3] = b[3][0], b[3][1]
		b[5][2] = b[5][0] - 4
		b[7][2], b[7][3] = b[7][0]-3, b[7][1]-3
		b[11] = b[10]
		b[20][0], b[21][3] = nan, inf
		s[9], s[13], s[14], s[15], s[16] = nan, inf, -inf, 0, float32(math.Copysign(0, -1))
	}
	return b, s
}

func TestNMSIsTorchvisions(t *testing.T) {
	g := torchtest.Golden[struct{ NMS, Batched []nmsCase }](t, "boxes.json.gz")
	require.Len(t, g.NMS, 12)
	for _, c := range g.NMS {
		b, s := c.inputs()
		assert.Equal(t, c.Kept, boxes.NMS(b, s, c.Threshold), c.Key)
	}
	require.Len(t, g.Batched, 4)
	for _, c := range g.Batched {
		b, s := c.inputs()
		assert.Equal(t, c.Kept, boxes.BatchedNMS(b, s, torchtest.Whole(c.Key+".classes", c.N, c.Classes), c.Threshold), c.Key)
	}
}

// plainNMS looks at every pair.
func plainNMS(b []boxes.Box, scores []float32, threshold float64) (kept []int) {
	order := make([]int, len(b))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case scores[i] > scores[j]:
			return -1
		case scores[i] < scores[j]:
			return 1
		}
		return 0
	})
	area := func(b boxes.Box) float32 { return float32((b[2] - b[0]) * (b[3] - b[1])) }
	for _, j := range order {
		if !slices.ContainsFunc(kept, func(i int) bool {
			w, h := min(b[i][2], b[j][2])-max(b[i][0], b[j][0]), min(b[i][3], b[j][3])-max(b[i][1], b[j][1])
			inter := float32(max(w, 0) * max(h, 0))
			return float64(inter/(area(b[i])+area(b[j])-inter)) > threshold
		}) {
			kept = append(kept, j)
		}
	}
	return kept
}

// Whatever the sizes and places, the grid leaves nothing out.
func TestNMSOfAnySizes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 60 {
		n := 201 + rng.IntN(1500)
		b, scores := make([]boxes.Box, n), make([]float32, n)
		extent := math.Pow(10, rng.Float64()*5-1)
		crowded, far := rng.Float64()*3, float32(rng.IntN(2)*100000)
		for i := range b {
			x, y := float32(rng.Float64()*extent)+far, float32(rng.Float64()*extent)
			w, h := extent*math.Pow(10, -crowded*rng.Float64()), extent*math.Pow(10, -crowded*rng.Float64())
			b[i] = boxes.Box{x, y, x + float32(w), y + float32(h)}
			scores[i] = float32(rng.IntN(1000))
		}
		for _, threshold := range []float64{0, 0.01, 0.2, 0.5, 0.6, 0.95} {
			require.Equal(t, plainNMS(b, scores, threshold), boxes.NMS(b, scores, threshold), "round %d, threshold %v", round, threshold)
		}
	}
}

func TestNMSOfNothing(t *testing.T) {
	assert.Empty(t, boxes.NMS(nil, nil, 0.5))
	assert.Empty(t, boxes.BatchedNMS(nil, nil, nil, 0.5))
	assert.PanicsWithValue(t, "boxes: NMS of 1 boxes with 0 scores", func() { boxes.NMS(make([]boxes.Box, 1), nil, 0.5) })
	assert.Panics(t, func() { boxes.BatchedNMS(make([]boxes.Box, 1), make([]float32, 1), nil, 0.5) })
}

func ExampleNMS() {
	b := []boxes.Box{{0, 0, 10, 10}, {1, 0, 11, 10}, {20, 0, 30, 10}}
	fmt.Println(boxes.NMS(b, []float32{0.7, 0.9, 0.8}, 0.5))
	fmt.Println(boxes.BatchedNMS(b, []float32{0.7, 0.9, 0.8}, []int{1, 2, 1}, 0.5))
	// Output:
	// [1 2]
	// [1 2 0]
}

func BenchmarkNMS(b *testing.B) {
	c := nmsCase{Key: "bench", N: 20000, Extent: 1000, Largest: 120}
	all, scores := c.inputs()
	for b.Loop() {
		boxes.NMS(all, scores, 0.5)
	}
}
