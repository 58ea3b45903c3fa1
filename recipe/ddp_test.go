package recipe

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/dist"
	"github.com/thaw-ml/thaw/torch/dist/disttest"
	"github.com/thaw-ml/thaw/torch/dist/launch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// ddpKey is the environment's variable that makes the test program a rank of a ddpCases, by its name.
const ddpKey = "THAW_DDP"

// ddpCases are specs of the runs of testdata/ddp.py.
var ddpCases = map[string]string{
	"text": `
model: model
head: {classes: [no, yes], pooling: cls, dropout: 0}
data: {train: rows.tsv, columns: {text: t, label: l}, max_length: 16}
phases: [{train: all, epochs: 8, lr: 1e-3, head_lr: 1e-3, warm_up: 0, schedule: constant}]
batch: {size: 12}
`, "parts": `
model: model
head: {classes: [no, yes], pooling: cls, dropout: 0}
data: {train: rows.tsv, columns: {text: t, label: l}, max_length: 16}
phases: [{train: all, epochs: 8, lr: 1e-3, head_lr: 1e-3, warm_up: 0, schedule: constant}]
batch: {size: 6, accumulate: 2}
`, "lora": `
model: model
head: {classes: [no, yes], pooling: cls, dropout: 0}
data: {train: rows.tsv, columns: {text: t, label: l}, max_length: 16}
phases: [{train: lora, epochs: 8, lr: 5e-3, head_lr: 5e-3, warm_up: 0, schedule: constant}]
lora: {rank: 4, alpha: 8, targets: [query, value]}
batch: {size: 12}
`, "pictures": `
model: resnet18
weights: none
data: {train: pictures}
images: {size: 64, resize: 64, augment: none}
phases: [{train: all, epochs: 10, lr: 2e-3, head_lr: 2e-3, warm_up: 0, schedule: constant}]
optimizer: {name: sgd, weight_decay: 0.01}
batch: {size: 8}
distributed: {batch_norm: local}
`,
}

// ddpCommon is what all of them have.
const ddpCommon = "device: cpu\nthreads: 1\nprecision: float32\nseed: 3\n"

// fillByFormula gives a tensor the numbers that it has in testdata/ddp.py.
func fillByFormula(name string, t torch.Tensor) {
	shape := t.Shape()
	middle, spread, alternate := 0.0, 0.05, false
	isLast := strings.Contains(name, ".bn2.")
	switch isNorm := strings.Contains(name, "bn") || strings.Contains(name, "downsample.1"); {
	case len(shape) == 4:
		spread = math.Sqrt(6 / float64(shape[1]*shape[2]*shape[3]))
	case len(shape) == 2:
		spread = 0.25
	case strings.HasSuffix(name, "running_var"):
		middle, spread = 1, 0.25
	case strings.Contains(name, "LayerNorm.weight"):
		middle, spread = 1, 0.1
	case isNorm && strings.HasSuffix(name, "weight"):
		if middle, spread = 0.2, 0.02; isLast {
			middle, spread = 0.1, 0.01
		}
	case isNorm && strings.HasSuffix(name, "bias"):
		if middle, spread, alternate = 0.5, 0.05, true; isLast {
			middle, spread = 0.25, 0.02
		}
	}
	values := torchtest.Numbers(name, t.Numel(), middle, spread, alternate)
	torch.Scoped(func() {
		torch.NoGrad(func() { t.Copy_(torch.FromSlice(values, shape...)) })
	})
}

const (
	ddpTexts    = 48
	ddpPictures = 16
	ddpSide     = 64
)

// ddpPlace writes texts, pictures and the tiny model, and goes there.
func ddpPlace(t *testing.T) {
	t.Helper()
	workplace(t)
	vocabulary := strings.Fields("good bad film movie the is it not very was fun dull great boring no yes")
	rows := "t\tl\n"
	for i := range ddpTexts {
		word := torchtest.Words(fmt.Sprintf("text %d", i))
		var words []string
		for k := range 1 + int(word(15)%14) {
			words = append(words, vocabulary[word(k)%16])
		}
		rows += fmt.Sprintf("%s\t%s\n", strings.Join(words, " "), []string{"no", "yes"}[word(14)>>63])
	}
	require.NoError(t, os.WriteFile("rows.tsv", []byte(rows), 0o644))
	for i := range ddpPictures {
		m := image.NewNRGBA(image.Rect(0, 0, ddpSide, ddpSide))
		word := torchtest.Words(fmt.Sprintf("picture %d", i))
		at := func(k int) byte { return byte(word(k) >> 56) }
		for p := range ddpSide * ddpSide {
			m.Set(p%ddpSide, p/ddpSide, color.NRGBA{at(3 * p), at(3*p + 1), at(3*p + 2), 255})
		}
		var b bytes.Buffer
		require.NoError(t, png.Encode(&b, m))
		folder := fmt.Sprintf("pictures/class%d", i%2)
		require.NoError(t, os.MkdirAll(folder, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, fmt.Sprintf("%02d.png", i)), b.Bytes(), 0o644))
	}
}

