package recipe

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/lora"
	"github.com/thaw-ml/thaw/text"
)

func TestLoRAIsFilledIn(t *testing.T) {
	for given, want := range map[string]LoRA{
		"": {Rank: 8, Alpha: 16, Targets: Targets{"query", "value"}, Layers: "all", Bias: "none"},
		"{rank: 4, rslora: true, dropout: 0.05, targets: all-linear, layers: top  2, bias: lora_only}": {
			Rank: 4, Alpha: 8, Dropout: 0.05, RSLoRA: true, Targets: Targets{"all-linear"}, Layers: "top 2", Bias: "lora_only",
		},
		`{alpha: 1, targets: '.*\.layer\.[45]\..*dense'}`: {Rank: 8, Alpha: 1, Targets: Targets{`.*\.layer\.[45]\..*dense`}, Layers: "all", Bias: "none"},
		"{targets: [query, 1]}":                           {Rank: 8, Alpha: 16, Targets: Targets{"query", "1"}, Layers: "all", Bias: "none"},
	} {
		overrides := []string{"phases[0].train=lora", "phases[1].train=[head, lora]"}
		if given != "" {
			overrides = append(overrides, "lora="+given)
		}
		s, err := Parse("reviews.yaml", []byte(reviews), overrides...)
		require.NoError(t, err, given)
		require.NotNil(t, s.LoRA)
		assert.Equal(t, want, *s.LoRA)
		assert.Equal(t, s.Phases[0].LR, s.Phases[0].HeadLR, "one rate for adapters and head")
		requireRoundTrip(t, s)
		if want.Layers == "top 2" {
			assert.Equal(t, lora.Config{Rank: 4, Alpha: 8, Dropout: 0.05, RSLoRA: true, Targets: []string{"all-linear"}, Top: 2, Bias: "lora_only"}, s.LoRA.config())
		}
	}
	s, err := Parse("reviews.yaml", []byte(reviews))
	require.NoError(t, err)
	assert.Nil(t, s.LoRA)
	s, err = Parse("p.yaml", []byte("model: m\ndata: {train: folder}\nphases: [{train: lora, epochs: 1, lr: 1e-3}]"))
	require.NoError(t, err)
	assert.Equal(t, Targets{"all-linear"}, s.LoRA.Targets)
}

func TestLoRAIsChecked(t *testing.T) {
	const lines = "phases[0].train=lora phases[1].train=lora "
	for overrides, want := range map[string]string{
		"lora={}":                                 "command line: lora={}: no phase trains the adapters: write train: lora in one",
		"phases[0].train=[lora,all]":              "phases[0].train=[lora,all]: phases[0].train: with lora beside lora",
		"phases[0].train=lora":                    "reviews.yaml:10: phases[1].train: with lora a phase trains the adapters (train: lora) or the head",
		lines + "lora.rank=0":                     "command line: lora.rank=0: must be 1 or more, found 0",
		lines + "lora.alpha=0":                    "command line: lora.alpha=0: must be above 0, found 0",
		lines + "lora.dropout=1":                  "command line: lora.dropout=1: must be from 0 to below 1, found 1",
		lines + "lora.layers=2":                   `command line: lora.layers=2: expected all, or "top" and a number from 1 up, such as "top 2", found "2"`,
		lines + "lora.bias=some":                  `command line: lora.bias=some: expected none, all, lora_only, found "some"`,
		lines + "lora.targets=[]":                 "command line: lora.targets=[]: no layer is named",
		lines + "lora.targets={a:1}":              "command line: lora.targets={a:1}: expected names of layers, found a mapping",
		lines + "lora.targets=(":                  "command line: lora.targets=(: error parsing regexp: missing closing ): `(`",
		lines + "lora.targets=[query,all-linear]": "command line: lora.targets=[query,all-linear]: lora.targets[1]: all-linear stands alone, and there are 2 targets",
		lines + "lora.target_modules=query":       `command line: lora.target_modules=query: unknown key; did you mean "targets"?`,
		lines + "lora=8":                          "command line: lora=8: expected a mapping with the keys rank, alpha, dropout, rslora, targets, layers, bias, found 8",
	} {
		_, err := Parse("reviews.yaml", []byte(reviews), strings.Fields(overrides)...)
		require.Error(t, err, overrides)
		if overrides == "phases[0].train=[lora,all]" {
			assert.ErrorContains(t, err, "phases[0].train[1]: all beside lora: where there are adapters only they and the head are trained")
			continue
		}
		assert.EqualError(t, err, want)
	}
}

