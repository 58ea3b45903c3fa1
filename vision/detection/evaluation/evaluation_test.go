package evaluation

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// golden is what testdata/coco.py wrote.
type golden struct {
	IoU, Recall []float64
	Cases       []goldenCase
}

type goldenCase struct {
	Classes  int
	Pictures []struct {
		ID                 int64
		Truths, Detections [][]float64
	}
	Stats             []float64
	PerClass          [][]float64 `json:"per_class"`
	VOC               [][]float64
	WithID0           []float64     `json:"with_id_0"`
	Precision, Scores [][][]float64 // [0.5, 0.75][class][recall]
}

func read(t *testing.T) golden {
	t.Helper()
	f, err := os.Open("testdata/coco.json.gz")
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	var g golden
	require.NoError(t, json.NewDecoder(z).Decode(&g))
	return g
}

// evaluation adds a case's pictures in some order.
func (c *goldenCase) evaluation(t *testing.T, order []int) *Evaluation {
	e := New(make([]string, c.Classes))
	for _, i := range order {
		p := c.Pictures[i]
		var truths []Truth
		var detections []Detection
		for _, v := range p.Truths {
			truths = append(truths, Truth{int(v[0]), v[1], v[2], v[3], v[4], v[5], v[6] == 1, v[7] == 1})
		}
		for _, v := range p.Detections {
			detections = append(detections, Detection{int(v[0]), v[1], v[2], v[3], v[4], v[5]})
		}
		require.NoError(t, e.Add(p.ID, truths, detections))
	}
	return e
}

const within = 1e-9

func values(n Numbers) (list []float64) {
	for _, v := range n.All() {
		list = append(list, v)
	}
	return list
}

func TestEqualsPycocotools(t *testing.T) {
	g := read(t)
	require.Len(t, g.Cases, 500)
	assert.Equal(t, g.IoU, iouThresholds[:], "to the last bit")
	assert.Equal(t, g.Recall, recallThresholds[:])
	zero, apart, curves, scored := 0, 0, 0, 0
	for i, c := range g.Cases {
		order := rand.New(rand.NewPCG(1, uint64(i))).Perm(len(c.Pictures))
		r := c.evaluation(t, order).Result()
		require.InDeltaSlice(t, c.Stats, values(r.Numbers), within, "case %d", i)
		if c.Stats[0] > 0 {
			scored++
		}
		var area, eleven mean
		for k, class := range r.Classes {
			require.InDeltaSlice(t, c.PerClass[k], values(class.Numbers), within, "case %d, class %d", i, k)
			want := []float64{-1, -1}
			if c.VOC[k] != nil {
				want = c.VOC[k]
			}
			require.InDeltaSlice(t, want, []float64{class.VOC.AP, class.VOC.AP07}, within, "case %d, class %d, VOC", i, k)
			area.add(want[0])
			eleven.add(want[1])
		}
		require.InDelta(t, area.value(), r.VOC.AP, within)
		require.InDelta(t, eleven.value(), r.VOC.AP07, within)
		if c.WithID0 != nil {
			zero++
			if math.Abs(c.WithID0[0]-c.Stats[0]) > 1e-6 {
				apart++
			}
		}
		for at, iou := range []float64{0.5, 0.75} {
			if c.Precision == nil {
				continue
			}
			for k := range r.Classes {
				points, err := r.Classes[k].Curve(iou)
				require.NoError(t, err)
				for j, p := range points {
					curves++
					require.InDelta(t, c.Precision[at][k][j], p.Precision, within)
					require.InDelta(t, c.Scores[at][k][j], p.Score, within)
				}
			}
		}
	}
	assert.Equal(t, 25, zero)
	assert.Greater(t, apart, 5, "cases in which pycocotools loses the annotation with id 0")
	assert.Greater(t, curves, 5000)
	assert.Greater(t, scored, 300)
}

