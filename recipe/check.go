package recipe

import (
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/suggest"
)

// resolve fills in defaults, whose sources stand beside the fields, and notes what is wrong. A spec
// from a file must name a model, classes and data; one made in Go may leave them out.
func (s *Spec) resolve(f *faults) {
	kind := s.resolveKind(f)
	f.required("model", s.Model, "the folder or the name of the pre-trained model")
	s.Head.resolveObjective(f, kind.objectives())
	kind.resolve(s, f)
	s.resolvePreset(f)
	if len(s.Phases) == 0 && s.Preset == "" {
		f.add("phases", "missing: a list with one or more of {train: head, epochs: 1, lr: 1e-3}")
	}
	for i := range s.Phases {
		s.Phases[i].resolve(f, fmt.Sprintf("phases[%d]", i))
	}
	for i, p := range s.Phases {
		f.check(p.Schedule != "plateau" || s.Data.Test != "", fmt.Sprintf("phases[%d].schedule", i), "plateau needs data.test: evaluations tell when to lower the rate")
	}
	s.resolveLoRA(f, kind.loraTargets())
	s.Batch.resolve(f, s.Data.MaxLength)
	s.Optimizer.resolve(f)

	fallback(&s.ClipNorm, new(1.0))
	f.check(*s.ClipNorm == 0 || positive(*s.ClipNorm), "clip_norm", "must be 0 (off) or above, found %v", *s.ClipNorm)
	f.check(0 <= s.LabelSmoothing && s.LabelSmoothing < 1, "label_smoothing", "must be from 0 to below 1, found %v", s.LabelSmoothing)
	f.check(s.LabelSmoothing == 0 || s.Head.Objective == Classification, "label_smoothing", "is for head.objective: classification")
	s.resolveLoss(f)
	f.check(0 <= s.EMA && s.EMA < 1, "ema", "must be 0 (off) or above and below 1, such as 0.999; found %v", s.EMA)
	s.EarlyStopping.resolve(f, s.Data.Test != "")
	s.resolveMetrics(f, kind)
	f.text("best", s.Best)
	if s.Checkpointing != "" {
		f.choice("checkpointing", &s.Checkpointing, "auto", "on", "off")
	}
	f.choice("precision", &s.Precision, "auto", "float32", "bfloat16", "float16")
	f.device("device", &s.Device)
	f.check(s.Threads >= 0, "threads", "must be 0 (all) or above, found %d", s.Threads)
	s.resolveCache(f)
	f.choice("graph", &s.Graph, "auto", "off")
	s.Checkpoint.resolve(f)
	s.Distributed.resolve(f)
	s.resolveAccept(f)
	f.check(s.StopAfter == "" || duration(s.StopAfter) > 0, "stop_after", "must be a time such as 30m or 3h50m, found %q", s.StopAfter)

	for key, path := range s.paths() {
		f.text(key, *path)
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		f.check(err == nil, key, "%v", err)
		*path = absolute
	}
}

// The objectives of a head.
const (
	Classification = "classification"
	MultiLabel     = "multi-label"
	Regression     = "regression"
	Detection      = "detection" // of boxes
)

// labelObjectives are those of texts and images.
var labelObjectives = []string{Classification, MultiLabel, Regression}

// resolveObjective checks what the head is trained for, and its classes.
func (h *Head) resolveObjective(f *faults, objectives []string) {
	if !f.choice("head.objective", &h.Objective, objectives...) {
		return
	}
	f.check(h.Objective == MultiLabel || h.Separator == "", "head.separator", "is for head.objective: multi-label")
	if h.Objective == MultiLabel && h.Separator == "" && !f.source.given("head.separator") {
		h.Separator = ","
	}
	f.check(h.Objective != MultiLabel || h.Separator != "", "head.separator", "must not be empty: what stands between two labels")
	f.text("head.separator", h.Separator)
	if h.Objective == Regression {
		f.check(len(h.Classes) == 0, "head.classes", "is for classes; a regression gives one number")
		return
	}
	f.check(len(h.Classes) != 1 || h.Objective == Detection, "head.classes", "a classifier needs two classes or more, found 1")
	first := map[string]int{}
	for i, class := range h.Classes {
		key := fmt.Sprintf("head.classes[%d]", i)
		f.text(key, class)
		f.check(class != "", key, "a class must not be empty")
		if h.Separator != "" {
			f.check(!strings.Contains(class, h.Separator), key, "%s holds the separator of labels, %s: name another with head.separator",
				suggest.Quote(class), suggest.Quote(h.Separator))
		}
		if at, twice := first[class]; twice {
			f.add(key, "%s is class %d already", suggest.Quote(class), at)
			continue
		}
		first[class] = i
	}
}

