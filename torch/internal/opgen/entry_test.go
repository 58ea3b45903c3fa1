package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseEntry(t *testing.T) {
	e, err := parseEntry("sum.dim_IntList   func SumKeepDim(keepdim=true, dim...) # adds up over dim")
	require.NoError(t, err)
	assert.Equal(t, entry{
		base: "sum", overload: "dim_IntList", goName: "SumKeepDim", function: true, shown: []string{"dim"},
		fixed: map[string]string{"keepdim": "true"}, variadic: "dim", summary: "adds up over dim",
	}, e)
	assert.Equal(t, "aten::sum", e.name())
	for line, want := range map[string]string{
		"relu ReLU":              "ReLU: want `# a summary`",
		"relu ReLU #":            "ReLU: want `# a summary`",
		"relu ReLU # max(0, x).": "without a full stop",
		"relu # max(0, x)":       "want `operator.overload GoName(",
	} {
		_, err := parseEntry(line)
		assert.ErrorContains(t, err, want, line)
	}
}

func TestCommentsAreWrapped(t *testing.T) {
	var b bytes.Buffer
	writeComment(&b, strings.Repeat("word ", 40)+strings.Repeat("x", 130))
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	require.Len(t, lines, 3)
	assert.Equal(t, "//"+strings.Repeat(" word", 23), lines[0], "118 of 120 columns")
	assert.Equal(t, "// "+strings.Repeat("x", 130), lines[2], "a word is not cut")
}
