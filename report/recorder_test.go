package report

import (
	"errors"
	"image"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/report/tensorboard"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) { torchtest.Main(m) }

// net is a model of two layers on single numbers.
type net struct {
	body, head *nn.Linear
	objective  train.Objective
}

func newNet(t *testing.T, outputs int, o train.Objective) *net {
	g := torch.NewGenerator(1)
	n := &net{nn.NewLinear(1, 3, nn.LinearOptions{}, g), nn.NewLinear(3, outputs, nn.LinearOptions{}, g), o}
	t.Cleanup(func() { nn.Close([]any{n.body, n.head}) })
	return n
}

func (n *net) Objective() train.Objective { return n.objective }

func (n *net) Stages() []nn.Stage[numbers] {
	stage := func(name string, layer *nn.Linear) nn.Stage[numbers] {
		return nn.Stage[numbers]{Name: name, Module: layer, Key: name + ".", Forward: func(b numbers, in nn.Values) nn.Values {
			if len(in) == 0 {
				in = nn.Values{torch.FromSlice(b.values, b.Size(), 1)}
			}
			return nn.Values{layer.Forward(in[0])}
		}}
	}
	return []nn.Stage[numbers]{stage("body", n.body), stage("head", n.head)}
}

type numbers struct {
	index  []int
	values []float32
	kind   objective.ProblemType
}

func (n numbers) Size() int                   { return len(n.index) }
func (n numbers) Indices() []int              { return n.index }
func (n numbers) Lengths() []int              { return nil }
func (n numbers) Width() int                  { return 1 }
func (n numbers) Tensors() []torch.Tensor     { return nil }
func (n numbers) With([]torch.Tensor) numbers { return n }

// Targets tell positive numbers from negative ones, and odd places from even ones.
func (n numbers) Targets() []torch.Tensor {
	var classes []int
	var labels []float32
	for i, v := range n.values {
		class := 0
		if v >= 0 {
			class = 1
		}
		classes = append(classes, class)
		labels = append(labels, float32(class), float32(n.index[i]%2))
	}
	switch n.kind {
	case objective.MultiLabel:
		return []torch.Tensor{torch.FromSlice(labels, n.Size(), 2)}
	case objective.Regression:
		return []torch.Tensor{torch.FromSlice(n.values)}
	}
	return []torch.Tensor{torch.FromSlice(classes)}
}

// upTo is the data set of the numbers from -n to n-1.
type upTo struct {
	n    int
	kind objective.ProblemType
}

func (u upTo) Len() int        { return 2 * u.n }
func (u upTo) Length(int) int  { return 1 }
func (u upTo) Augmented() bool { return false }

func (u upTo) Batch(r data.Request) (numbers, error) {
	b := numbers{index: r.Indices, kind: u.kind}
	for _, i := range r.Indices {
		b.values = append(b.values, float32(i-u.n)/10)
	}
	return b, nil
}

// fit trains with a recorder: 4 epochs of 5 steps in two phases.
func fit(t *testing.T, folder string, kind objective.ProblemType, change func(*finetune.Options, *RecorderOptions)) (*finetune.Result, error) {
	t.Helper()
	var o train.Objective
	outputs := 2
	switch names := []string{"minus", "plus"}; kind {
	case objective.MultiLabel:
		o = objective.Labels{Names: []string{"plus", "odd"}}
	case objective.Regression:
		o, outputs = objective.Number{}, 1
	default:
		o = objective.Classification{Classes: names}
	}
	options := finetune.Options{
		Phases: []finetune.Phase{{Epochs: 1, LR: 0.05}, {Train: finetune.All(), Epochs: 3, LR: 0.01, HeadLR: 0.05}},
		Batch:  finetune.Batching{Size: 8}, Device: "cpu", Threads: 1, Seed: 3,
		Folder: finetune.NewFolder(folder), Checkpoint: finetune.Checkpointing{Steps: 3},
	}
	ro := RecorderOptions{Folder: folder, Problem: kind, Train: DataSet{40, "a"}, Test: DataSet{24, "b"}}
	change(&options, &ro)
	r := NewRecorder(ro)
	options.OnEvent, options.Observer = r.OnEvent(options.OnEvent), r
	result, err := finetune.Fit(t.Context(), newNet(t, outputs, o), upTo{20, kind}, upTo{12, kind}, options)
	require.NoError(t, r.Finish())
	return result, err
}

func unchanged(*finetune.Options, *RecorderOptions) {}

func content(t *testing.T, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(parts...))
	require.NoError(t, err)
	return string(text)
}

