package recipe

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// What YAML 1.1 takes for a number, by PyYAML's resolver: stricter than yaml.org/type/float.html, which needs no digit
// before the point. Beside them, JSON's grammar, which is that of YAML 1.2's JSON schema.
var (
	yaml11Float = regexp.MustCompile(`^[-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?$`)
	yaml11Int   = regexp.MustCompile(`^[-+]?(0|[1-9][0-9_]*)$`)
	jsonNumber  = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
)

func requireNumber(t *testing.T, written string, want float64) {
	t.Helper()
	assert.True(t, yaml11Float.MatchString(written) || yaml11Int.MatchString(written), "YAML 1.1 takes %s for text", written)
	assert.Regexp(t, jsonNumber, written)
	got, err := strconv.ParseFloat(written, 64)
	require.NoError(t, err)
	assert.Equal(t, want, got, written)
}

func TestNumbersAreNumbersForAllReaders(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0", 1: "1", 32: "32", 1e6: "1000000", 1e15: "1000000000000000", -2: "-2", 0.1: "0.1", 1e-3: "0.001", 2e-5: "2.0e-05",
		1e-8: "1.0e-08", 2.5e-6: "2.5e-06", 1e-4: "0.0001", 1e20: "1.0e+20", 5e-324: "5.0e-324", math.MaxFloat64: "1.7976931348623157e+308",
		0.1234567890123456789: "0.12345678901234568", 1234567.5: "1.2345675e+06", 1 << 53: "9.007199254740992e+15",
	} {
		assert.Equal(t, want, formatNumber(x))
		requireNumber(t, formatNumber(x), x)
	}
	for i := range 2000 {
		x := math.Float64frombits(uint64(i)*0x9e3779b97f4a7c15 + 12345)
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			requireNumber(t, formatNumber(x), x)
		}
	}
}

// Every scalar of a saved spec that is a number in Go is one for YAML 1.1.
func TestSavedNumbers(t *testing.T) {
	s, err := Parse("reviews.yaml", []byte(reviews), "phases[0].lr=1e-5", "phases[1].head_lr=1e20", "optimizer.eps=1e-6", "optimizer.betas=[1e-7, 0.5]",
		"clip_norm=1e-9", "label_smoothing=1e-30", "data.test=1e-5", "head.dropout=1e-6", "phases[1].warm_up=1e-5", "optimizer.weight_decay=3e-5", "head.classes=[1e5, 1, 2.0e-05]")
	require.NoError(t, err)
	text, err := s.YAML()
	require.NoError(t, err)
	requireRoundTrip(t, s)
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		for item := range strings.SplitSeq(strings.Trim(strings.TrimSpace(value), "[]"), ", ") {
			if x, err := strconv.ParseFloat(item, 64); err == nil && key != "classes" {
				requireNumber(t, item, x)
			}
		}
	}
	assert.Contains(t, string(text), `classes: ["1e5", "1", "2.0e-05"]`, "text stays text")
	assert.Contains(t, string(text), "test: 1.0e-05\n")
	if path := os.Getenv("THAW_SAVED_SPEC"); path != "" { // for testdata/pyyaml.py
		require.NoError(t, os.WriteFile(path, text, 0o644))
	}
	var generic map[string]any
	require.NoError(t, yaml.Unmarshal(text, &generic))
	optimizer := generic["optimizer"].(map[string]any)
	assert.Equal(t, 1e-6, optimizer["eps"])
	assert.Equal(t, "float64", fmt.Sprintf("%T", optimizer["weight_decay"]))
}
