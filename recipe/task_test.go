package recipe

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(ddpKey) != "" {
		os.Exit(rankOfDDP())
	}
	torchtest.Main(m)
}

func TestKindIsFound(t *testing.T) {
	const phases = "\nphases: [{train: head, epochs: 1, lr: 1e-3}]\n"
	for spec, want := range map[string]string{
		"model: m\ndata: {train: folder}":                                                            "images",
		"model: m\ndata: {train: rows.csv, columns: {image: i, label: l}}":                           "images",
		"model: m\nkind: images\ndata: {train: rows.csv, columns: {image: i, label: l}}":             "images",
		"model: m\nhead: {classes: [a, b]}\ndata: {train: r.jsonl.gz, columns: {text: t, label: l}}": "texts",
	} {
		s, err := Parse("spec.yaml", []byte(spec+phases))
		require.NoError(t, err, spec)
		assert.Equal(t, want, s.Kind, spec)
		requireRoundTrip(t, s)
	}
	for spec, want := range map[string]string{
		"kind: txts\nmodel: m\nhead: {classes: [a, b]}\ndata: {train: r.tsv, columns: {text: t, label: l}}": `spec.yaml:1: kind: expected texts, images, boxes, found "txts"; did you mean "texts"?`,
		"kind: texts\nmodel: m\nhead: {classes: [a, b]}\nimages: {size: 32}\ndata: {train: r.tsv, columns: {text: t, label: l, image: i}, per_class: 3}": "spec.yaml:4: images: is for images, and kind is texts\n" +
			"spec.yaml:5: data.columns.image: is for images\nspec.yaml:5: data.per_class: is for images",
		"model: m\ndata: {train: folder}\npictures: {size: 32}": `spec.yaml:3: pictures: unknown key; did you mean "images"?`,
		"model: m\ndata: {train: rows.csv, columns: {label: l}}\npictures: {size: 32}": "spec.yaml:2: data.columns.image: missing: the name of the column with the images' paths\n" +
			`spec.yaml:3: pictures: unknown key; did you mean "images"?`,
	} {
		_, err := Parse("spec.yaml", []byte(spec+phases))
		assert.EqualError(t, err, want, spec)
	}
}

func TestObjectives(t *testing.T) {
	text := func(head string) string {
		return strings.Replace(reviews, "{classes: [negative, positive], pooling: mean}", head, 1)
	}
	for head, want := range map[string]Head{
		"{objective: regression}":                                     {Objective: Regression, Pooling: "cls"},
		"{objective: multi-label, classes: [a, b]}":                   {Objective: MultiLabel, Classes: []string{"a", "b"}, Separator: ",", Pooling: "cls"},
		"{objective: multi-label, classes: [a, b], separator: ' | '}": {Objective: MultiLabel, Classes: []string{"a", "b"}, Separator: " | ", Pooling: "cls"},
		"{classes: [a, b]}":                                           {Objective: Classification, Classes: []string{"a", "b"}, Pooling: "cls"},
	} {
		s, err := Parse("r.yaml", []byte(text(head)))
		require.NoError(t, err, head)
		assert.Equal(t, want, s.Head)
		requireRoundTrip(t, s)
	}
	for head, want := range map[string]string{
		"{objective: regression, classes: [a, b]}":                 "r.yaml:3: head.classes: is for classes; a regression gives one number",
		"{objective: multilabel, classes: [a, b]}":                 `r.yaml:3: head.objective: expected classification, multi-label, regression, found "multilabel"; did you mean "multi-label"?`,
		"{objective: multi-label}":                                 "r.yaml:3: head.classes: a classifier needs two classes or more, found 0",
		"{objective: multi-label, classes: ['a,b', c]}":            `r.yaml:3: head.classes[0]: "a,b" holds the separator of labels, ",": name another with head.separator`,
		"{objective: multi-label, classes: [a, b], separator: ''}": "r.yaml:3: head.separator: must not be empty: what stands between two labels",
		"{classes: [a, b], separator: ','}":                        "r.yaml:3: head.separator: is for head.objective: multi-label",
	} {
		_, err := Parse("r.yaml", []byte(text(head)))
		assert.EqualError(t, err, want, head)
	}
	_, err := Parse("r.yaml", []byte(text("{objective: regression}")+"label_smoothing: 0.1\n"))
	assert.EqualError(t, err, "r.yaml:12: label_smoothing: is for head.objective: classification")
	_, err = Parse("r.yaml", []byte("model: m\nhead: {objective: multi-label}\nimages: {mixup: 0.2}\ndata: {train: folder}\nphases: [{train: head, epochs: 1, lr: 1}]"))
	assert.EqualError(t, err, "r.yaml:2: head.objective: multi-label needs a table: a folder gives each image one class\n"+
		"r.yaml:3: images.mixup: is for head.objective: classification")
}

