package report

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/internal/yamlkeys"
)

// Key is a key of a spec, as in phases[0].lr, and its value.
type Key = yamlkeys.Key

func keysOf(spec string) ([]Key, error) { return yamlkeys.List([]byte(spec)) }

// key is the value of a key of the spec; "" where it has none.
func (r *Run) key(name string) string {
	for _, k := range r.Keys {
		if k.Name == name {
			return k.Value
		}
	}
	return ""
}

// keys are the values of a list of the spec.
func (r *Run) keys(name string) (values []string) {
	for _, k := range r.Keys {
		if strings.HasPrefix(k.Name, name+"[") {
			values = append(values, k.Value)
		}
	}
	return values
}

// modelName is what the run started from, in short: the last part of a path that says something.
func (r *Run) modelName() string {
	model := r.key("model")
	name := filepath.Base(model)
	generic := []string{"model", "weights", "best.safetensors", "model.safetensors"}
	if model != "" && slices.Contains(generic, name) {
		return filepath.Join(filepath.Base(filepath.Dir(model)), name)
	}
	if model == "" {
		return ""
	}
	return name
}

// what says in a sentence what was trained; "" of a run without a spec.
func (r *Run) what() string {
	if r.Keys == nil {
		return ""
	}
	var parts []string
	if name := r.modelName(); name != "" {
		parts = append(parts, name)
	}
	var trained []string
	for i := 0; ; i++ {
		of := r.key(fmt.Sprintf("phases[%d].train", i))
		if of == "" {
			if several := r.keys(fmt.Sprintf("phases[%d].train", i)); several != nil {
				of = strings.Join(several, ", ")
			}
		}
		if of == "" {
			break
		}
		epochs := r.key(fmt.Sprintf("phases[%d].epochs", i))
		unit := "epochs"
		if epochs == "1" {
			unit = "epoch"
		}
		trained = append(trained, fmt.Sprintf("%s for %s %s", of, epochs, unit))
	}
	if trained != nil {
		parts = append(parts, "trained "+strings.Join(trained, ", then "))
	}
	switch classes := r.keys("head.classes"); {
	case r.key("head.objective") == "regression":
		parts = append(parts, "to predict a number")
	case r.key("head.objective") == "multi-label":
		parts = append(parts, fmt.Sprintf("to find any of %s", quantity.Count(len(classes), "label", "labels")))
	case len(classes) > 0 && len(classes) <= 6 && len(strings.Join(classes, ", ")) <= 120:
		parts = append(parts, "to tell "+strings.Join(classes, ", "))
	case len(classes) > 0:
		parts = append(parts, fmt.Sprintf("to tell %s classes", quantity.Digits(len(classes))))
	}
	return strings.Join(parts, " · ")
}