func TestLoRAThatTheModelDoesNotHave(t *testing.T) {
	s := workplace(t)
	s.Phases[0].Train = Selection{"lora"}
	for _, c := range []struct {
		lora LoRA
		want string
	}{
		{LoRA{Targets: Targets{"qery"}}, `lora.targets: lora: no layer is named "qery"; did you mean "query"?`},
		{LoRA{Targets: Targets{"q.*"}}, `lora.targets: lora: no layer before the head matches the pattern "q.*"; a name is "bert.encoder.layer.1.output.dense"`},
		{LoRA{Layers: "top 9"}, "lora.targets: lora: there are 3 stages with parameters before the head, and layers in the top 9 are asked for"},
	} {
		unchanged(t)
		s.LoRA = &c.lora
		_, err := Open(t.Context(), &s)
		require.ErrorContains(t, err, c.want)
	}
}

// A run of adapters leaves weights that open as any run's, merged, and the adapters alone, which on the model that it
// began with give the same.
func TestTrainLoRA(t *testing.T) {
	for name, c := range map[string]struct {
		lora   *LoRA
		frozen int
		want   []string
	}{
		"default": {nil, 1, []string{"query", "value"}},
		"top":     {&LoRA{Rank: 2, Layers: "top 1", Targets: Targets{"all-linear"}, Bias: "lora_only", Dropout: 0.1}, 2, nil},
		"all":     {&LoRA{Rank: 2, Targets: Targets{".*(query|word_embeddings)"}, Bias: "all", RSLoRA: true}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			unchanged(t)
			s := workplace(t)
			s.Head.Pooling = "cls"
			s.LoRA = c.lora
			s.Phases[0].Train, s.Phases[0].Epochs, s.Phases[0].LR, s.Phases[0].HeadLR = Selection{"lora"}, 3, 2e-2, 2e-2
			task, err := Open(t.Context(), &s)
			require.NoError(t, err)
			defer task.Close()
			assert.True(t, slices.ContainsFunc(task.Describe(), func(line [2]string) bool {
				return line[0] == "adapters" && strings.HasPrefix(line[1], "LoRA of rank ")
			}))
			var plan *finetune.Plan
			result, err := task.Train(t.Context(), func(e finetune.Event) error {
				if p, ok := e.(finetune.Planned); ok {
					plan = p.Plan
				}
				return nil
			})
			require.NoError(t, err)
			assert.Equal(t, c.frozen, plan.NumFrozen)
			assert.Equal(t, c.frozen > 0, plan.Cached)

			run, err := OpenRun(result.Folder)
			require.NoError(t, err)
			defer run.Close()
			score, err := run.Evaluate(t.Context(), EvalOptions{Device: "cpu", Precision: "float32"})
			require.NoError(t, err)
			assert.InDelta(t, result.Best.Loss, score.Loss, 1e-5)
			require.NoError(t, run.Export("exported", Transformers))
			exported, err := text.OpenClassifier("exported", "")
			require.NoError(t, err)
			defer exported.Close()

			require.NoError(t, ExportAdapters(result.Folder, "adapters"))
			assert.EqualError(t, ExportAdapters(result.Folder, "adapters"), "adapters exists; nothing is overwritten")
			beside, err := text.LoadClassifier("model", "", textHead(&s))
			require.NoError(t, err)
			defer beside.Close()
			a, err := lora.Load(beside.Stages(), "adapters")
			require.NoError(t, err)
			assert.Equal(t, "SEQ_CLS", a.Config.TaskType)
			assert.Equal(t, filepath.Join(here(t), "model"), a.Config.BaseModel)
			if c.want != nil {
				assert.Equal(t, c.want, a.Config.Targets)
			}
			items := text.Items("the film was great", "a dull film", "no")
			want, err := run.Predict(t.Context(), []Input{{Text: items[0].Text}, {Text: items[1].Text}, {Text: items[2].Text}}, finetune.PredictOptions{})
			require.NoError(t, err)
			for name, m := range map[string]*text.Classifier{"exported": exported, "beside": beside} {
				got, err := m.Predict(t.Context(), items, finetune.PredictOptions{})
				require.NoError(t, err)
				for i := range want {
					assert.InDeltaSlice(t, want[i].Logits, got[i].Logits, 1e-5, name)
				}
			}
		})
	}
}

func TestExportAdaptersRefuses(t *testing.T) {
	s := workplace(t)
	assert.EqualError(t, ExportAdapters("run", "x"), `"run" is no run folder`)
	task, err := Open(t.Context(), &s)
	require.NoError(t, err)
	defer task.Close()
	_, err = task.Train(t.Context(), nil)
	require.NoError(t, err)
	assert.EqualError(t, ExportAdapters("run", "x"), "run has trained no adapters: it has no weights/adapter")
	_, err = os.Stat("x")
	assert.ErrorIs(t, err, os.ErrNotExist)
}