// TestFile returns the file to test on, if Test names one.
func (d Data) TestFile() (path string, ok bool) {
	_, isShare := shareOf(d.Test)
	return d.Test, d.Test != "" && !isShare && !isStep(d.Test)
}

// shareOf parses a number, with a percent sign or not.
func shareOf(test string) (share float64, ok bool) {
	share, err := strconv.ParseFloat(strings.TrimSuffix(test, "%"), 64)
	return share, err == nil
}

func isStep(test string) bool { return test == "every" || strings.HasPrefix(test, "every ") }

// cleanTest checks Data.Test and spells a share and a step in one way.
func cleanTest(test string) (string, error) {
	trimmed := strings.Join(strings.Fields(test), " ")
	if isStep(trimmed) {
		n, err := strconv.Atoi(strings.TrimPrefix(trimmed, "every "))
		if err != nil || n < 2 {
			return "", fmt.Errorf(`expected "every" and a number from 2 up, such as "every 10", found %s`, suggest.Quote(test))
		}
		return fmt.Sprintf("every %d", n), nil
	}
	if share, ok := shareOf(trimmed); ok {
		if strings.HasSuffix(trimmed, "%") || !(0 < share && share < 1) {
			return "", fmt.Errorf("a share must be above 0 and below 1, such as 0.1, found %s", printable(test))
		}
		return strconv.FormatFloat(share, 'g', -1, 64), nil
	}
	if trimmed == "" {
		return "", nil
	}
	return test, nil
}

func (p *Phase) resolve(f *faults, key string) {
	train, err := finetune.Selection(p.Train).Clean()
	if len(p.Train) == 0 && !f.source.given(key+".train") {
		err = fmt.Errorf(`missing: what to train, such as head, all or "top 2"`)
	}
	f.check(err == nil, key+".train", "%v", err)
	if err == nil {
		p.Train = Selection(train)
	}
	for i, item := range p.Train {
		f.text(fmt.Sprintf("%s.train[%d]", key, i), item)
	}
	f.number(key+".epochs", float64(p.Epochs), "the passes over the training rows")
	f.check(p.Epochs >= 1, key+".epochs", "must be 1 or more, found %d", p.Epochs)
	f.number(key+".lr", p.LR, "the highest learning rate, such as 2e-5")
	f.check(positive(p.LR), key+".lr", "must be above 0, found %v", p.LR)

	headLR := 10 * p.LR
	if selection := finetune.Selection(p.Train); selection.HeadOnly() || selection.TrainsLoRA() {
		headLR = p.LR
	}
	f.fallbackFloat(key+".head_lr", &p.HeadLR, headLR)
	if positive(p.LR) {
		f.check(positive(p.HeadLR), key+".head_lr", "must be above 0, found %v", p.HeadLR)
	}
	f.fallbackFloat(key+".layer_decay", &p.LayerDecay, 1)
	f.check(0 < p.LayerDecay && p.LayerDecay <= 1, key+".layer_decay", "must be above 0 and at most 1, found %v", p.LayerDecay)
	f.choice(key+".schedule", &p.Schedule, "linear", "cosine", "constant", "one-cycle", "polynomial", "step", "plateau")
	p.resolveSchedule(f, key)
	if p.Schedule == "one-cycle" {
		fallback(&p.WarmUp, new(0.3))
	}
	fallback(&p.WarmUp, new(0.1))
	f.check(0 <= *p.WarmUp && *p.WarmUp < 1, key+".warm_up", "must be from 0 to below 1, a share of the phase's steps; found %v", *p.WarmUp)
}

func (b *Batch) resolve(f *faults, maxLength int) {
	f.fallbackInt("batch.size", &b.Size, 32)
	f.check(b.Size >= 1, "batch.size", "must be 1 or more, found %d", b.Size)
	f.check(b.Accumulate >= 0, "batch.accumulate", "must be 0 (off) or above, found %d", b.Accumulate)
	f.check(b.Tokens == 0 || b.Tokens >= maxLength, "batch.tokens",
		"must be 0 (no budget) or at least data.max_length, %d, or some rows fit no batch; found %d", maxLength, b.Tokens)
	f.fallbackInt("batch.eval_size", &b.EvalSize, 2*b.Size)
	if b.Size >= 1 {
		f.check(b.EvalSize >= 1, "batch.eval_size", "must be 1 or more, found %d", b.EvalSize)
	}
}

