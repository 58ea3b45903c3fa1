package undo_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/internal/undo"
)

func TestUnless(t *testing.T) {
	undone := 0
	run := func(breaks bool) {
		done := false
		defer undo.Unless(&done, func() { undone++ })
		if breaks {
			panic("broken")
		}
		done = true
	}
	run(false)
	assert.Zero(t, undone)
	assert.PanicsWithValue(t, "broken", func() { run(true) })
	assert.Equal(t, 1, undone)
}
