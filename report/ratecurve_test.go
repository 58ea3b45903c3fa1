package report

import (
	"bytes"
	"image/png"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRateCurvePNG(t *testing.T) {
	const n = 60
	c := RateCurve{Title: "test: loss while the learning rate rises", Suggested: 1e-3, SuggestedName: "valley", RateKey: "phases[0].lr"}
	flat := RateCurve{Title: "flat"}
	for i := range n {
		rate := 1e-7 * math.Pow(1e8, float64(i)/(n-1))
		c.Rates, flat.Rates = append(c.Rates, rate), append(flat.Rates, rate)
		loss := 0.7 - 0.3/(1+math.Exp(-float64(i-30)/4)) + 40*math.Max(0, float64(i-52))
		c.Losses, flat.Losses = append(c.Losses, loss+0.02*math.Sin(float64(9*i))), append(flat.Losses, 0.5)
		c.Smooth, flat.Smooth = append(c.Smooth, loss), append(flat.Smooth, 0.5)
	}
	c.Losses[57], c.Smooth[59] = math.NaN(), math.Inf(1)
	for _, c := range []RateCurve{c, flat} {
		data, err := c.PNG()
		require.NoError(t, err)
		if folder := os.Getenv("THAW_KEEP_PICTURES"); folder != "" {
			require.NoError(t, os.WriteFile(folder+"/lr-"+c.Title[:4]+".png", data, 0o644))
		}
		m, err := png.Decode(bytes.NewReader(data))
		require.NoError(t, err)
		assert.Greater(t, m.Bounds().Dx(), 800)
		colours := map[uint32]bool{}
		for y := range m.Bounds().Dy() {
			for x := range m.Bounds().Dx() {
				r, g, b, _ := m.At(x, y).RGBA()
				colours[r>>8<<16|g>>8<<8|b>>8] = true
			}
		}
		assert.True(t, colours[0x2563b0], "the curve")
		assert.Equal(t, c.Suggested > 0, colours[0xc2570c], "the suggestion")
	}
}

func TestRateCurveRefuses(t *testing.T) {
	for _, c := range []RateCurve{
		{}, {Rates: []float64{1}, Losses: []float64{1}, Smooth: []float64{1}},
		{Rates: []float64{0, 1}, Losses: []float64{1, 1}, Smooth: []float64{1, 1}},
		{Rates: []float64{1, 1}, Losses: []float64{1, 1}, Smooth: []float64{1, 1}},
		{Rates: []float64{1, 2}, Losses: []float64{1}, Smooth: []float64{1, 1}},
		{Rates: []float64{1, 2}, Losses: []float64{1, 1}, Smooth: []float64{math.NaN(), math.NaN()}},
	} {
		_, err := c.PNG()
		assert.ErrorContains(t, err, "drawing a curve of learning rates: ")
	}
}