func (o *Optimizer) resolve(f *faults) {
	if !f.choice("optimizer.name", &o.Name, "adamw", "sgd") {
		return
	}
	if o.Name == "adamw" {
		fallback(&o.WeightDecay, new(0.01))
		if o.Betas == [2]float64{} && !f.source.given("optimizer.betas") {
			o.Betas = [2]float64{0.9, 0.999}
		}
		f.check(0 <= o.Betas[0] && o.Betas[0] < 1, "optimizer.betas[0]", "must be from 0 to below 1, found %v", o.Betas[0])
		f.check(0 < o.Betas[1] && o.Betas[1] < 1, "optimizer.betas[1]", "must be above 0 and below 1, found %v", o.Betas[1])
		f.fallbackFloat("optimizer.eps", &o.Eps, 1e-8)
		f.check(positive(o.Eps), "optimizer.eps", "must be above 0, found %v", o.Eps)
		f.check(o.Momentum == nil, "optimizer.momentum", "is for sgd; adamw has betas")
		f.check(!o.Nesterov, "optimizer.nesterov", "is for sgd")
	} else {
		fallback(&o.WeightDecay, new(1e-4))
		fallback(&o.Momentum, new(0.9))
		f.check(0 <= *o.Momentum && *o.Momentum < 1, "optimizer.momentum", "must be from 0 to below 1, found %v", *o.Momentum)
		f.check(!o.Nesterov || *o.Momentum > 0, "optimizer.nesterov", "needs a momentum above 0")
		f.check(o.Betas == [2]float64{}, "optimizer.betas", "are for adamw; sgd has momentum")
		f.check(o.Eps == 0, "optimizer.eps", "is for adamw")
	}
	f.check(*o.WeightDecay == 0 || positive(*o.WeightDecay), "optimizer.weight_decay", "must be 0 or above, found %v", *o.WeightDecay)
}

func positive(x float64) bool { return x > 0 && !math.IsInf(x, 1) }

// check notes a fault unless all is well.
func (f *faults) check(ok bool, key, format string, args ...any) {
	if !ok {
		f.add(key, format, args...)
	}
}

// required is a text that a file must give.
func (f *faults) required(key, value, what string) {
	f.text(key, value)
	if value != "" || f.source == nil {
		return
	}
	if f.source.given(key) {
		f.add(key, "must not be empty: %s", what)
		return
	}
	f.add(key, "missing: %s", what)
}

// number is required for numbers: a 0 that was given is told from one that was not.
func (f *faults) number(key string, value float64, what string) {
	f.check(value != 0 || f.source.given(key), key, "missing: %s", what)
}

// text must be such that YAML can hold it.
func (f *faults) text(key, value string) {
	f.check(utf8.ValidString(value) && !strings.ContainsRune(value, 0), key, "%s is no text: it has bytes that are not UTF-8, or 0", suggest.Quote(value))
}

// fallback sets what is nil.
func fallback(value **float64, to *float64) {
	if *value == nil {
		*value = to
	}
}

// fallbackInt sets what is 0, unless the 0 was given.
func (f *faults) fallbackInt(key string, value *int, to int) {
	if *value == 0 && !f.source.given(key) {
		*value = to
	}
}

func (f *faults) fallbackFloat(key string, value *float64, to float64) {
	if *value == 0 && !f.source.given(key) {
		*value = to
	}
}

// otherwise are names that others have for the same choices.
var otherwise = map[string]string{
	"bf16": "bfloat16", "fp16": "float16", "f16": "float16", "half": "float16", "fp32": "float32", "f32": "float32", "float": "float32", "full": "float32",
	"gpu": "cuda", "none": "off", "no": "off", "false": "off", "true": "auto", "yes": "auto", "on": "auto",
	"single-label": "classification", "multilabel": "multi-label", "multi_label": "multi-label", "number": "regression",
	"adam": "adamw", "first": "cls", "average": "mean", "avg": "mean", "onecycle": "one-cycle", "one_cycle": "one-cycle",
	"hflip": "flip",
}

// choice is one of several words; the first is the default.
func (f *faults) choice(key string, value *string, words ...string) bool {
	if *value == "" && !f.source.given(key) {
		*value = words[0]
	}
	if slices.Contains(words, *value) {
		return true
	}
	meant := suggest.DidYouMean(*value, words)
	if other := otherwise[strings.ToLower(*value)]; slices.Contains(words, other) {
		meant = fmt.Sprintf("; did you mean %q?", other)
	}
	f.add(key, "expected %s, found %s%s", strings.Join(words, ", "), suggest.Quote(*value), meant)
	return false
}

var numberedGPU = regexp.MustCompile(`^cuda:(0|[1-9][0-9]{0,2})$`)

// device is a choice too, with a number for a GPU.
func (f *faults) device(key string, value *string) {
	if !numberedGPU.MatchString(*value) {
		f.choice(key, value, "auto", "cpu", "cuda", "cuda:0")
	}
}

// labelled is what the column of labels holds, for people.
func (h *Head) labelled() string {
	if h.Objective == Regression {
		return "numbers"
	}
	return "classes"
}
