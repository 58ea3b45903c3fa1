//go:build !race

package tokenizer

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Under the race detector sync.Pool forgets at random, so this test stands apart.
func TestAppendIDsDoesNotAllocate(t *testing.T) {
	tok := uncased(t)
	texts := lines()[:500]
	for _, c := range readGolden().Hard[:400] {
		texts = append(texts, string(c.Text))
	}
	ids := make([]int64, 0, 1<<17)
	perRun := testing.AllocsPerRun(20, func() {
		for _, text := range texts {
			ids = tok.AppendIDs(ids[:0], text, 0)
		}
	})
	assert.Zero(t, perRun)
}