// withoutClocks are the columns of steps.csv that no clock and no allocator decides.
func withoutClocks(table string) string {
	return regexp.MustCompile(`(?m),[^,]*,[^,]*,[^,]*$`).ReplaceAllString(table, "")
}

func TestRecorderOfARun(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	result, err := fit(t, folder, objective.SingleLabel, func(_ *finetune.Options, ro *RecorderOptions) {
		ro.Sample = func(i int) (Sample, error) {
			if i == 12 {
				return Sample{}, errors.New("it is gone")
			}
			return Sample{Name: "row", Text: strings.Repeat("ä", 5000), Picture: image.NewGray(image.Rect(0, 0, 400, 300))}, nil
		}
	})
	require.NoError(t, err)
	run, err := Read(folder)
	require.NoError(t, err)
	assert.Equal(t, Finished, run.Status)
	require.Len(t, run.Steps, 20)
	assert.Equal(t, []string{"accuracy", "macro_f1"}, run.Metrics)
	sum := 0.0
	for i, s := range run.Steps {
		assert.Equal(t, i+1, s.Step)
		assert.Equal(t, i/5+1, s.Epoch)
		sum += s.Loss
		if s.Step%5 == 0 { // of equal batches
			assert.InDelta(t, result.Epochs[i/5].TrainLoss, s.EpochLoss, 1e-12)
			assert.InDelta(t, s.EpochLoss, sum/5, 1e-9)
			sum = 0
		}
		assert.Positive(t, s.Memory)
	}
	for i, e := range run.Epochs {
		assert.Equal(t, 5*(i+1), e.Step)
	}

	e := run.Evaluation
	require.NotNil(t, e)
	assert.Equal(t, result.BestEpoch, e.Epoch)
	assert.Equal(t, []string{"minus", "plus"}, e.Classes)
	counted := make([][]int, 2)
	for i := range counted {
		counted[i] = make([]int, 2)
	}
	wrong := 0
	for _, c := range e.Counts {
		counted[c.True][c.Predicted] = c.Count
		if c.True != c.Predicted {
			wrong += c.Count
		}
	}
	assert.Equal(t, result.Best.Classes.Confusion, counted)
	rows := 0
	for _, b := range e.Calibration.Bins {
		rows += b.Count
	}
	assert.Equal(t, 24, rows)
	require.Len(t, e.Mistakes, wrong)
	for _, m := range e.Mistakes {
		if m.Number == 12 {
			assert.Empty(t, m.Name)
			continue
		}
		assert.LessOrEqual(t, len(m.Text), mostText+3)
		assert.True(t, strings.HasPrefix(m.Encoded, "data:image/png;base64,"), "a plain picture is a small PNG")
	}

	assert.Equal(t, DataSet{24, "b"}, run.Machine.Test)
	for _, name := range []string{finetune.ReportFile, finetune.CurvesFile, finetune.ConfusionFile} {
		assert.FileExists(t, filepath.Join(folder, name))
	}
	files, err := tensorboard.Files(folder)
	require.NoError(t, err)
	assert.Len(t, files, 1)
}

// A recorder changes nothing in a run: the same weights, to the last bit.
func TestRecorderChangesNothing(t *testing.T) {
	folder := t.TempDir()
	_, err := fit(t, filepath.Join(folder, "recorded"), objective.SingleLabel, unchanged)
	require.NoError(t, err)
	o := finetune.Options{
		Phases: []finetune.Phase{{Epochs: 1, LR: 0.05}, {Train: finetune.All(), Epochs: 3, LR: 0.01, HeadLR: 0.05}},
		Batch:  finetune.Batching{Size: 8}, Device: "cpu", Threads: 1, Seed: 3, Folder: finetune.NewFolder(filepath.Join(folder, "plain")),
	}
	model := newNet(t, 2, objective.Classification{Classes: []string{"minus", "plus"}})
	_, err = finetune.Fit(t.Context(), model, upTo{n: 20}, upTo{n: 12}, o)
	require.NoError(t, err)
	for _, name := range []string{"best.safetensors", "last.safetensors"} {
		assert.Equal(t, content(t, folder, "plain", "weights", name), content(t, folder, "recorded", "weights", name))
	}
}

