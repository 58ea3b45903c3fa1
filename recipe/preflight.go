package recipe

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/preflight"
)

// Preflight looks at all data that a spec names for what makes it unfit to train or to measure on, and reads every file
// for that: see [preflight.Report]. Open does the quick part of it. The model's weights are not read, and the device
// and the run folder are not looked at. An error says that there is no telling: a spec that is wrong, or data that is
// not there.
func Preflight(ctx context.Context, s *Spec) (*preflight.Report, error) {
	resolved, err := s.Resolved()
	if err != nil {
		return nil, err
	}
	resolved.Out = ""
	if err := resolved.CheckPaths(); err != nil {
		return nil, err
	}
	report, err := resolved.kind().preflight(ctx, &resolved)
	if err != nil {
		return nil, err
	}
	report.Accept(resolved.Accept)
	return report, nil
}

// resolveAccept checks the names of findings.
func (s *Spec) resolveAccept(f *faults) {
	names, never := preflight.Names(), preflight.Never()
	for i, name := range s.Accept {
		key := fmt.Sprintf("accept[%d]", i)
		switch {
		case slices.Contains(s.Accept[:i], name):
			f.add(key, "%s is there already", suggest.Quote(name))
		case never[name] != "":
			f.add(key, "%s cannot be accepted: %s", suggest.Quote(name), never[name])
		case !slices.Contains(names, name):
			all := slices.Concat(names, slices.Sorted(maps.Keys(never)))
			f.add(key, "no finding is named %s%s; there are %s", suggest.Quote(name), suggest.DidYouMean(name, all), suggest.List(names))
		}
	}
}

func (s *Spec) accepts(finding string) bool { return slices.Contains(s.Accept, finding) }

// problemOfLabels is what labels mean to the checks.
func (s *Spec) problemOfLabels() preflight.Problem {
	return preflight.Problem{
		Classes: s.Head.Classes, Several: s.Head.Objective == MultiLabel, Number: s.Head.Objective == Regression,
	}
}

// chosenBy is the metric that chooses the best epoch, as far as the spec says so.
func (s *Spec) chosenBy() string {
	if s.Best == "" && len(s.Metrics) > 0 {
		return s.Metrics[0]
	}
	return s.Best
}

// refused marks what the spec accepts, and is an error where something fatal is left.
func (s *Spec) refused(r *preflight.Report) error {
	r.Accept(s.Accept)
	return r.Err()
}

// told are the warnings that a run tells, beside what was accepted; thaw check has the others.
var told = []string{preflight.Imbalanced, preflight.Conflicting, preflight.FewSamples, preflight.AbsentClasses}

// describeFindings tells what is worth knowing while training, a subject and a line each.
func describeFindings(r *preflight.Report) (lines [][2]string) {
	for _, f := range r.Findings {
		switch {
		case f.Grade == preflight.Accepted:
			lines = append(lines, [2]string{"accepted", f.Name + ": " + f.Text})
		case slices.Contains(told, f.Name):
			text := f.Text
			if len(f.First) > 0 {
				text += "; the first: " + f.First[0].String()
			}
			lines = append(lines, [2]string{"warning", text})
		}
	}
	return lines
}
