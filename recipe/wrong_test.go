package recipe

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// edit is a text of the sample spec, and what to put in its place.
type edit [2]string

var wrongSpecs = []struct {
	name      string
	edits     []edit
	overrides []string
	want      string
}{
	// Keys.
	{"unknown key", []edit{{"epochs: 1", "epoch: 1"}}, nil,
		`reviews.yaml:9: phases[0].epoch: unknown key; did you mean "epochs"?`},
	{"unknown key, none near", []edit{{"seed: 1", "zzz: 1"}}, nil,
		`reviews.yaml:11: zzz: unknown key; the keys here are kind, model, weights, head, data, images, boxes, lora, preset, phases, metrics, best, batch, optimizer, clip_norm, label_smoothing, class_weights, focal_gamma, focal_alpha, ema, early_stopping, precision, device, checkpointing, threads, share_cpus, cache, graph, deterministic, seed, checkpoint, stop_after, distributed, accept, out`},
	{"key of elsewhere", []edit{{"seed: 1", "lr: 1e-3"}}, nil,
		`reviews.yaml:11: lr: unknown key; did you mean phases[0].lr?`},
	{"key of transformers", []edit{{"lr: 1e-3", "learning_rate: 1e-3"}}, nil,
		`reviews.yaml:9: phases[0].learning_rate: unknown key; did you mean "lr"?`},
	{"key of transformers, elsewhere", []edit{{"seed: 1", "max_seq_length: 64"}}, nil,
		`reviews.yaml:11: max_seq_length: unknown key; did you mean data.max_length?`},
	{"odd key", []edit{{"seed: 1", `"a b\n": 1`}}, nil,
		`reviews.yaml:11: "a b\n": unknown key; the keys here are kind, model, weights, head, data, images, boxes, lora, preset, phases, metrics, best, batch, optimizer, clip_norm, label_smoothing, class_weights, focal_gamma, focal_alpha, ema, early_stopping, precision, device, checkpointing, threads, share_cpus, cache, graph, deterministic, seed, checkpoint, stop_after, distributed, accept, out`},
	{"key that is a list", []edit{{"seed: 1", `? [a, b]` + "\n: 1"}}, nil,
		`reviews.yaml:11: a key must be a word, found a list`},
	{"merge key", []edit{{"{train: head, ", "{<<: {}, train: head, "}}, nil,
		`reviews.yaml:9: phases[0].<<: merge keys are not supported; an alias can stand for a whole value`},
	{"twice", []edit{{"seed: 1", "seed: 1\nmodel: x\nseed: 2"}}, nil,
		"reviews.yaml:12: model: given twice, first in line 2\nreviews.yaml:13: seed: given twice, first in line 11"},
	{"missing", []edit{{"model: ../models/minilm", ""}, {"{text: snippet, label: sentiment}", "{}"}, {"train: reviews.tsv", ""}}, nil, strings.Join([]string{
		`reviews.yaml: model: missing: the folder or the name of the pre-trained model`,
		`reviews.yaml:4: data.train: missing: a .csv, .tsv or .jsonl file`,
		`reviews.yaml:6: data.columns.text: missing: the name of the column with the texts`,
		`reviews.yaml:6: data.columns.label: missing: the name of the column with the classes`}, "\n")},
	{"missing in a phase", []edit{{"{train: head,    epochs: 1, lr: 1e-3}", "{}"}}, nil, strings.Join([]string{
		`reviews.yaml:9: phases[0].train: missing: what to train, such as head, all or "top 2"`,
		`reviews.yaml:9: phases[0].epochs: missing: the passes over the training rows`,
		`reviews.yaml:9: phases[0].lr: missing: the highest learning rate, such as 2e-5`}, "\n")},
	{"misspelled and so missing", []edit{{"train: reviews", "trian: reviews"}}, nil,
		`reviews.yaml:5: data.trian: unknown key; did you mean "train"?`},

	// Types.
	{"text for a mapping", []edit{{"head: {classes: [negative, positive], pooling: mean}", "head: mean"}}, nil,
		`reviews.yaml:3: head: expected a mapping with the keys objective, classes, separator, pooling, dropout, found "mean"`},
	{"mapping for a list", []edit{{"classes: [negative, positive]", "classes: {a: b}"}}, nil,
		`reviews.yaml:3: head.classes: expected a list, found a mapping`},
	{"text for a list", []edit{{"classes: [negative, positive]", "classes: negative positive"}}, nil,
		`reviews.yaml:3: head.classes: expected a list, found "negative positive"`},
	{"list for text", []edit{{"train: reviews.tsv", "train: [a, b]"}}, nil,
		`reviews.yaml:5: data.train: expected text, found a list`},
	{"list in a list", []edit{{"[negative, positive]", "[negative, [positive]]"}}, nil,
		`reviews.yaml:3: head.classes[1]: expected text, found a list`},
	{"mapping for a selection", []edit{{"train: head", "train: {top: 2}"}}, nil,
		`reviews.yaml:9: phases[0].train: expected head, all, "top 2", a stage or a list of these, found a mapping`},
	{"text for a whole number", []edit{{"epochs: 1", "epochs: many"}}, nil,
		`reviews.yaml:9: phases[0].epochs: expected a whole number, found "many"`},
	{"fraction for a whole number", []edit{{"epochs: 1", "epochs: 1.5"}}, nil,
		`reviews.yaml:9: phases[0].epochs: expected a whole number, found 1.5`},
	{"too large", []edit{{"epochs: 1", "epochs: 99999999999999999999"}}, nil,
		`reviews.yaml:9: phases[0].epochs: expected a whole number, found 99999999999999999999`},
	{"octal", []edit{{"epochs: 1", "epochs: 010"}}, nil,
		`reviews.yaml:9: phases[0].epochs: expected a whole number, found 010; write it without the 0 in front`},
	{"negative seed", []edit{{"seed: 1", "seed: -1"}}, nil,
		`reviews.yaml:11: seed: expected a whole number from 0 up, found -1`},
	{"quoted number", []edit{{"lr: 1e-3", `lr: "1e-3"`}}, nil,
		`reviews.yaml:9: phases[0].lr: expected a number, found "1e-3"; write it without quotes`},
	{"no number", []edit{{"lr: 1e-3", "lr: .nan"}, {"lr: 2e-4", "lr: .inf"}}, nil,
		"reviews.yaml:9: phases[0].lr: expected a number, found .nan\nreviews.yaml:10: phases[1].lr: expected a number, found .inf"},
	{"bool for a number", []edit{{"lr: 1e-3", "lr: true"}}, nil,
		`reviews.yaml:9: phases[0].lr: expected a number, found true`},
	{"word for a bool", []edit{{"seed: 1", "optimizer: {name: sgd, nesterov: yes}"}}, nil,
		`reviews.yaml:11: optimizer.nesterov: expected true or false, found "yes"`},
	{"no value", []edit{{"seed: 1", "seed:\nout: ~"}}, nil,
		"reviews.yaml:11: seed: there is no value; leave the key out for the default\nreviews.yaml:12: out: there is no value; leave the key out for the default"},
	{"tag", []edit{{"seed: 1", "out: !!binary aGk=\nseed: !seed 1"}}, nil,
		"reviews.yaml:11: out: the YAML tag \"!!binary\" is not supported\nreviews.yaml:12: seed: the YAML tag \"!seed\" is not supported"},
	{"number of betas", []edit{{"seed: 1", "optimizer: {betas: [0.9]}"}}, nil,
		`reviews.yaml:11: optimizer.betas: expected 2 numbers, found 1`},

	// Values.
	{"learning rates", []edit{{"lr: 1e-3", "lr: 0"}, {"lr: 2e-4", "lr: -2e-4, head_lr: 0"}}, nil,
		"reviews.yaml:9: phases[0].lr: must be above 0, found 0\nreviews.yaml:10: phases[1].lr: must be above 0, found -0.0002"},
	{"head's learning rate", []edit{{"lr: 1e-3", "lr: 1e-3, head_lr: 0"}}, nil,
		`reviews.yaml:9: phases[0].head_lr: must be above 0, found 0`},
	{"a phase", []edit{{"epochs: 2, lr: 2e-4, layer_decay: 0.9", "epochs: 0, lr: 2e-4, layer_decay: 1.1, warm_up: 1, schedule: linaer"}}, nil, strings.Join([]string{
		`reviews.yaml:10: phases[1].epochs: must be 1 or more, found 0`,
		`reviews.yaml:10: phases[1].layer_decay: must be above 0 and at most 1, found 1.1`,
		`reviews.yaml:10: phases[1].schedule: expected linear, cosine, constant, one-cycle, polynomial, step, plateau, found "linaer"; did you mean "linear"?`,
		`reviews.yaml:10: phases[1].warm_up: must be from 0 to below 1, a share of the phase's steps; found 1`}, "\n")},
	{"layer decay 0", []edit{{"0.9", "0"}}, nil,
		`reviews.yaml:10: phases[1].layer_decay: must be above 0 and at most 1, found 0`},
	{"nothing selected", []edit{{"[top 2]", "[]"}}, nil,
		`reviews.yaml:10: phases[1].train: nothing is selected; write "head" to train the head alone`},
	{"top 0", []edit{{"[top 2]", "top 0"}}, nil,
		`reviews.yaml:10: phases[1].train: expected "top" and a number from 1 up, such as "top 2", found "top 0"`},
	{"comma", []edit{{"{train: [top 2], epochs: 2, lr: 2e-4, layer_decay: 0.9}", "train: layer.4, layer.5\n    epochs: 1\n    lr: 1"}}, nil,
		`reviews.yaml:10: phases[1].train: "layer.4, layer.5" is no name of a stage; several are a list, such as [layer.4, layer.5]`},
	{"no phases", []edit{{"phases:\n  - {train: head,    epochs: 1, lr: 1e-3}\n  - {train: [top 2], epochs: 2, lr: 2e-4, layer_decay: 0.9}", "phases: []"}}, nil,
		`reviews.yaml:8: phases: missing: a list with one or more of {train: head, epochs: 1, lr: 1e-3}`},
	{"one class", []edit{{"[negative, positive]", "[negative]"}}, nil,
		`reviews.yaml:3: head.classes: a classifier needs two classes or more, found 1`},
	{"no classes", []edit{{"{classes: [negative, positive], pooling: mean}", "{}"}}, nil,
		`reviews.yaml:3: head.classes: a classifier needs two classes or more, found 0`},
	{"same class", []edit{{"{classes: [negative, positive], pooling: mean}", "\n  classes:\n  - a\n  - 'a'\n  - ''"}}, nil,
		"reviews.yaml:6: head.classes[1]: \"a\" is class 0 already\nreviews.yaml:7: head.classes[2]: a class must not be empty"},
	{"pooling and dropout", []edit{{"pooling: mean", "pooling: max, dropout: 1"}}, nil,
		"reviews.yaml:3: head.pooling: expected cls, mean, found \"max\"\nreviews.yaml:3: head.dropout: must be from 0 to below 1, found 1"},
	{"share", []edit{{"test: 0.1", "test: 1.5"}}, nil,
		`reviews.yaml:7: data.test: a share must be above 0 and below 1, such as 0.1, found 1.5`},
	{"percent", []edit{{"test: 0.1", "test: 10%"}}, nil,
		`reviews.yaml:7: data.test: a share must be above 0 and below 1, such as 0.1, found 10%`},
	{"step", []edit{{"test: 0.1", "test: every 1"}}, nil,
		`reviews.yaml:7: data.test: expected "every" and a number from 2 up, such as "every 10", found "every 1"`},
	{"columns", []edit{{"label: sentiment", "label: snippet, pair: snippet"}}, nil,
		"reviews.yaml:6: data.columns.label: is the column of the texts\nreviews.yaml:6: data.columns.pair: is the column of the texts"},
	{"empty text", []edit{{"label: sentiment", "label: ''"}}, nil,
		`reviews.yaml:6: data.columns.label: must not be empty: the name of the column with the classes`},
	{"length", []edit{{"test: 0.1", "max_length: 2"}}, nil,
		`reviews.yaml:7: data.max_length: must be 3 tokens or more, of which [CLS] and [SEP] are two; found 2`},
	{"batch", []edit{{"seed: 1", "batch: {size: 0, tokens: 127, eval_size: -1}"}}, nil,
		"reviews.yaml:11: batch.size: must be 1 or more, found 0\nreviews.yaml:11: batch.tokens: must be 0 (no budget) or at least data.max_length, 128, or some rows fit no batch; found 127"},
	{"evaluation batch", []edit{{"seed: 1", "batch: {eval_size: 0}"}}, nil,
		`reviews.yaml:11: batch.eval_size: must be 1 or more, found 0`},
	{"adamw", []edit{{"seed: 1", "optimizer: {weight_decay: -1, betas: [1, 0], eps: 0, momentum: 0.9, nesterov: true}"}}, nil, strings.Join([]string{
		`reviews.yaml:11: optimizer.betas[0]: must be from 0 to below 1, found 1`,
		`reviews.yaml:11: optimizer.betas[1]: must be above 0 and below 1, found 0`,
		`reviews.yaml:11: optimizer.eps: must be above 0, found 0`,
		`reviews.yaml:11: optimizer.momentum: is for sgd; adamw has betas`,
		`reviews.yaml:11: optimizer.nesterov: is for sgd`,
		`reviews.yaml:11: optimizer.weight_decay: must be 0 or above, found -1`}, "\n")},
	{"sgd", []edit{{"seed: 1", "optimizer: {name: sgd, betas: [0.9, 0.99], eps: 1e-8, momentum: 0, nesterov: true}"}}, nil, strings.Join([]string{
		`reviews.yaml:11: optimizer.nesterov: needs a momentum above 0`,
		`reviews.yaml:11: optimizer.betas: are for adamw; sgd has momentum`,
		`reviews.yaml:11: optimizer.eps: is for adamw`}, "\n")},
	{"optimizer", []edit{{"seed: 1", "optimizer: {name: Adam}"}}, nil,
		`reviews.yaml:11: optimizer.name: expected adamw, sgd, found "Adam"; did you mean "adamw"?`},
	{"the rest", []edit{{"seed: 1", "clip_norm: -1\nlabel_smoothing: 1\nprecision: bf16\ndevice: gpu\nthreads: -1\ncache: no"}}, nil, strings.Join([]string{
		`reviews.yaml:11: clip_norm: must be 0 (off) or above, found -1`,
		`reviews.yaml:12: label_smoothing: must be from 0 to below 1, found 1`,
		`reviews.yaml:13: precision: expected auto, float32, bfloat16, float16, found "bf16"; did you mean "bfloat16"?`,
		`reviews.yaml:14: device: expected auto, cpu, cuda, cuda:0, found "gpu"; did you mean "cuda"?`,
		`reviews.yaml:15: threads: must be 0 (all) or above, found -1`,
		`reviews.yaml:16: cache: expected auto, memory, disk, off, found "no"; did you mean "off"?`}, "\n")},
	{"number of a GPU", []edit{{"seed: 1", "device: cuda:x"}}, nil,
		`reviews.yaml:11: device: expected auto, cpu, cuda, cuda:0, found "cuda:x"; did you mean "cuda:0"?`},
	{"half", []edit{{"seed: 1", "precision: fp16"}}, nil,
		`reviews.yaml:11: precision: expected auto, float32, bfloat16, float16, found "fp16"; did you mean "float16"?`},
	{"alias", []edit{{"pooling: mean", "pooling: &p max"}, {"seed: 1", "cache: *p"}}, nil,
		"reviews.yaml:3: head.pooling: expected cls, mean, found \"max\"\nreviews.yaml:11: cache: expected auto, memory, disk, off, found \"max\""},
	{"cycle", []edit{{"[negative, positive]", "&c [*c, *c]"}}, nil,
		"reviews.yaml:3: head.classes[0]: expected text, found a list\nreviews.yaml:3: head.classes[1]: expected text, found a list"},

	// YAML.
	{"syntax", []edit{{"seed: 1", "seed: 1: 2"}}, nil,
		`reviews.yaml:11: mapping values are not allowed in this context`},
	{"open bracket", []edit{{"positive]", "positive"}}, nil,
		`reviews.yaml:3: did not find expected ',' or ']'`},
	{"tab", []edit{{"  train: reviews.tsv", "\ttrain: reviews.tsv"}}, nil,
		`reviews.yaml:5: found character that cannot start any token`},
	{"star", []edit{{"train: head", "train: *.bias"}}, nil,
		`reviews.yaml:9: did not find expected alphabetic or numeric character; text that starts with * or & must be quoted, such as "*.bias"`},
	{"unknown alias", []edit{{"train: head", "train: *bias"}}, nil,
		`reviews.yaml:9: unknown anchor 'bias' referenced; text that starts with * or & must be quoted, such as "*.bias"`},
	{"syntax in the first line", []edit{{reviews, "{model: a"}}, nil,
		`reviews.yaml:1: did not find expected ',' or '}'`},
	{"dedent", []edit{{"  test: 0.1", " test: 0.1"}}, nil,
		`reviews.yaml:7: did not find expected key`},
	{"dedent in a list", []edit{{"  - {train: [top", " x - {train: [top"}}, nil,
		`reviews.yaml:10: did not find expected key`},
	{"two documents", []edit{{"seed: 1", "---\nseed: 1"}}, nil,
		`reviews.yaml:11: a second YAML document starts here; a spec is one`},
	{"a list", []edit{{reviews, "\n- a"}}, nil,
		`reviews.yaml:2: expected keys such as model, data and phases, each with its value, found a list`},
	{"not UTF-8", []edit{{"seed: 1", "out: \xff"}}, nil,
		`reviews.yaml:11: byte 0xff is not UTF-8`},
	{"UTF-16", []edit{{"# a", "\xff\xfe# a"}}, nil,
		`reviews.yaml: this is UTF-16; save it as UTF-8`},
	{"control character", []edit{{"seed: 1", "out: a\x00"}}, nil,
		`reviews.yaml:11: the control character U+0000 is not allowed`},
	{"empty", []edit{{reviews, ""}}, nil, strings.Join([]string{
		`reviews.yaml: model: missing: the folder or the name of the pre-trained model`,
		`reviews.yaml: head.classes: a classifier needs two classes or more, found 0`,
		`reviews.yaml: data.train: missing: a .csv, .tsv or .jsonl file`,
		`reviews.yaml: data.columns.text: missing: the name of the column with the texts`,
		`reviews.yaml: data.columns.label: missing: the name of the column with the classes`,
		`reviews.yaml: phases: missing: a list with one or more of {train: head, epochs: 1, lr: 1e-3}`}, "\n")},

	// Overrides.
	{"override of a value", nil, []string{"phases[0].lr=-1", "phases[1].lr=x", "seed=1.5"},
		"command line: phases[0].lr=-1: must be above 0, found -1\ncommand line: phases[1].lr=x: expected a number, found \"x\"\ncommand line: seed=1.5: expected a whole number from 0 up, found 1.5"},
	{"after the file's", []edit{{"seed: 1", "threads: -1"}}, []string{"cache=x"},
		"reviews.yaml:11: threads: must be 0 (all) or above, found -1\ncommand line: cache=x: expected auto, memory, disk, off, found \"x\""},
	{"override of a list", nil, []string{"head.classes=[a]"},
		`command line: head.classes=[a]: a classifier needs two classes or more, found 1`},
	{"override of an item", nil, []string{"head.classes[1]=negative"},
		`command line: head.classes[1]=negative: "negative" is class 0 already`},
	{"override of a mapping", nil, []string{"head={clases: [a, b]}"},
		`command line: head={clases: [a, b]}: head.clases: unknown key; did you mean "classes"?`},
	{"override of an unknown key", nil, []string{"lr=1e-4", "batch.sise=3", "bach.size=3"},
		"command line: lr=1e-4: unknown key; did you mean phases[0].lr?\ncommand line: batch.sise=3: unknown key; did you mean \"size\"?\ncommand line: bach.size=3: bach: unknown key; did you mean \"batch\"?"},
	{"override past the end", nil, []string{"phases[2].lr=1", "head.classes[9]=x"},
		"command line: phases[2].lr=1: there is no phases[2]; the last of phases is phases[1]\ncommand line: head.classes[9]=x: there is no head.classes[9]; the last of head.classes is head.classes[1]"},
	{"override through a scalar", nil, []string{"data.train.x=1", "seed[0]=1", "phases.lr=1"},
		"command line: data.train.x=1: there is no data.train.x; data.train is \"reviews.tsv\"\ncommand line: seed[0]=1: there is no seed[0]; seed is 1\ncommand line: phases.lr=1: there is no phases.lr; phases is a list"},
	{"override of nothing", nil, []string{"seed", "=1", "phases[x].lr=1", ".seed=1", "phases[0]lr=1"}, strings.Join([]string{
		`command line: seed: expected key=value, such as seed=2`,
		`command line: =1: expected a key such as seed, data.train or phases[0].lr, found ""`,
		`command line: phases[x].lr=1: expected a key such as seed, data.train or phases[0].lr, found "phases[x].lr"`,
		`command line: .seed=1: expected a key such as seed, data.train or phases[0].lr, found ".seed"`,
		`command line: phases[0]lr=1: expected a key such as seed, data.train or phases[0].lr, found "phases[0]lr"`}, "\n")},
	{"override without a value", nil, []string{"seed=", "out="},
		"command line: seed=: there is no value\ncommand line: out=: there is no value"},
	{"override that is no YAML", nil, []string{"head.classes=[a, b"},
		`command line: head.classes=[a, b: not YAML: did not find expected ',' or ']'`},
	{"override with a long value", nil, []string{"cache=" + strings.Repeat("x", 100)},
		`command line: cache=` + strings.Repeat("x", 54) + `...: expected auto, memory, disk, off, found "` + strings.Repeat("x", 60) + `"...`},
	{"override with a line end", nil, []string{"cache=a\nb"},
		`command line: "cache=a\nb": expected auto, memory, disk, off, found "a\nb"`},
}

