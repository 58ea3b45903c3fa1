package metric

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A summary is read back as it was written.
func TestScoresAreReadBack(t *testing.T) {
	c := newCounts([]string{"a", "b"}, 2)
	for _, pair := range [][2]int{{0, 0}, {0, 1}, {1, 1}} {
		c.add(pair[0], pair[1])
	}
	want := NewClassification(nil).(*classification).score(c, &classRows{}, 0.25)
	text, err := json.Marshal(want)
	require.NoError(t, err)
	var got Score
	require.NoError(t, json.Unmarshal(text, &got))
	assert.Equal(t, want, got)

	undefined := Score{Rows: 1, Values: []Value{{Name: "pearson", Value: math.NaN()}}}
	text, err = json.Marshal(undefined)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &got))
	assert.True(t, math.IsNaN(got.Value("pearson")))
	assert.Error(t, json.Unmarshal([]byte(`{"rows": "many"}`), &got))

	boxes := Score{Rows: 2, ByClass: []ClassValues{{Class: "cat", Count: 3, Values: []Value{{Name: "ap", Value: 0.5}}}}}
	text, err = json.Marshal(boxes)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &got))
	assert.Equal(t, boxes, got)
	assert.Empty(t, got.WithoutClasses().ByClass)
}
