package recipe

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/thaw-ml/thaw/internal/suggest"
)

// mostRuns is the number of runs of a sweep at most: more are a slip of the fingers.
const mostRuns = 1000

// axis is a key of a sweep, with its values.
type axis struct {
	key    string
	values []string
}

// GridError is a "key=values" of a sweep that cannot be followed.
type GridError struct{ msg string }

func (e *GridError) Error() string { return e.msg }

func wrongGrid(format string, args ...any) error { return &GridError{fmt.Sprintf(format, args...)} }

// parseGrid reads "key=a,b,c" and "key=0..4". Commas in brackets and quotes are part of a value. phases is the number
// of phases in the spec: where it is one, epochs stands for phases[0].epochs, and so do the other keys of a phase, but
// for lr, see readWithRate.
func parseGrid(settings []string, phases int) (axes []axis, err error) {
	runs := 1
	seen := map[string]bool{}
	for _, setting := range settings {
		key, raw, ok := strings.Cut(setting, "=")
		key = strings.TrimSpace(key)
		if !ok {
			return nil, wrongGrid("expected key=value, such as seed=0..4 or lr=1e-5,3e-5, found %s", suggest.Quote(setting))
		}
		if key == "out" {
			return nil, wrongGrid("out=%s: each run has a folder of its own: name the sweep's with --out", raw)
		}
		if isPhaseKey(key) && key != rateKey {
			if phases == 0 {
				return nil, wrongGrid("%s: %s is a key of a phase, and the spec names none: of a preset's phases lr alone can be swept; write them out for more "+
					"(docs/guide/training.md shows a preset's)", setting, key)
			}
			if phases != 1 {
				return nil, wrongGrid("%s: %s is a key of a phase, and the spec has %d of them: write phases[%d].%[2]s", setting, key, phases, phases-1)
			}
			key = "phases[0]." + key
		}
		if seen[key] {
			return nil, wrongGrid("%s: %s is there twice", setting, key)
		}
		seen[key] = true
		values, err := gridValues(raw)
		if err != nil {
			return nil, wrongGrid("%s: %v", setting, err)
		}
		if runs *= len(values); runs > mostRuns {
			return nil, wrongGrid("more than %d runs", mostRuns)
		}
		axes = append(axes, axis{key, values})
	}
	return axes, checkRates(axes)
}

// isPhaseKey tells whether a key is one of a phase, and none of the spec itself.
func isPhaseKey(key string) bool {
	has := func(t reflect.Type) bool {
		for field := range t.Fields() {
			if name, _, _ := strings.Cut(field.Tag.Get("yaml"), ","); name == key && field.IsExported() {
				return true
			}
		}
		return false
	}
	return has(reflect.TypeFor[Phase]()) && !has(reflect.TypeFor[Spec]())
}

var rangeForm = regexp.MustCompile(`^(-?[0-9]{1,18})\.\.(-?[0-9]{1,18})$`)

// gridValues parts "a,b" at its commas and counts "0..4" out.
func gridValues(raw string) (values []string, err error) {
	seen := map[string]bool{}
	for _, part := range splitList(raw) {
		part = strings.TrimSpace(part)
		m := rangeForm.FindStringSubmatch(part)
		if m == nil {
			values = append(values, part)
			continue
		}
		from, _ := strconv.Atoi(m[1]) // of at most 18 digits
		to, _ := strconv.Atoi(m[2])
		if to < from || to-from >= mostRuns {
			return nil, fmt.Errorf("%s counts up from the first number to the last, at most %d of them", part, mostRuns)
		}
		for n := from; n <= to; n++ {
			values = append(values, strconv.Itoa(n))
		}
	}
	for _, v := range values {
		if v == "" {
			return nil, fmt.Errorf("a value is empty")
		}
		if seen[v] {
			return nil, fmt.Errorf("the value %s is there twice", suggest.Quote(v))
		}
		seen[v] = true
	}
	return values, nil
}

// splitList parts a text at the commas that stand in no brackets and no quotes.
func splitList(text string) (parts []string) {
	depth, quote, from := 0, byte(0), 0
	for i := range len(text) {
		switch c := text[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		case c == ',' && depth <= 0:
			parts, from = append(parts, text[from:i]), i+1
		}
	}
	return append(parts, text[from:])
}

// countPhases reads how many phases a spec has, as far as it can be read.
func countPhases(path string) int {
	var s struct {
		Phases []yaml.Node `yaml:"phases"`
	}
	text, err := os.ReadFile(path)
	if err != nil || yaml.Unmarshal(text, &s) != nil {
		return 1
	}
	return len(s.Phases)
}

// points are all combinations of the axes' values, the seed's changing last: runs of one seed follow one another, as
// they have their data in common.
func points(axes []axis) (out [][]string) {
	order := make([]int, 0, len(axes))
	for i, a := range axes {
		if a.key == "seed" {
			order = append([]int{i}, order...)
		} else {
			order = append(order, i)
		}
	}
	point := make([]string, len(axes))
	var fill func(n int)
	fill = func(n int) {
		if n == len(order) {
			out = append(out, append([]string(nil), point...))
			return
		}
		for _, v := range axes[order[n]].values {
			point[order[n]] = v
			fill(n + 1)
		}
	}
	fill(0)
	return out
}

var unfit = regexp.MustCompile(`[^A-Za-z0-9.+-]+`)

// folderName is that of a run's folder: the keys that vary, each by its last part where that is enough, and their
// values.
func folderName(axes []axis, point []string) string {
	var parts []string
	for i, a := range axes {
		if len(a.values) == 1 {
			continue
		}
		key := shortKey(axes, a.key)
		parts = append(parts, unfit.ReplaceAllString(key, "-")+"="+strings.Trim(unfit.ReplaceAllString(point[i], "-"), "-"))
	}
	if len(parts) == 0 {
		return "run"
	}
	return strings.Join(parts, ",")
}

// shortKey is the last part of a key where no other key of the sweep ends so.
func shortKey(axes []axis, key string) string {
	last := key[strings.LastIndexByte(key, '.')+1:]
	for _, a := range axes {
		if a.key != key && a.key[strings.LastIndexByte(a.key, '.')+1:] == last {
			return key
		}
	}
	return last
}
