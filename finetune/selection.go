package finetune

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/thaw-ml/thaw/internal/suggest"
)

// Selection says what of the model a phase trains, by one or more of:
//
//   - "head": the head. It trains in every phase, named or not.
//   - "all": everything.
//   - "top 2": the last 2 stages before the head.
//   - "lora": the adapters that lora.Apply has put into the model's layers.
//   - "layer.4": the stage of that name.
//   - "layer.[45]", "*.bias": a glob pattern as in path.Match, in which * also matches dots. It
//     stands for the stages whose names it matches; where it matches none, for the parameters whose
//     names it matches.
//
// In YAML it is one of these, or a list.
type Selection []string

// HeadOnly trains the head and nothing else.
func HeadOnly() Selection { return Selection{"head"} }

// All trains everything.
func All() Selection { return Selection{"all"} }

// Top trains the last n stages before the head, and the head.
func Top(n int) Selection { return Selection{"top " + strconv.Itoa(n)} }

// LoRA trains the adapters and the head.
func LoRA() Selection { return Selection{loraItem} }

// loraItem selects the adapters.
const loraItem = "lora"

// Resolve says which of the model's stages are trained. stages are in the order of the forward pass,
// and the last is the head. patterns are the items that match no stage, "lora", and patterns or names among parameters:
// what they match is for the caller to see.
func (s Selection) Resolve(stages []string, parameters ...string) (trained []bool, patterns []string, err error) {
	if len(stages) == 0 {
		return nil, nil, fmt.Errorf("this model has no stages to choose from")
	}
	items, err := s.Clean()
	if err != nil {
		return nil, nil, err
	}
	head := len(stages) - 1
	trained = make([]bool, len(stages))
	trained[head] = true
	train := func(from int) {
		for i := from; i < len(stages); i++ {
			trained[i] = true
		}
	}
	var unknown []string
	for _, item := range items {
		switch n, isTop := parseTop(item); {
		case item == "head":
		case item == "all":
			train(0)
		case isTop && n > head:
			return nil, nil, fmt.Errorf("%q is more than the %d stages before the head; this model has %s",
				item, head, nameStages(stages))
		case isTop:
			train(head - n)
		case item == loraItem && !slices.Contains(stages, item):
			patterns = append(patterns, item)
		case isPattern(item):
			found := false
			for i, stage := range stages {
				if matches(item, stage) {
					trained[i], found = true, true
				}
			}
			if !found {
				patterns = append(patterns, item)
			}
		default:
			if i := slices.Index(stages, item); i >= 0 {
				trained[i] = true
			} else if slices.Contains(parameters, item) {
				patterns = append(patterns, item)
			} else {
				unknown = append(unknown, item)
			}
		}
	}
	if len(unknown) > 0 {
		return nil, nil, fmt.Errorf("no stage matches %s; this model has %s%s",
			suggest.List(unknown), nameStages(stages), meantStage(unknown[0], stages))
	}
	return trained, patterns, nil
}

// matches reports whether a pattern of a Selection matches a name.
func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// HeadOnly reports whether nothing but the head is trained.
func (s Selection) HeadOnly() bool {
	return !slices.ContainsFunc(s, func(item string) bool { return strings.TrimSpace(item) != "head" })
}

// TrainsLoRA reports whether adapters are trained.
func (s Selection) TrainsLoRA() bool {
	return slices.ContainsFunc(s, func(item string) bool { return strings.TrimSpace(item) == loraItem })
}

// Clean checks each item, as far as that goes without a model, and returns them without spare spaces.
func (s Selection) Clean() (Selection, error) {
	if len(s) == 0 {
		return nil, fmt.Errorf(`nothing is selected; write "head" to train the head alone`)
	}
	items := make(Selection, len(s))
	for i, item := range s {
		words := strings.Fields(item)
		items[i] = strings.Join(words, " ")
		switch {
		case len(words) == 0:
			return nil, fmt.Errorf(`an item is empty; write "head" to train the head alone`)
		case words[0] == "top":
			if _, ok := parseTop(items[i]); !ok {
				return nil, fmt.Errorf(`expected "top" and a number from 1 up, such as "top 2", found %s`, suggest.Quote(item))
			}
		case len(words) > 1 || strings.Contains(item, ","):
			return nil, fmt.Errorf("%s is no name of a stage; several are a list, such as [%s]", suggest.Quote(item),
				suggest.Shorten(strings.Join(strings.FieldsFunc(item, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }), ", ")))
		case isPattern(item):
			if _, err := path.Match(item, ""); err != nil {
				return nil, fmt.Errorf("%s is a pattern with an error: a [ without its ], or a \\ at the end", suggest.Quote(item))
			}
		}
	}
	return items, nil
}

// parseTop parses "top 2".
func parseTop(item string) (n int, ok bool) {
	number, ok := strings.CutPrefix(item, "top ")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(number)
	return n, err == nil && n >= 1
}

func isPattern(item string) bool { return strings.ContainsAny(item, `*?[\`) }

// nameStages lists names, with three or more numbered ones in a row as "layer.0 ... layer.5".
func nameStages(stages []string) string {
	var parts []string
	for i := 0; i < len(stages); {
		end := i + 1
		for prefix, n, ok := numbered(stages[i]); ok && end < len(stages); end++ {
			p, m, numbered := numbered(stages[end])
			if !numbered || p != prefix || m != n+end-i {
				break
			}
		}
		if end-i >= 3 {
			parts = append(parts, stages[i]+" ... "+stages[end-1])
		} else {
			parts = append(parts, stages[i:end]...)
		}
		i = end
	}
	return strings.Join(parts, ", ")
}

// numbered parts "layer.4" into "layer." and 4.
func numbered(stage string) (prefix string, n int, ok bool) {
	prefix = strings.TrimRight(stage, "0123456789")
	n, err := strconv.Atoi(stage[len(prefix):])
	return prefix, n, err == nil
}

// meantStage is suggest.DidYouMean, but never answers one number with another, and knows the long
// names of the same stages.
func meantStage(given string, stages []string) string {
	digits := func(s string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsDigit(r) {
				return r
			}
			return -1
		}, s)
	}
	var near []string
	for _, stage := range append([]string{"all"}, stages...) {
		if strings.HasSuffix(given, "."+stage) {
			return fmt.Sprintf("; did you mean %q?", stage)
		}
		if digits(stage) == digits(given) {
			near = append(near, stage)
		}
	}
	return suggest.DidYouMean(given, near)
}
