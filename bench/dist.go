package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/thaw-ml/thaw/finetune"
)

// The sizes of what is trained on several ranks. A batch is that of all ranks.
const (
	distRanks    = 2
	distBatch    = 32
	distTexts    = 2 // epochs
	distEpochs   = 2 // of pictures
	distPictures = 128
	distSide     = 224
)

// distText is what the demo trains, its head pooled as transformers' is.
var distText = []string{"head.pooling=cls", fmt.Sprintf("phases=[{train: top 2, epochs: %d, lr: 2e-4, head_lr: 2e-3}]", distTexts)}

// distSpec is a ResNet-18 on pictures, all of it, with batch norms as DistributedDataParallel has them.
const distSpec = `model: resnet18
weights: none
data: {train: %s, test: "0.02"}
images: {size: %d, resize: %[2]d, augment: none}
phases: [{train: all, epochs: %d, lr: 1e-2, head_lr: 1e-2}]
optimizer: {name: sgd}
batch: {size: %d}
distributed: {batch_norm: local}
device: cpu
seed: 1
`

// distRun is one run of Thaw's.
type distRun struct {
	Case    string           `json:"case"`
	Process process          `json:"process"`
	Summary *finetune.Result `json:"summary"`
}

// runDist trains on two ranks of one thread with Thaw (thaw launch) and with DistributedDataParallel (torchrun), in turn,
// and on one rank with and without thaw launch. Both times are those of an epoch of training, without evaluation; Thaw's
// has the frozen prefix, which is run once.
func runDist(o options) error {
	if err := need(program, modelFolder, reviewsFile, demoRows); err != nil {
		return err
	}
	interpreter, err := python()
	if err != nil {
		return err
	}
	r, err := newReport("dist", 1)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "thaw-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if err := drawPictures(filepath.Join(folder, "pictures")); err != nil {
		return err
	}
	spec := filepath.Join(folder, "pictures.yaml")
	keys := fmt.Appendf(nil, distSpec, filepath.Join(folder, "pictures"), distSide, distEpochs, distBatch)
	if err := os.WriteFile(spec, keys, 0o644); err != nil {
		return err
	}
	var runs []*distRun
	thaw := func(name string, ranks, epochs int, spec string, keys ...string) side {
		return func() (float64, error) {
			out := filepath.Join(folder, fmt.Sprint("run", len(runs)))
			run, err := launchThaw(ranks, out, spec, keys)
			if err != nil {
				return 0, err
			}
			run.Case = name
			runs = append(runs, run)
			s := run.Summary.Seconds
			return (s.Prefix + s.Train) / float64(epochs), nil
		}
	}
	peer := func(args ...string) side {
		return func() (float64, error) { return runDDP(interpreter, args) }
	}
	text, picture := "MiniLM top 2, texts", "ResNet-18 full, 224 x 224"
	trials := []trial{
		{
			name: text, peerName: "DDP, 2 ranks", unit: "s an epoch",
			thaw: thaw(text, distRanks, distTexts, demoSpec, distText...),
			peer: peer("text", modelFolder, reviewsFile, strconv.Itoa(distTexts), strconv.Itoa(distBatch)),
		}, {
			name: picture, peerName: "DDP, 2 ranks", unit: "s an epoch",
			thaw: thaw(picture, distRanks, distEpochs, spec),
			peer: peer("pictures", filepath.Join(folder, "pictures"), strconv.Itoa(distEpochs), strconv.Itoa(distBatch)),
		}, {
			name: "launch of one rank", peerName: "thaw train", unit: "s an epoch",
			thaw: thaw("one rank, launched", 1, 1, spec, "phases[0].epochs=1"),
			peer: thaw("one process", 0, 1, spec, "phases[0].epochs=1"),
		},
	}
	if r.Comparisons, err = compare(cmp.Or(o.rounds, 3), 0, o.wanted(trials)); err != nil {
		return err
	}
	overlap, err := measureRanks("steps")
	if err != nil {
		return err
	}
	overlap.print(os.Stdout)
	r.Details = map[string]any{"thaw": runs, "overlap": overlap}
	return r.finish(o.results)
}

// launchThaw trains on so many ranks of one thread; 0 is without thaw launch.
func launchThaw(ranks int, out, spec string, keys []string) (*distRun, error) {
	var args []string
	if ranks > 0 {
		args = append(args, "launch", "--nproc", strconv.Itoa(ranks))
	}
	args = append(args, "train", spec, "out="+out, "threads=1")
	run := &distRun{Summary: new(finetune.Result)}
	var err error
	if run.Process, err = runProcess(os.Stdout, program, append(args, keys...)...); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(out, "summary.json"))
	if err != nil {
		return nil, err
	}
	return run, json.Unmarshal(text, run.Summary)
}

var ddpLine = regexp.MustCompile(`(?m)^ddp [a-z]+: ([0-9.]+) s an epoch, [0-9]+ samples, last loss [0-9.]+$`)

// runDDP trains with peers/ddp.py under torchrun, and gives the seconds of an epoch.
func runDDP(interpreter string, args []string) (float64, error) {
	var out bytes.Buffer
	torchrun := []string{"-m", "torch.distributed.run", "--standalone", "--nproc-per-node", strconv.Itoa(distRanks), "peers/ddp.py"}
	args = append(torchrun, args...)
	if _, err := runProcess(io.MultiWriter(os.Stdout, &out), interpreter, args...); err != nil {
		return 0, err
	}
	return parseDDP(out.String())
}

func parseDDP(out string) (float64, error) {
	m := ddpLine.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("peers/ddp.py printed no result: %q", out)
	}
	return strconv.ParseFloat(m[1], 64)
}

// drawPictures makes JPEGs of two classes, half of distPictures each, and a few more that are for the test.
func drawPictures(folder string) error {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range distPictures + distPictures/32 {
		m := image.NewRGBA(image.Rect(0, 0, distSide, distSide))
		base, slope := rng.IntN(100), 1+rng.IntN(3)
		for y := range distSide {
			for x := range distSide {
				m.SetRGBA(x, y, color.RGBA{uint8(base + x/slope), uint8(base + y/slope), uint8(100*(i%2) + (x*y)%50), 255})
			}
		}
		class := filepath.Join(folder, fmt.Sprint("class", i%2))
		if err := os.MkdirAll(class, 0o755); err != nil {
			return err
		}
		var b bytes.Buffer
		if err := jpeg.Encode(&b, m, nil); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(class, fmt.Sprintf("%03d.jpg", i)), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
