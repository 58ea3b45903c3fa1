package columns

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFormat(t *testing.T) {
	assert.Equal(t, "      größe  n\nbest  1\n      22     345\n", Format([][]string{{"", "größe", "n"}, {"best", "1", ""}, {"", "22", "345"}}))
	assert.Equal(t, "\n", Format([][]string{{}}), "rows without cells")
}