// A run that was interrupted at any step and went on has the same rows as one that was not.
func TestRecorderOfARunThatGoesOn(t *testing.T) {
	root := t.TempDir()
	_, err := fit(t, filepath.Join(root, "plain"), objective.SingleLabel, unchanged)
	require.NoError(t, err)
	want := withoutClocks(content(t, root, "plain", finetune.StepsFile))
	stop := errors.New("stopped here")
	for _, at := range []int{1, 4, 5, 6, 11, 15, 19} {
		folder := filepath.Join(root, "stopped")
		seen := 0
		_, err := fit(t, folder, objective.SingleLabel, func(o *finetune.Options, _ *RecorderOptions) {
			o.OnEvent = func(e finetune.Event) error {
				if _, ok := e.(train.StepDone); ok {
					if seen++; seen == at {
						return stop
					}
				}
				return nil
			}
		})
		require.ErrorIs(t, err, stop)
		if at >= 5 {
			run, err := Read(folder)
			require.NoError(t, err)
			assert.Equal(t, Interrupted, run.Status)
			assert.Contains(t, content(t, folder, finetune.ReportFile), "thaw resume goes on")
		}
		_, err = fit(t, folder, objective.SingleLabel, func(o *finetune.Options, _ *RecorderOptions) { o.Resume = true })
		require.NoError(t, err)
		assert.Equal(t, want, withoutClocks(content(t, folder, finetune.StepsFile)), "stopped at step %d", at)
		assert.Equal(t, content(t, root, "plain", finetune.EvaluationFile), content(t, folder, finetune.EvaluationFile))
		require.NoError(t, os.RemoveAll(folder))
	}
}

func TestRecorderOfOtherProblems(t *testing.T) {
	folder := t.TempDir()
	result, err := fit(t, filepath.Join(folder, "labels"), objective.MultiLabel, unchanged)
	require.NoError(t, err)
	run, err := Read(filepath.Join(folder, "labels"))
	require.NoError(t, err)
	assert.Equal(t, []string{"plus", "odd"}, run.Evaluation.Classes)
	assert.Len(t, run.Evaluation.Mistakes, 24-int(math.Round(24*result.Best.Value("subset_accuracy"))))
	rows := 0
	for _, b := range run.Evaluation.Calibration.Bins {
		rows += b.Count
	}
	assert.Equal(t, 48, rows, "each label of each sample")

	result, err = fit(t, filepath.Join(folder, "number"), objective.Regression, unchanged)
	require.NoError(t, err)
	run, err = Read(filepath.Join(folder, "number"))
	require.NoError(t, err)
	assert.Len(t, run.Evaluation.Points, 24)
	sum := 0.0
	for _, p := range run.Evaluation.Points {
		sum += (p[0] - p[1]) * (p[0] - p[1])
	}
	assert.InDelta(t, result.Best.Value("mse"), sum/24, 1e-9)
	require.Len(t, run.Evaluation.Mistakes, 24)
	first, last := run.Evaluation.Mistakes[0], run.Evaluation.Mistakes[23]
	assert.Greater(t, math.Abs(*first.Wanted-*first.Value), math.Abs(*last.Wanted-*last.Value))
}

// What cannot be written ends the recording, and is told once; the run goes on.
func TestRecorderThatCannotWrite(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	var warnings []string
	result, err := fit(t, folder, objective.SingleLabel, func(o *finetune.Options, ro *RecorderOptions) {
		ro.Folder = filepath.Join(folder, "not there")
		o.OnEvent = func(e finetune.Event) error {
			if w, ok := e.(train.Warning); ok {
				assert.Equal(t, train.RecordingFailed, w.Kind)
				warnings = append(warnings, w.Text)
			}
			return nil
		}
	})
	require.NoError(t, err)
	assert.Len(t, result.Epochs, 4)
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0], "nothing more is recorded for the report")
}

// A folder that is another run's is left alone.
func TestRecorderOfAFolderThatIsThere(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	_, err := fit(t, folder, objective.SingleLabel, unchanged)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(folder, finetune.ReportFile)))
	_, err = fit(t, folder, objective.SingleLabel, unchanged)
	require.ErrorAs(t, err, new(*finetune.FolderError))
	assert.NoFileExists(t, filepath.Join(folder, finetune.ReportFile))
}
