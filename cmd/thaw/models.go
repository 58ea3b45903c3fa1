package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/recipe"
)

type modelsCmd struct {
	Filter string `arg:"" optional:"" help:"Only models whose name, kind or description holds this."`
	JSON   bool   `name:"json" help:"Print one JSON array: all that is known of each model, trains, and path, where it is here."`
}

func (*modelsCmd) Help() string {
	return "thaw train fine-tunes those with yes under TRAINS; the others are only downloaded. HERE are those that were."
}

// knownModel is a model of the registry, what can be done with it, and where it is.
type knownModel struct {
	hub.Model
	Trains bool   `json:"trains"` // thaw train takes it
	Path   string `json:"path"`   // "": not here
}

func (c *modelsCmd) Run(s streams) error {
	h, err := hub.FromEnvironment()
	if err != nil {
		return err
	}
	models := []knownModel{}
	for _, m := range hub.Models() {
		text := strings.Join([]string{m.Name, m.Alias, string(m.Kind), m.Description}, "\n")
		if strings.Contains(strings.ToLower(text), strings.ToLower(c.Filter)) {
			models = append(models, knownModel{m, recipe.CanTrain(m) == nil, h.Cached(m)})
		}
	}
	if c.JSON {
		out := json.NewEncoder(s.out)
		out.SetEscapeHTML(false)
		return out.Encode(models)
	}
	if len(models) == 0 {
		return usageError{fmt.Sprintf("models: none holds %q; thaw models alone lists all", c.Filter)}
	}
	out := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "NAME\tPARAMETERS\tINPUT\tACCURACY\tSIZE\tTRAINS\tHERE")
	for _, m := range models {
		name, size, trains, here := m.Name, "", "", ""
		if m.Alias != "" {
			name += " = " + m.Alias
		}
		if m.MiB > 0 {
			size = fmt.Sprintf("%.1f MB", m.MiB*(1<<20)/1e6)
		}
		if m.Trains {
			trains = "yes"
		}
		if m.Path != "" {
			here = "yes"
		}
		fmt.Fprintf(out, "%s\t%.1f M\t%s\t%s\t%s\t%s\t%s\n", name, float64(m.Parameters)/1e6, m.Input, accuracy(m.Model), size, trains, here)
	}
	return out.Flush()
}

// accuracy is a model's published accuracy, "" where there is none.
func accuracy(m hub.Model) string {
	switch {
	case m.Accuracy1 > 0:
		return fmt.Sprintf("%.2f top-1", m.Accuracy1)
	case m.BoxAP > 0:
		return fmt.Sprintf("%.1f AP", m.BoxAP)
	default:
		return ""
	}
}