// A change of the rules must not go unnoticed: each of these makes cases of the golden file fail.
func TestGoldenSeesTheRules(t *testing.T) {
	g := read(t)
	differ := func(change func(e *Evaluation)) (n int) {
		for _, c := range g.Cases {
			e := c.evaluation(t, rangeOf(len(c.Pictures)))
			change(e)
			got := values(e.Result().Numbers)
			if slices.ContainsFunc(rangeOf(12), func(i int) bool { return math.Abs(got[i]-c.Stats[i]) > within }) {
				n++
			}
		}
		return n
	}
	each := func(f func(c *class)) func(*Evaluation) {
		return func(e *Evaluation) {
			for i := range e.classes {
				f(&e.classes[i])
			}
		}
	}
	assert.Equal(t, 0, differ(func(*Evaluation) {}))
	assert.Greater(t, differ(each(func(c *class) {
		for i := range c.truths {
			c.truths[i].Crowd = false
		}
	})), 50, "crowds")
	assert.Greater(t, differ(each(func(c *class) {
		for i := range c.truths {
			c.truths[i].Area = (c.truths[i].X2 - c.truths[i].X1) * (c.truths[i].Y2 - c.truths[i].Y1)
		}
	})), 50, "areas as annotated")
	assert.Greater(t, differ(each(func(c *class) {
		for i := range c.truths {
			if a := &c.truths[i].Area; *a == 1024 || *a == 9216 {
				*a += 1e-6
			}
		}
	})), 50, "areas on the borders")
	assert.Greater(t, differ(each(func(c *class) {
		for i := range c.pictures {
			c.pictures[i].id = -c.pictures[i].id
		}
	})), 20, "equal scores")
	assert.Greater(t, differ(each(func(c *class) {
		for i := range c.detections {
			c.detections[i].X2 -= 1e-7
		}
	})), 50, "overlaps on a threshold")
}

