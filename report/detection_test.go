package report

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
)

// detectionOf is what a detector of so many classes came to; the last class has no objects.
func detectionOf(classes int) *Detection {
	d := &Detection{
		Numbers: []Number{{"AP", 0.25}, {"AP, small", math.NaN()}}, Truths: 1200, Missed: 34,
		Faults: map[string]int{"class": 5, "background": 7},
	}
	falling := make([]float64, 101)
	for i := range 61 {
		falling[i] = float64(100-i) / 100
	}
	for i := range classes {
		c := DetectionClass{
			Name: fmt.Sprintf("%s %d", hostile, i), Objects: 10 + i, AP: float64(classes-i) / 100, AP50: 0.5, AP75: 0.25, AR: 0.5,
			Score: 0.125, Precision: 0.75, Recall: 0.5, F1: 0.6, Curve: falling,
		}
		if i == classes-1 {
			c = DetectionClass{Name: "empty", AP: math.NaN(), AP50: math.NaN(), AP75: math.NaN(), AR: math.NaN()}
		}
		d.Classes = append(d.Classes, c)
	}
	if classes > 1 {
		d.Curves = []Curve{{0.5, falling}, {0.75, make([]float64, 101)}}
	}
	return d
}

func TestDetectionComesBackFromItsFile(t *testing.T) {
	d := detectionOf(3)
	d.Misses = []Miss{{Number: 3, Missed: []string{"a"}, Wrong: []WrongObject{{"b", 0.5, "class", "a"}}}}
	text, err := json.Marshal(d)
	require.NoError(t, err)
	var back Detection
	require.NoError(t, json.Unmarshal(text, &back))
	assert.True(t, math.IsNaN(back.Numbers[1].Value))
	assert.True(t, math.IsNaN(back.Classes[2].AP))
	again, err := json.Marshal(back)
	require.NoError(t, err)
	assert.Equal(t, string(text), string(again))
	assert.Equal(t, d.Classes[0], back.Classes[0])
	assert.Equal(t, d.Misses, back.Misses)
}

// noise takes the most bytes that a picture can.
func noise(width, height int) image.Image {
	rng := rand.New(rand.NewPCG(1, 1))
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			m.SetRGBA(x, y, color.RGBA{uint8(rng.IntN(256)), uint8(rng.IntN(256)), uint8(rng.IntN(256)), 255})
		}
	}
	return m
}

func TestMissesAreBounded(t *testing.T) {
	d := detectionOf(2)
	for i := range 3 * MostMisses {
		d.Misses = append(d.Misses, Miss{Number: i, Sample: Sample{Picture: noise(900, 900)}})
	}
	d.bounded()
	require.Len(t, d.Misses, MostMisses)
	for _, m := range d.Misses {
		assert.Nil(t, m.Picture)
		require.True(t, isPicture(m.Encoded), "noise is shown, too, with a lower quality")
		_, data, _ := strings.Cut(m.Encoded, ",")
		raw, err := base64.StdEncoding.DecodeString(data)
		require.NoError(t, err)
		assert.LessOrEqual(t, len(raw), missBytes)
	}
}

