package recipe

import (
	"encoding/json"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/report"
	"github.com/thaw-ml/thaw/vision/detection"
	"github.com/thaw-ml/thaw/vision/detection/annotation"
	"github.com/thaw-ml/thaw/vision/detection/evaluation"
)

// sighted are squares of which a detector finds those of even pictures, and in picture 1 one that is not there.
func sighted(t *testing.T) *sightings {
	t.Helper()
	set, err := annotation.Open(drawSquares(t, t.TempDir(), 9), annotation.Options{})
	require.NoError(t, err)
	const first = 1
	s := &sightings{set: set, first: first}
	o := s.watch(detection.Objective{})
	e := evaluation.New(set.Classes)
	for i, p := range set.Pictures {
		var found []detection.Detection
		for _, b := range p.Boxes {
			if i%2 == 0 {
				found = append(found, detection.Detection{Box: detection.Box{
					X1: float32(b.X1), Y1: float32(b.Y1), X2: float32(b.X2), Y2: float32(b.Y2), Label: b.Class + first,
				}, Score: 0.75})
			}
		}
		if i == 1 {
			found = append(found, detection.Detection{Box: detection.Box{X1: 70, Y1: 2, X2: 95, Y2: 60, Label: first}, Score: 0.875})
		}
		found = append(found, detection.Detection{Box: detection.Box{X2: 9, Y2: 9, Label: 0}, Score: 1}) // the background
		o.Found(i, found)
		picture := s.picture(i)
		require.NoError(t, e.Add(int64(i), picture.Truths, picture.Detections))
	}
	o.Measured(e.Result())
	return s
}

func TestReportOfADetector(t *testing.T) {
	s := sighted(t)
	d, err := s.report()
	require.NoError(t, err)
	truths, missed := 0, 0
	for i, p := range s.set.Pictures {
		truths += len(p.Boxes)
		if i%2 == 1 {
			missed += len(p.Boxes)
		}
	}
	require.Positive(t, missed)
	assert.Equal(t, truths, d.Truths)
	assert.Equal(t, missed, d.Missed)
	assert.Equal(t, map[string]int{"background": 1}, d.Faults)
	require.Len(t, d.Numbers, 12)
	assert.InDelta(t, s.result.AP, d.Numbers[0].Value, 1e-12)
	assert.InDelta(t, s.result.ARLarge, -1, 0, "no square is large")
	assert.True(t, math.IsNaN(d.Numbers[11].Value))
	for i, c := range d.Classes {
		assert.Equal(t, s.set.Classes[i], c.Name)
		assert.Equal(t, s.set.Counts()[i], c.Objects)
		assert.InDelta(t, 0.75, c.Score, 1e-6)
		assert.Len(t, c.Curve, 101)
	}
	require.NotEmpty(t, d.Misses)
	worst := d.Misses[0]
	// Each picture with an odd number lacks what stands on it: one or two squares, or none; picture 1 has one too many.
	for i, m := range d.Misses {
		assert.Equal(t, 1, m.Number%2)
		assert.Len(t, m.Missed, len(s.set.Pictures[m.Number].Boxes))
		if i > 0 {
			assert.LessOrEqual(t, len(m.Missed)+len(m.Wrong), len(worst.Missed)+len(worst.Wrong))
		}
		require.NotNil(t, m.Picture)
		assert.Equal(t, image.Rect(0, 0, 400, 267), m.Picture.Bounds())
	}
	at := -1
	for i, m := range d.Misses {
		if m.Number == 1 {
			at = i
		}
	}
	require.GreaterOrEqual(t, at, 0)
	assert.Equal(t, []report.WrongObject{{Class: "red", Score: 0.875, Fault: "background"}}, d.Misses[at].Wrong)
	// The upright edge of the box that is not there is drawn: grey no more.
	r, g, b, _ := d.Misses[at].Picture.At(int(math.Round(70*400./96)), 150).RGBA()
	assert.False(t, r == g && g == b, color.RGBA64{uint16(r), uint16(g), uint16(b), 0})

	require.NoError(t, os.Remove(s.set.Pictures[1].Path))
	d, err = s.report()
	require.NoError(t, err)
	assert.Nil(t, d.Misses[at].Picture, "a picture that is gone is told of without it")
	_, err = (&sightings{}).report()
	require.Error(t, err)
}

// checkDetectorReport looks for what a run of squares leaves.
func checkDetectorReport(t *testing.T, folder string, result *finetune.Result) {
	t.Helper()
	var e report.Evaluation
	text, err := os.ReadFile(filepath.Join(folder, finetune.EvaluationFile))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &e))
	require.NotNil(t, e.Detection)
	assert.Equal(t, result.BestEpoch, e.Epoch)
	assert.InDelta(t, result.Best.Value("ap"), e.Detection.Numbers[0].Value, 1e-12, "the same evaluation")
	assert.FileExists(t, filepath.Join(folder, finetune.ReportFile))
}