func rangeOf(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// One right, one wrong, one truth missed, by hand.
func TestByHand(t *testing.T) {
	e := New([]string{"cat", "dog", "cow"})
	require.NoError(t, e.Add(1,
		[]Truth{{Class: 0, X2: 10, Y2: 10, Area: 100}, {Class: 0, X1: 50, X2: 60, Y2: 10, Area: 100}},
		[]Detection{{0, 0, 0, 10, 10, 0.9}, {0, 80, 80, 90, 90, 0.8}, {1, 0, 0, 5, 5, 0.7}}))
	r := e.Result()
	assert.InDelta(t, 51./101, r.AP, 1e-12, "precision 1 up to recall 0.5, which 51 of 101 thresholds are")
	assert.InDelta(t, 0.5, r.AR100, 1e-12)
	assert.Equal(t, -1., r.APLarge)
	assert.InDelta(t, 0.5, r.VOC.AP, 1e-12)
	assert.InDelta(t, 6./11, r.VOC.AP07, 1e-12)
	assert.Equal(t, -1., r.Classes[1].AP)
	assert.Equal(t, 1, r.Classes[1].Detections)
	points, err := r.Curve(0.5)
	require.NoError(t, err)
	assert.Equal(t, 0.5, points[50].Recall)
	assert.InDelta(t, 1, points[50].Precision, 1e-12)
	assert.Zero(t, points[51].Precision)
	points, err = r.Classes[2].Curve(0.95)
	require.NoError(t, err)
	assert.Empty(t, points)
	_, err = r.Curve(0.97)
	require.EqualError(t, err, "evaluation: there is no curve at an IoU of 0.97: want 0.5, 0.55, .. 0.95")
}

func TestNothing(t *testing.T) {
	for _, classes := range [][]string{nil, {"x"}} {
		r := New(classes).Result()
		assert.Equal(t, -1., r.AP)
		assert.Equal(t, -1., r.VOC.AP)
		points, err := r.Curve(0.5)
		require.NoError(t, err)
		assert.Empty(t, points)
	}
	e := New([]string{"x"})
	require.NoError(t, e.Add(1, []Truth{{X2: 1, Y2: 1, Area: 1}}, nil))
	assert.Equal(t, 0., e.Result().AP, "no detections at all")
}

func TestAddRefuses(t *testing.T) {
	e := New([]string{"x"})
	good := []Truth{{X2: 1, Y2: 1, Area: 1}}
	for want, detections := range map[string][]Detection{
		"picture 7, detection 1: there is no class 1: they are 0 to 0": {{}, {Class: 1}},
		"picture 7, detection 0: there is no class -1":                 {{Class: -1}},
		"picture 7, detection 0: the number NaN is not finite":         {{Score: math.NaN()}},
		"picture 7, detection 0: the number +Inf is not finite":        {{X1: math.Inf(1)}},
	} {
		require.ErrorContains(t, e.Add(7, good, detections), "evaluation: "+want)
	}
	require.ErrorContains(t, e.Add(7, []Truth{{Area: math.NaN()}}, nil), "picture 7, truth 0: the number NaN")
	assert.Zero(t, e.Pictures())
	assert.Zero(t, e.Result().Classes[0].Truths)
}

// Boxes without area, of which files may tell, find nothing.
func TestDegenerate(t *testing.T) {
	e := New([]string{"x"})
	require.NoError(t, e.Add(1, []Truth{{X1: 5, X2: 5, Y1: 5, Y2: 5}, {X2: 10, Y2: 10, Area: 100}},
		[]Detection{{0, 5, 5, 5, 5, 0.9}, {0, 10, 10, 0, 0, 0.8}, {0, 1e300, 0, -1e300, 1, 0.7}}))
	assert.Equal(t, 0., e.Result().AP)
}

// large is a set as large as COCO's validation set, with as many detections as torchvision's detectors give.
func large(tb testing.TB, pictures int) *Evaluation {
	rng := rand.New(rand.NewPCG(1, 2))
	names := make([]string, 80)
	e := New(names)
	for id := range pictures {
		var truths []Truth
		for range rng.IntN(15) {
			x, y, w, h := rng.Float64()*500, rng.Float64()*400, 5+rng.Float64()*100, 5+rng.Float64()*100
			truths = append(truths, Truth{rng.IntN(80), x, y, x + w, y + h, w * h, rng.IntN(50) == 0, false})
		}
		var detections []Detection
		for range 100 {
			d := Detection{rng.IntN(80), 0, 0, rng.Float64() * 200, rng.Float64() * 200, rng.Float64()}
			if len(truths) > 0 && rng.IntN(3) > 0 {
				t := truths[rng.IntN(len(truths))]
				d = Detection{t.Class, t.X1 + rng.NormFloat64()*5, t.Y1, t.X2, t.Y2 + rng.NormFloat64()*5, rng.Float64()}
			}
			detections = append(detections, d)
		}
		require.NoError(tb, e.Add(int64(id), truths, detections))
	}
	return e
}

func TestFast(t *testing.T) {
	e := large(t, 5000)
	start := time.Now()
	first := e.Result()
	took := time.Since(start)
	t.Log("5,000 pictures, 100 detections each, 80 classes:", took)
	assert.Less(t, took, 20*time.Second, "a machine that is shared")
	assert.Equal(t, first, e.Result(), "deterministic")
}

func TestMatch(t *testing.T) {
	truths := []Truth{{X2: 10, Y2: 10}, {X2: 100, Y2: 100, Crowd: true}, {Class: 1, X2: 10, Y2: 10}}
	detections := []Detection{{0, 0, 0, 10, 9, 0.5}, {0, 0, 0, 10, 10, 0.9}, {0, 20, 20, 30, 30, 0.1}, {0, 200, 0, 210, 10, 1}, {1, 5, 0, 10, 10, 1}}
	assert.Equal(t, []int{1, 0, 1, -1, 2}, Match(truths, detections, 0.5))
	assert.Equal(t, []int{1, 0, 1, -1, -1}, Match(truths, detections, 0.6))
	assert.Empty(t, Match(truths, nil, 0.5))
}

func Example() {
	e := New([]string{"cat", "dog"})
	truths := []Truth{{Class: 0, X1: 10, Y1: 10, X2: 110, Y2: 90, Area: 8000}}
	detections := []Detection{{Class: 0, X1: 20, Y1: 10, X2: 110, Y2: 92, Score: 0.93}}
	if err := e.Add(1, truths, detections); err != nil {
		panic(err)
	}
	r := e.Result()
	fmt.Printf("AP %.3f  AP50 %.3f  AR100 %.3f  VOC %.3f\n", r.AP, r.AP50, r.AR100, r.VOC.AP)
	// Output: AP 0.800  AP50 1.000  AR100 0.800  VOC 1.000
}
