package recipe

import (
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// plainNumbers spells the numbers below a node so that every reader of YAML takes them for numbers.
func plainNumbers(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!float" {
		if x, err := strconv.ParseFloat(n.Value, 64); err == nil {
			n.Value = formatNumber(x)
			n.Tag = "" // 1 is written, and read again, as a whole number
		}
	}
	for _, c := range n.Content {
		plainNumbers(c)
	}
}

// formatNumber writes the shortest text that is the same number in YAML 1.1 (PyYAML), in YAML 1.2 and in JSON: whole
// numbers without an exponent as far as an int64 reaches, and an exponent only behind a mantissa with a point, as in
// 1.0e-05. YAML 1.1 takes 1e-05 for text.
func formatNumber(x float64) string {
	if x == math.Trunc(x) && math.Abs(x) < 1<<53 {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	s := strconv.FormatFloat(x, 'g', -1, 64)
	mantissa, exponent, found := strings.Cut(s, "e")
	if found && !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	if !found {
		return mantissa
	}
	return mantissa + "e" + exponent
}