func TestPageOfADetector(t *testing.T) {
	for _, classes := range []int{1, 2, 25, 70} {
		folder := runFolder{epochs: 2, steps: 4, loss: one, test: true, summary: true}.write(t)
		d := detectionOf(classes)
		d.Misses = []Miss{
			{Number: 3, Sample: Sample{Name: hostile, Picture: noise(40, 30)}, Missed: []string{hostile, "dog", "dog"}},
			{Number: 4, Sample: Sample{Encoded: "javascript:alert(1)"}, Wrong: []WrongObject{
				{"cat", 0.875, "class", "dog"}, {"cat", 0.75, "duplicate", "cat"}, {"cat", 0.5, "background", ""},
				{"cat", 0.5, "location", "cat"}, {"cat", 0.5, "both", "dog"}, {"cat", 0.5, "background", ""}, {"cat", 0.4, "background", ""},
			}},
		}
		d.bounded()
		score := metric.Score{Rows: 8, Values: []metric.Value{{Name: "accuracy", Value: 0.75}}}
		require.NoError(t, writeJSON(filepath.Join(folder, finetune.EvaluationFile), Evaluation{Epoch: 2, Rows: 8, Score: score, Detection: d}))
		page := checkPage(t, folder)
		assert.Contains(t, page, "<td class=\"text\">AP, small</td><td>–</td>")
		assert.Contains(t, page, "34 of 1,200")
		assert.Contains(t, page, "cat 0.88: another class, dog<br>")
		assert.Contains(t, page, "cat 0.75: found twice<br>")
		assert.Contains(t, page, "and 1 more")
		assert.Contains(t, page, ", dog (2)<br>")
		assert.Equal(t, 1, strings.Count(page, "<img"), "of the second there is no picture")
		shown := 0
		if classes > 1 {
			shown = classes - 1 // the last has no curve
		}
		assert.Equal(t, shown, strings.Count(page, "<figcaption>"))
		assert.Equal(t, classes > mostClasses, strings.Contains(page, "with the lowest AP first"))
		assert.Equal(t, shown > mostMultiple, strings.Contains(page, fmt.Sprintf("<summary>%d more classes</summary>\n<div class=\"multiples\">", shown-mostMultiple)))
		if classes == 70 { // what is worst stands first, and what has no objects last
			rows := page[strings.Index(page, "from score"):]
			worst, best := strings.Index(rows, "<td>0.020</td>"), strings.Index(rows, "<td>0.700</td>")
			assert.True(t, 0 < worst && worst < best)
			assert.Greater(t, strings.Index(rows, `<td class="text">empty</td>`), best)
		}
	}
}

func TestCurvesOfADetectorAreOnUnitAxes(t *testing.T) {
	d := detectionOf(5)
	c := d.chart()
	x, y := c.scales(5, 5)
	assert.Equal(t, [4]float64{0, 1, 0, 1}, [4]float64{x.low, x.high, y.low, y.high})
	require.Len(t, c.curves, 4+2)
	assert.True(t, c.curves[0].faint)
	assert.False(t, c.curves[4].faint)
	assert.Len(t, c.curves[0].points, 62, "it ends where the recall is not reached")
	assert.Equal(t, point{0.61, 0}, c.curves[0].points[61])
}

func TestRecorderAsksADetectorAfterABestEpoch(t *testing.T) {
	folder := t.TempDir()
	asked := 0
	r := NewRecorder(RecorderOptions{Folder: folder, Detection: func() (*Detection, error) {
		asked++
		return detectionOf(2), nil
	}})
	defer r.Close()
	score := &metric.Score{Rows: 4, Values: []metric.Value{{Name: "ap", Value: 0.5}}}
	require.NoError(t, r.record(train.TaskDone{Score: score}))
	require.NoError(t, r.record(finetune.EpochDone{Epoch: finetune.Epoch{Number: 1}}))
	assert.Zero(t, asked, "the epoch is not the best")
	require.NoError(t, r.record(finetune.EpochDone{Epoch: finetune.Epoch{Number: 2}, Best: true}))
	assert.Equal(t, 1, asked)
	var e Evaluation
	found, err := readJSON(filepath.Join(folder, finetune.EvaluationFile), &e)
	require.NoError(t, err)
	require.True(t, found)
	assert.Equal(t, [2]int{2, 4}, [2]int{e.Epoch, e.Rows})
	assert.Equal(t, 1200, e.Detection.Truths)
	r.score = &metric.Score{}
	require.NoError(t, r.record(finetune.EpochDone{Epoch: finetune.Epoch{Number: 3}, Best: true}))
	assert.Equal(t, 1, asked, "nothing was evaluated")
}