func TestCanTrain(t *testing.T) {
	t.Setenv("TORCH_HOME", t.TempDir())
	t.Setenv("HF_HOME", t.TempDir())
	for _, c := range []struct{ name, want string }{
		{"resnet50", "resnet50 is not here: thaw download resnet50 brings it"},
		{"hf:microsoft/resnet-50", "microsoft/resnet-50 is not here: thaw download microsoft/resnet-50 brings it"},
		{"bert-base-cased", "bert-base-cased is not here: thaw download bert-base-cased brings it"},
		{"org/words", "org/words is not here: thaw download org/words brings it"},
		{"fcos_resnet50_fpn", "fcos_resnet50_fpn is not here: thaw download fcos_resnet50_fpn brings it"},
		{"hf:distilbert-base-uncased@main", "distilbert-base-uncased is a text encoder other than BERT, which Thaw does not fine-tune yet"},
	} {
		_, err := Local(c.name)
		assert.EqualError(t, err, c.want)
	}
	for _, m := range hub.Models() {
		assert.Equal(t, m.Architecture != "distilbert", CanTrain(m) == nil, m.Name)
	}
	assert.EqualError(t, CanTrain(hub.Model{Name: "vgg", Kind: hub.Classifier, Architecture: "vgg16"}),
		"vgg is an image classifier other than ResNet, which Thaw does not fine-tune yet")
}

// workplace makes a folder with the tiny model of package text, 40 rows and a spec, and goes there.
func workplace(t *testing.T, edits ...string) Spec {
	t.Helper()
	tiny, err := filepath.Abs("../text/testdata/tiny")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("model", 0o755))
	for to, from := range map[string]string{"config.json": "config.json", "vocab.txt": "vocab.txt", "model.safetensors": "bare.safetensors"} {
		data, err := os.ReadFile(filepath.Join(tiny, from))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile("model/"+to, []byte(strings.NewReplacer(edits...).Replace(string(data))), 0o644))
	}
	rows := "t\tl\tp\n"
	for i := range 40 {
		rows += fmt.Sprintf("the film %d was %s\t%s\tgood\n", i, []string{"dull", "great"}[i%2], []string{"bad", "good"}[i%2])
	}
	require.NoError(t, os.WriteFile("rows.tsv", []byte(rows), 0o644))
	s, err := Parse("spec.yaml", []byte(`model: model
head: {classes: [bad, good], pooling: mean}
data: {train: rows.tsv, columns: {text: t, label: l}, test: every 5}
phases: [{train: all, epochs: 1, lr: 5e-3, head_lr: 5e-3}]
device: cpu
out: run
`))
	require.NoError(t, err)
	return s
}

func TestOpenRunRefuses(t *testing.T) {
	workplace(t)
	require.NoError(t, os.MkdirAll("other/weights", 0o755))
	require.NoError(t, os.WriteFile("other/weights/config.json", []byte(`{"model_type": "gpt2"}`), 0o644))
	for folder, want := range map[string]string{
		"none":  `there is no run folder "none"`,
		"model": `"model" is no run folder: it has no weights/config.json`,
		"other": `other/weights/config.json: model_type is "gpt2", and only bert (texts), resnet (images) and fcos, retinanet, faster_rcnn (boxes) are supported`,
	} {
		_, err := OpenRun(folder)
		assert.EqualError(t, err, want)
	}
}

func TestLengthThatFitsTheModel(t *testing.T) {
	s := workplace(t)
	config, err := os.ReadFile("model/config.json")
	require.NoError(t, err)
	require.Contains(t, string(config), `"max_position_embeddings": 32`)
	task, err := Open(context.Background(), &s)
	require.NoError(t, err)
	task.Close()
	assert.Equal(t, 32, s.Data.MaxLength, "the default fits the model")
	s.Data.MaxLength = 33
	_, err = Open(context.Background(), &s)
	assert.ErrorContains(t, err, "data.max_length: 33 is more than the 32 positions of the model")
}
