package recipe

// Until finetune has its own: what stands here goes at the merge.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/suggest"
)

// cleanSelection becomes finetune.Selection.Clean.
func cleanSelection(s Selection) (Selection, error) {
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
			number, ok := strings.CutPrefix(items[i], "top ")
			if n, err := strconv.Atoi(number); !ok || err != nil || n < 1 {
				return nil, fmt.Errorf(`expected "top" and a number from 1 up, such as "top 2", found %s`, suggest.Quote(item))
			}
		case len(words) > 1 || strings.Contains(item, ","):
			return nil, fmt.Errorf("%s is no name of a stage; several are a list, such as [%s]", suggest.Quote(item),
				suggest.Shorten(strings.Join(strings.FieldsFunc(item, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }), ", ")))
		case strings.ContainsAny(item, `*?[\`):
			if _, err := path.Match(item, ""); err != nil {
				return nil, fmt.Errorf("%s is a pattern with an error: a [ without its ], or a \\ at the end", suggest.Quote(item))
			}
		}
	}
	return items, nil
}

// headOnly becomes finetune.Selection.HeadOnly.
func headOnly(s Selection) bool {
	return !slices.ContainsFunc(s, func(item string) bool { return strings.TrimSpace(item) != "head" })
}

// old is the spec as today's finetune.Run wants it.
func (s *Spec) old() finetune.Spec {
	o := finetune.Spec{
		Model: s.Model, Weights: s.Weights,
		Head: finetune.Head{Classes: s.Head.Classes, Pooling: s.Head.Pooling, Dropout: s.Head.Dropout},
		Data: finetune.Data{
			Train: s.Data.Train, Columns: finetune.Columns(s.Data.Columns), Test: s.Data.Test, MaxLength: s.Data.MaxLength,
			OtherClasses: s.Data.OtherClasses, PerClass: s.Data.PerClass,
		},
		Batch: finetune.Batch(s.Batch),
		Optimizer: finetune.Optimizer{
			Name: s.Optimizer.Name, WeightDecay: s.Optimizer.WeightDecay, Betas: finetune.Betas(s.Optimizer.Betas), Eps: s.Optimizer.Eps,
			Momentum: s.Optimizer.Momentum, Nesterov: s.Optimizer.Nesterov,
		},
		ClipNorm: s.ClipNorm, LabelSmoothing: s.LabelSmoothing, Precision: s.Precision, Device: s.Device, Threads: s.Threads,
		Cache: s.Cache, Graph: s.Graph, Deterministic: s.Deterministic, Seed: s.Seed, Out: s.Out,
	}
	if s.Images != nil {
		o.Pictures = new(finetune.Pictures(*s.Images))
	}
	for _, p := range s.Phases {
		o.Phases = append(o.Phases, finetune.Phase{
			Train: finetune.Selection(p.Train), Epochs: p.Epochs, LR: p.LR, HeadLR: p.HeadLR, LayerDecay: p.LayerDecay, WarmUp: p.WarmUp,
			Schedule: p.Schedule,
		})
	}
	return o
}

// located gives an error of the old spec the place in this one.
func (s *Spec) located(err error) error {
	if e, ok := errors.AsType[*finetune.SpecError](err); ok {
		return s.Errorf(e.Key, "%w", e.Err)
	}
	return err
}

// ChooseDevice makes "auto" a device and a precision; a device that this program cannot use is an error.
func (s *Spec) ChooseDevice() error {
	f := newFaults(s.source)
	f.device("device", &s.Device)
	f.choice("precision", &s.Precision, "auto", "float32", "bfloat16")
	if err := f.err(); err != nil {
		return err
	}
	o := finetune.Spec{Device: s.Device, Precision: s.Precision}
	if err := o.ChooseDevice(); err != nil {
		return s.located(err)
	}
	s.Device, s.Precision = o.Device, o.Precision
	return nil
}

// checkPhases makes sure that every phase trains something that a model of these stages has.
func (s *Spec) checkPhases(stages []finetune.Stage) error {
	o := s.old()
	return s.located(o.CheckPhases(stages))
}

// train runs a task by today's finetune.Run.
func train[B finetune.Samples[B]](ctx context.Context, s *Spec, model finetune.Model[B], train, test finetune.Dataset[B], report finetune.Reporter) (*finetune.Result, error) {
	watched := &specWriter{Reporter: report, spec: s}
	if report == nil {
		watched.Reporter = unwatched{}
	}
	result, err := finetune.Run(ctx, s.old(), model, train, test, watched)
	return result, s.located(errors.Join(err, watched.err))
}

// specWriter puts the spec into the run folder once that is there.
type specWriter struct {
	finetune.Reporter
	spec    *Spec
	written bool
	err     error
}

// Planned implements finetune.Reporter.
func (w *specWriter) Planned(phase int, plan *finetune.Plan) {
	if !w.written {
		w.written = true
		text, err := w.spec.YAML()
		if err == nil {
			err = os.WriteFile(filepath.Join(w.spec.Out, specFile), text, 0o644)
		}
		w.err = err
	}
	w.Reporter.Planned(phase, plan)
}

// unwatched is a finetune.Reporter of a run that nobody watches.
type unwatched struct{}

func (unwatched) Planned(int, *finetune.Plan) {}
func (unwatched) Begin(string, int)           {}
func (unwatched) Advance(int, float64)        {}
func (unwatched) End(*finetune.Metrics)       {}
func (unwatched) Note(string, string)         {}

// evaluate measures a model on a data set.
func evaluate[B finetune.Samples[B]](ctx context.Context, model finetune.Model[B], data finetune.Dataset[B], o EvalOptions) (*Evaluation, error) {
	device, precision, err := chosenDevice(o.Device, o.Precision)
	if err != nil {
		return nil, err
	}
	n, err := finetune.NewInference(model, device, precision)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	m, err := n.Evaluate(ctx, data, o.Batch, nil)
	return &Evaluation{m, data.Classes()}, err
}