// ddpResult is what a rank came to.
type ddpResult struct {
	Losses []float64
	Order  [][][]int // the samples of each batch of each epoch
}

// runDDP is a rank of one of ddpCases.
func runDDP(ctx context.Context, name string) (out ddpResult, err error) {
	w, err := launch.Find(launch.Flags{}, os.Getenv)
	if err != nil {
		return out, err
	}
	s, err := Parse("spec.yaml", []byte(ddpCases[name]+ddpCommon), "out=run-"+name)
	if err != nil {
		return out, err
	}
	g, err := dist.Join(ctx, w, dist.Options{Timeout: 30 * time.Second})
	if err != nil {
		return out, err
	}
	defer func() { g.Fail(err); g.Close(err != nil) }()
	s.Together(g, 1)
	task, err := Open(ctx, &s)
	if err != nil {
		return out, err
	}
	defer task.Close()
	size := s.Batch.Size * max(1, s.Batch.Accumulate)
	var epochs func(epoch int) []data.Request
	switch task := task.(type) {
	case *textTask:
		for _, n := range nn.StageState(task.model.Stages()) {
			fillByFormula(n.Name, n.Tensor)
		}
		sampler := data.NewSampler(task.train, data.SamplerOptions{Size: size})
		epochs = func(epoch int) []data.Request { return sampler.Training(s.Seed, epoch) }
	case *imageTask:
		for _, n := range nn.StageState(task.model.Stages()) {
			if !strings.HasSuffix(n.Name, "num_batches_tracked") {
				fillByFormula(n.Name, n.Tensor)
			}
		}
		sampler := data.NewSampler(task.train, data.SamplerOptions{Size: size})
		// The album goes class by class, the formula's pictures alternate between the classes.
		epochs = func(epoch int) []data.Request {
			asked := sampler.Training(s.Seed, epoch)
			for _, r := range asked {
				for k, i := range r.Indices {
					r.Indices[k] = 2*(i%(ddpPictures/2)) + i/(ddpPictures/2)
				}
			}
			return asked
		}
	}
	for epoch := range s.Phases[0].Epochs {
		var batches [][]int
		for _, r := range epochs(epoch + 1) {
			batches = append(batches, r.Indices)
		}
		out.Order = append(out.Order, batches)
	}
	_, err = task.Train(ctx, func(e finetune.Event) error {
		if e, ok := e.(train.StepDone); ok {
			out.Losses = append(out.Losses, e.Loss)
		}
		return nil
	})
	return out, err
}

// rankOfDDP is the main function of such a rank.
func rankOfDDP() int {
	out, err := runDDP(context.Background(), os.Getenv(ddpKey))
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Specs of texts, accumulated gradients, adapters and pictures come on two ranks to the losses of transformers, PEFT and
// torchvision under PyTorch's DistributedDataParallel: within 1e-4.
func TestDDP(t *testing.T) {
	folder, err := filepath.Abs("testdata")
	require.NoError(t, err)
	order := map[string][][][]int{}
	write := os.Getenv("THAW_WRITE_ORDER") != ""
	var golden struct{ Losses map[string][]float64 }
	if !write {
		for file, to := range map[string]any{"ddp.json": &golden, "ddp_order.json": &order} {
			text, err := os.ReadFile(filepath.Join(folder, file))
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(text, to))
		}
		assert.Len(t, golden.Losses, len(ddpCases), "a case without a test")
	}
	ddpPlace(t)
	for name := range ddpCases {
		t.Run(name, func(t *testing.T) {
			for r, got := range disttest.Results[ddpResult](t, 2, ddpKey+"="+name) {
				if write {
					order[name] = got.Order
					continue
				}
				require.Equal(t, order[name], got.Order, "run THAW_WRITE_ORDER=1 go test -run TestDDP ./recipe, and ddp.py")
				require.GreaterOrEqual(t, len(got.Losses), 20)
				require.Len(t, got.Losses, len(golden.Losses[name]))
				worst := 0.0
				for i, want := range golden.Losses[name] {
					worst = max(worst, math.Abs(want-got.Losses[i]))
				}
				assert.Less(t, worst, 1e-4, "rank %d", r)
				t.Logf("rank %d: %d losses, from %.4f to %.4f, at most %.1e from DDP's", r, len(got.Losses), got.Losses[0],
					got.Losses[len(got.Losses)-1], worst)
				assert.Less(t, got.Losses[len(got.Losses)-1], got.Losses[0]-1e-2, "it has learnt")
			}
		})
	}
	if write {
		text, err := json.Marshal(order)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, "ddp_order.json"), append(text, '\n'), 0o644))
	}
}
