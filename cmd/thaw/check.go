package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/preflight"
	"github.com/thaw-ml/thaw/recipe"
)

type checkCmd struct {
	Spec      string   `arg:"" help:"The spec, a YAML file."`
	JSON      bool     `name:"json" help:"Print one JSON object: counts, classes, lengths or sizes, and findings with name, grade, count, text and the first five."`
	Overrides []string `arg:"" optional:"" name:"key=value" help:"Keys of the spec to set otherwise, as in data.test=0.2."`
}

func (*checkCmd) Help() string {
	return `Findings are fatal, so that thaw train refuses the data, or warnings. The spec's key accept takes names of findings that are known: accept: [duplicates]. docs/guide/check.md tells each.

The exit code is 0 where nothing is fatal, 1 where something is, and 2 for a wrong command line or spec.`
}

// errUnfit ends a check whose findings were printed already.
type errUnfit struct{ fatal int }

func (e errUnfit) Error() string {
	return fmt.Sprintf("check: %s: thaw train would refuse this data", quantity.Count(e.fatal, "fatal finding", "fatal findings"))
}

func (c *checkCmd) Run(ctx context.Context, s streams) error {
	spec, err := readSpec("check", c.Spec, c.Overrides)
	if err != nil {
		return err
	}
	began := time.Now()
	report, err := recipe.Preflight(ctx, spec)
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(s.out).Encode(struct {
			Spec string `json:"spec"`
			*preflight.Report
			Seconds float64 `json:"seconds"`
		}{c.Spec, report, time.Since(began).Seconds()})
	} else {
		err = printReport(s.out, report, time.Since(began))
	}
	if fatal := len(report.Of(preflight.Fatal)); err == nil && fatal > 0 {
		return errUnfit{fatal}
	}
	return err
}

// mostClasses are listed, each on a line.
const mostClasses = 20

func printReport(w io.Writer, r *preflight.Report, took time.Duration) error {
	var b strings.Builder
	line := func(subject, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s %s\n", subject, fmt.Sprintf(format, args...))
	}
	here, err := os.Getwd()
	if err != nil {
		here = "/" // paths stay whole
	}
	line("data", "%s train · %s test", quantity.Digits(r.Train), quantity.Digits(r.Test))
	printClasses(&b, r)
	if t := r.Tokens; t != nil {
		line("tokens", "median %d · 95 %% have at most %d · longest %d · cut at %d: %s", t.Median, t.P95, t.Longest, t.Limit, quantity.Count(t.Cut, "text", "texts"))
	}
	if p := r.Pictures; p != nil {
		line("pixels", "smallest %d x %d · median of the shorter side %d · largest %d x %d · the model sees %d x %d",
			p.Smallest[0], p.Smallest[1], p.Median, p.Largest[0], p.Largest[1], p.Input, p.Input)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "\n%-9s %s: %s\n", f.Grade, f.Name, f.Text)
		for _, c := range f.First {
			line("", "  %s", shorter(c.String(), here))
		}
		if n := f.Count - len(f.First); n > 0 && len(f.First) > 0 {
			line("", "  and %s more", quantity.Digits(n))
		}
	}
	counts := fmt.Sprintf("%s · %s", quantity.Count(len(r.Of(preflight.Fatal)), "fatal finding", "fatal findings"),
		quantity.Count(len(r.Of(preflight.Warning)), "warning", "warnings"))
	if n := len(r.Of(preflight.Accepted)); n > 0 {
		counts += fmt.Sprintf(" · %s accepted", quantity.Digits(n))
	}
	fmt.Fprintf(&b, "\n%-9s %s · %.1fs\n", "result", counts, took.Seconds())
	_, err = io.WriteString(w, b.String())
	return err
}

// shorter leaves the working folder out of the paths in a text.
func shorter(text, here string) string {
	if here == "/" {
		return text
	}
	return strings.ReplaceAll(text, here+"/", "")
}

func printClasses(b *strings.Builder, r *preflight.Report) {
	width := 0
	for _, c := range r.Classes[:min(len(r.Classes), mostClasses)] {
		width = max(width, min(len([]rune(c.Name)), 40))
	}
	total := 0
	for _, c := range r.Classes {
		total += c.Train
	}
	for i, c := range r.Classes {
		if i == mostClasses {
			fmt.Fprintf(b, "%-9s and %s more (--json lists all)\n", "", quantity.Digits(len(r.Classes)-i))
			break
		}
		subject := ""
		if i == 0 {
			subject = "classes"
		}
		name := []rune(c.Name)
		if len(name) > 40 {
			name = append(name[:39], '…')
		}
		fmt.Fprintf(b, "%-9s %-*s %9s train %5.1f %% %9s test\n", subject, width, string(name), quantity.Digits(c.Train),
			100*float64(c.Train)/float64(max(1, total)), quantity.Digits(c.Test))
	}
	if class, accuracy, macroF1 := r.Baseline(); class != "" && accuracy > 0 {
		fmt.Fprintf(b, "%-9s always guessing %q scores accuracy %.4f, macro_f1 %.4f\n", "baseline", class, accuracy, macroF1)
	}
}
