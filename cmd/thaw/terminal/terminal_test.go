package terminal

import (
	"bytes"
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
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) { torchtest.Main(m) }

// pair is a model of two layers on single numbers, which tells positive ones from negative ones.
type pair struct{ body, head *nn.Linear }

func (p pair) Stages() []nn.Stage[numbers] {
	stage := func(name string, layer *nn.Linear) nn.Stage[numbers] {
		return nn.Stage[numbers]{Name: name, Module: layer, Key: name + ".", Forward: func(b numbers, in nn.Values) nn.Values {
			if len(in) == 0 {
				in = nn.Values{torch.FromSlice(b.values, b.Size(), 1)}
			}
			return nn.Values{layer.Forward(in[0])}
		}}
	}
	return []nn.Stage[numbers]{stage("body", p.body), stage("head", p.head)}
}

func (p pair) Objective() train.Objective {
	return objective.Classification{Classes: []string{"negative", "positive"}}
}

type numbers struct {
	index, labels []int
	values        []float32
}

func (n numbers) Size() int                   { return len(n.index) }
func (n numbers) Indices() []int              { return n.index }
func (n numbers) Lengths() []int              { return nil }
func (n numbers) Width() int                  { return 1 }
func (n numbers) Targets() []torch.Tensor     { return []torch.Tensor{torch.FromSlice(n.labels)} }
func (n numbers) Tensors() []torch.Tensor     { return nil }
func (n numbers) With([]torch.Tensor) numbers { return n }

// upTo is the data set of the numbers from -n to n-1.
type upTo int

func (n upTo) Len() int        { return 2 * int(n) }
func (n upTo) Length(int) int  { return 1 }
func (n upTo) Augmented() bool { return false }

func (n upTo) Batch(r data.Request) (b numbers, err error) {
	b.index = r.Indices
	for _, i := range r.Indices {
		class := 0
		if i >= int(n) {
			class = 1
		}
		b.values, b.labels = append(b.values, float32(i-int(n))), append(b.labels, class)
	}
	return b, nil
}

// masked writes # for each number that a machine or a clock decides.
func masked(text, folder string) string {
	text = strings.ReplaceAll(text, filepath.Dir(folder), "runs")
	text = strings.ReplaceAll(text, torch.Version(), "#")
	text = regexp.MustCompile(`\(\d+ threads?\)`).ReplaceAllString(text, "(# threads)")
	for _, number := range []string{`\d+/s`, `\d+\.\d+s`, `\d+m\d+s`, `loss \d+\.\d{3}`, `(accuracy|macro_f1|before:) \d\.\d{4}`, `\d+\.\d\d GB`} {
		text = regexp.MustCompile(number).ReplaceAllStringFunc(text, func(s string) string {
			return regexp.MustCompile(`\d+(\.\d+)?(m\d+)?`).ReplaceAllString(s, "#")
		})
	}
	return strings.ReplaceAll(text, "macro_f# ", "macro_f1 ")
}

// show runs a spec of phases with a view on out.
func show(t *testing.T, rows, testRows upTo, phases ...finetune.Phase) string {
	t.Helper()
	var out bytes.Buffer
	g := torch.NewGenerator(1)
	model := pair{nn.NewLinear(1, 3, nn.LinearOptions{}, g), nn.NewLinear(3, 2, nn.LinearOptions{}, g)}
	defer nn.Close([]any{model.body, model.head})
	folder := filepath.Join(t.TempDir(), "numbers-1")
	view := New(&out, Settings{Folder: folder, Phases: len(phases)})
	view.Greet()
	view.Note("model", "a pair of layers")
	result, err := finetune.Fit(t.Context(), model, rows, testRows, finetune.Options{
		Phases: phases, Batch: finetune.Batching{Size: 10}, Device: "cpu", Folder: finetune.NewFolder(folder), OnEvent: view.Event,
	})
	view.Close()
	require.NoError(t, err)
	view.Finish(result)
	return masked(out.String(), result.Folder)
}

