package labels_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/internal/labels"
)

func TestSort(t *testing.T) {
	for _, c := range [][2][]string{
		{{"10", "9", "-1"}, {"-1", "9", "10"}},
		{{"10", "9", "a"}, {"10", "9", "a"}},
		{{"01", "1", "0"}, {"0", "01", "1"}},
		{nil, nil},
	} {
		labels.Sort(c[0])
		assert.Equal(t, c[1], c[0])
	}
}
