package yamlkeys

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestList(t *testing.T) {
	keys, err := List([]byte("b: 1\na: {c: [x, {d: 1.0e-05}], e: []}\nf: &g [1]\nh: *g\n"))
	require.NoError(t, err)
	assert.Equal(t, []Key{{"b", "1"}, {"a.c[0]", "x"}, {"a.c[1].d", "1.0e-05"}, {"f[0]", "1"}, {"h", "*g"}}, keys)
	keys, err = List(nil)
	require.NoError(t, err)
	assert.Empty(t, keys)
	_, err = List([]byte("a: ["))
	assert.Error(t, err)
}