func TestWrongSpecs(t *testing.T) {
	for _, c := range wrongSpecs {
		t.Run(c.name, func(t *testing.T) {
			text := reviews
			for _, e := range c.edits {
				assert.Contains(t, text, e[0])
				text = strings.Replace(text, e[0], e[1], 1)
			}
			s, err := Parse("reviews.yaml", []byte(text), c.overrides...)
			assert.EqualError(t, err, c.want)
			assert.IsType(t, SpecErrors{}, err)
			assert.Equal(t, Spec{}, s)
		})
	}
}

func TestManyFaultsAreCut(t *testing.T) {
	var b strings.Builder
	for i := range 30 {
		fmt.Fprintf(&b, "key_number_%d: 1\n", i)
	}
	_, err := Parse("r.yaml", []byte(reviews+b.String()))
	lines := strings.Split(err.Error(), "\n")
	assert.Len(t, lines, 21)
	assert.Equal(t, "and 10 more", lines[20])
}

func TestAliasesAreOverriddenAlone(t *testing.T) {
	text := strings.Replace(reviews, "- {train: head,    epochs: 1, lr: 1e-3}", "- &p {train: head, epochs: 1, lr: 1e-3}\n  - *p", 1)
	s, err := Parse("r.yaml", []byte(text), "phases[1].lr=5", "batch.size=8", "batch.tokens=2048", "seed=3", "seed=4")
	assert.NoError(t, err)
	assert.Equal(t, []float64{1e-3, 5, 2e-4}, []float64{s.Phases[0].LR, s.Phases[1].LR, s.Phases[2].LR})
	assert.Equal(t, Batch{Size: 8, Tokens: 2048, EvalSize: 16}, s.Batch)
	assert.Equal(t, uint64(4), s.Seed, "the last holds")
	s, err = Parse("r.yaml", []byte(text), "phases[0].lr=5")
	assert.NoError(t, err)
	assert.Equal(t, []float64{5, 1e-3}, []float64{s.Phases[0].LR, s.Phases[1].LR})
}

// FuzzParse looks for panics, for errors that are not a line for each fault, and for specs that
// change when they are written and read.
func FuzzParse(f *testing.F) {
	f.Add(reviews, "seed=2")
	f.Add(reviews, "\r")
	for _, c := range wrongSpecs {
		text := reviews
		for _, e := range c.edits {
			text = strings.Replace(text, e[0], e[1], 1)
		}
		f.Add(text, strings.Join(c.overrides, "\x00"))
	}
	if resolved, err := os.ReadFile("testdata/resolved.yaml"); err == nil {
		f.Add(string(resolved), "optimizer={name: sgd}")
	}
	f.Fuzz(func(t *testing.T, text, overrides string) {
		s, err := Parse("/specs/reviews.yaml", []byte(text), strings.Split(overrides, "\x00")...)
		if err != nil {
			faults, ok := err.(SpecErrors)
			if !ok || len(faults) == 0 {
				t.Fatalf("the error is a %T", err)
			}
			for _, fault := range faults {
				if line := fault.Error(); strings.ContainsAny(line, "\n\r") {
					t.Fatalf("more than a line: %q", line)
				}
			}
			return
		}
		requireRoundTrip(t, s)
	})
}