func TestViewOfARun(t *testing.T) {
	assert.Equal(t, `thaw 0.1.0 · libtorch # · cpu (# threads)

model     a pair of layers
plan      body                     frozen        6   run once, kept: 1 MB in memory
          head                     trained       8   lr 0.1
          8 steps in 2 epochs of 4 batches

prefix        60 rows  #/s  #s
before        20 rows  #/s  #s  accuracy #  macro_f1 #
check     frozen hashes taken · 2 of 2 trained tensors have gradients
epoch 1       40 rows  loss #  #/s  #s  accuracy #  macro_f1 #
epoch 2       40 rows  loss #  #/s  #s  accuracy #  macro_f1 #
check     frozen tensors unchanged · every trained stage moved
best      accuracy #  macro_f1 #  at epoch 1 (before: #)
time      frozen stages #s · training #s · evaluation #s · peak memory # GB
run       runs/numbers-1
`, show(t, 20, 10, finetune.Phase{Train: finetune.HeadOnly(), Epochs: 2, LR: 0.1}))
}

func TestViewOfPhasesWithoutTestRows(t *testing.T) {
	assert.Equal(t, `thaw 0.1.0 · libtorch # · cpu (# threads)

model     a pair of layers
phase 1   body                     frozen        6   run once, kept: 1 MB in memory
          head                     trained       8   lr 0.1
          1 step in 1 epoch of 1 batch

prefix        10 rows  #/s  #s
check     frozen hashes taken · 2 of 2 trained tensors have gradients
epoch 1       10 rows  loss #  #/s  #s
check     frozen tensors unchanged · every trained stage moved
phase 2   body                     trained       6   lr 0.01
          head                     trained       8   lr 0.1
          1 step in 1 epoch of 1 batch

check     frozen hashes taken · 4 of 4 trained tensors have gradients
epoch 2       10 rows  loss #  #/s  #s
check     frozen tensors unchanged · every trained stage moved
time      frozen stages #s · training #s · evaluation #s · peak memory # GB
run       runs/numbers-1
`, show(t, 5, 0, finetune.Phase{Train: finetune.HeadOnly(), Epochs: 1, LR: 0.1}, finetune.Phase{Train: finetune.All(), Epochs: 1, LR: 0.01}))
}

// On a CPU float32 is what everybody expects.
func TestGreetingTellsThePrecision(t *testing.T) {
	for precision, want := range map[string]string{"": "", "float32": "", "bfloat16": " · bfloat16"} {
		var out bytes.Buffer
		New(&out, Settings{Device: "cpu", Precision: precision, Threads: 3}).Greet()
		assert.Equal(t, "thaw 0.1.0 · libtorch "+torch.Version()+" · cpu (3 threads)"+want+"\n\n", out.String())
	}
}

func TestViewOfAFileIsNotLive(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer f.Close()
	assert.False(t, New(f, Settings{}).live)
	assert.False(t, New(&bytes.Buffer{}, Settings{}).live)
}

func TestLiveViewKeepsNotesForBelowTheBar(t *testing.T) {
	var out bytes.Buffer
	v := New(&out, Settings{})
	v.live = true
	v.begin("epoch 1", 40)
	v.advance(10, 0.5)
	v.Note("check", "all is well")
	v.advance(40, 0.25)
	v.end("accuracy 0.7500  f1 0.5000")
	v.Note("check", "said at once")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.GreaterOrEqual(t, len(lines), 3)
	lines = lines[len(lines)-3:]
	assert.Contains(t, lines[0], "    40 rows  loss 0.250  ")
	assert.Contains(t, lines[0], "accuracy 0.7500  f1 0.5000")
	assert.Equal(t, "check     all is well", lines[1])
	assert.Equal(t, "check     said at once", lines[2])

	v.begin("epoch 2", 40) // a run that fails here
	v.Close()
	v.Close()
}

func TestStatus(t *testing.T) {
	v := New(&bytes.Buffer{}, Settings{})
	v.begin("epoch 1", 40)
	assert.Regexp(t, `^ 0/40  0/s  \d+\.\d GB$`, v.status(0))
	v.advance(10, 0.5)
	assert.Regexp(t, `^ 10/40  loss 0\.500  \d+/s  eta \d+\.\ds  \d+\.\d GB$`, v.status(10))
	assert.Regexp(t, `^ 40/40  loss 0\.500  \d+/s  \d+\.\d GB$`, v.status(40))
}

func TestDuration(t *testing.T) {
	for seconds, want := range map[float64]string{0: "0.0s", 0.26: "0.3s", 9.94: "9.9s", 9.96: "10.0s", 10.4: "10s", 41: "41s", 59.6: "1m0s", 160: "2m40s", 3700: "1h1m40s"} {
		assert.Equal(t, want, duration(seconds), "%v", seconds)
	}
}
