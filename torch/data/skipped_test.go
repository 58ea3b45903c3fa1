package data_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/torch/data"
)

func TestSkipped(t *testing.T) {
	var s data.Skipped
	assert.NoError(t, s.Why(3))
	assert.Equal(t, map[int]error{}, s.All())
	damaged := errors.New("damaged")
	s.Note(3, damaged)
	assert.Equal(t, damaged, s.Why(3))
	all := s.All()
	assert.Equal(t, map[int]error{3: damaged}, all)
	delete(all, 3)
	assert.Equal(t, damaged, s.Why(3), "All is a copy")
}
