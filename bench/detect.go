package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/thaw-ml/thaw"
	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/detection"
	"github.com/thaw-ml/thaw/vision/detection/annotation"
	"github.com/thaw-ml/thaw/vision/detection/boxes"
	"github.com/thaw-ml/thaw/vision/detection/draw"
	"github.com/thaw-ml/thaw/vision/picture"
)

// detectKey is the environment's variable that makes this program a process that measures one case of Thaw's.
const detectKey = "THAW_BENCH_DETECT"

const (
	detectThreads  = 2
	detectClasses  = 91
	detectBoxes    = 20_000 // of NMS
	detectSeed     = 7
	detectPictures = 8 // in memory
)

// detected is what a process of either side measured of a case.
type detected struct {
	Case        string  `json:"case"`
	Side        string  `json:"side"`
	Nanoseconds float64 `json:"ns"` // of one, the median
	PeakBytes   int64   `json:"peak_bytes"`
	Found       []int   `json:"found,omitempty"` // detections in the first pictures
	Kept        int     `json:"kept,omitempty"`  // boxes after NMS
}

// detectCase is one, with the ways in which the peer does it: layouts of weights in memory, or what it is.
type detectCase struct {
	name, what string
	peers      []string
	threads    int
	seconds    float64
}

var detectCases = []detectCase{
	{"infer", "FCOS ResNet-50, a picture at 800 pixels", []string{"contiguous", "channels_last"}, detectThreads, 8},
	{"train", "the same, a training step of 2", []string{"channels_last"}, detectThreads, 20},
	{"load", "training batches of 2 annotated JPEGs, one core", []string{"references/detection"}, 1, 5},
	{"nms", "NMS of 20,000 boxes", []string{"ops.nms"}, 1, 2},
	{"batched-nms", "NMS of 20,000 boxes of 80 classes", []string{"ops.batched_nms"}, 1, 2},
}

// runDetect times detection beside torchvision, in a process of each side a round.
func runDetect(o options) error {
	if err := need(); err != nil {
		return err
	}
	interpreter, err := python()
	if err != nil {
		return err
	}
	folder, err := detectFolder()
	if err != nil {
		return err
	}
	r, err := newReport("detect", detectThreads)
	if err != nil {
		return err
	}
	var runs []detected
	var trials []trial
	for _, c := range detectCases {
		place := folder
		if strings.HasSuffix(c.name, "nms") {
			place = filepath.Join(folder, "boxes.bin")
		}
		args := []string{c.name, place, fmt.Sprint(c.seconds), strconv.Itoa(c.threads)}
		measure := func(side string, cmd *exec.Cmd) (float64, error) {
			cmd.Stderr = os.Stderr
			said, err := cmd.Output()
			if err != nil {
				return 0, fmt.Errorf("%s: %w", side, err)
			}
			lines := strings.Split(strings.TrimSpace(string(said)), "\n") // pycocotools tells what it does in the first ones
			d := detected{Case: c.name, Side: side}
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &d); err != nil {
				return 0, fmt.Errorf("%s said %q: %w", side, said, err)
			}
			runs = append(runs, d)
			fmt.Printf("%-11s %-33s %8.2f ms  peak %.2f GB  found %v kept %d\n",
				c.name, side, d.Nanoseconds/1e6, float64(d.PeakBytes)/1e9, d.Found, d.Kept)
			return d.Nanoseconds / 1e6, nil
		}
		for _, layout := range c.peers {
			trials = append(trials, trial{
				name: c.what, peerName: "torchvision, " + layout, unit: "ms",
				thaw: func() (float64, error) {
					cmd := exec.Command("/proc/self/exe", args...)
					cmd.Env = append(os.Environ(), detectKey+"=1")
					return measure("thaw", cmd)
				},
				peer: func() (float64, error) {
					script := append([]string{"peers/detect.py"}, args...)
					return measure("torchvision, "+layout, exec.Command(interpreter, append(script, layout)...))
				},
			})
		}
	}
	if r.Comparisons, err = compare(cmp.Or(o.rounds, 3), 0, o.wanted(trials)); err != nil {
		return err
	}
	r.Details = map[string]any{"runs": runs}
	return r.finish(o.results)
}

// detectFolder is that of the loader's pictures, annotated: from 1 to 15 boxes each of 80 classes.
func detectFolder() (string, error) {
	folder, err := loaderFolder()
	if err != nil {
		return "", err
	}
	// The loader's peer makes them once.
	p, err := startPeer("loader.py", folder, strconv.Itoa(loaderPictures), strconv.Itoa(loaderBatch), "0")
	if err != nil {
		return "", err
	}
	p.close()
	paths, err := filepath.Glob(filepath.Join(folder, "class*", "*.jpg"))
	if err != nil {
		return "", err
	}
	if len(paths) != loaderPictures {
		return "", fmt.Errorf("%s has %d pictures, not %d: remove it", folder, len(paths), loaderPictures)
	}
	type object map[string]any
	var images, annotations, categories []object
	rng := rand.New(rand.NewPCG(detectSeed, 0))
	for class := range 80 {
		categories = append(categories, object{"id": class + 1, "name": fmt.Sprint("class ", class)})
	}
	for i, path := range paths {
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return "", err
		}
		images = append(images, object{"id": i + 1, "file_name": name, "width": 500, "height": 375})
		for range 1 + rng.IntN(15) {
			w, h := math.Floor(10+rng.Float64()*240), math.Floor(10+rng.Float64()*180)
			x, y := math.Floor(rng.Float64()*(500-w)), math.Floor(rng.Float64()*(375-h))
			annotations = append(annotations, object{
				"id": len(annotations) + 1, "image_id": i + 1, "category_id": 1 + rng.IntN(80),
				"bbox": []float64{x, y, w, h}, "area": w * h, "iscrowd": 0,
			})
		}
	}
	text, err := json.Marshal(object{"images": images, "annotations": annotations, "categories": categories})
	if err != nil {
		return "", err
	}
	var many []byte // boxes, scores and classes
	for range detectBoxes {
		w, h := 8+rng.Float64()*200, 8+rng.Float64()*200
		x, y := rng.Float64()*(1333-w), rng.Float64()*(800-h)
		for _, v := range []float64{x, y, x + w, y + h, rng.Float64(), float64(rng.IntN(80))} {
			many = binary.LittleEndian.AppendUint32(many, math.Float32bits(float32(v)))
		}
	}
	return folder, errors.Join(os.WriteFile(filepath.Join(folder, "annotations.json"), text, 0o644),
		os.WriteFile(filepath.Join(folder, "boxes.bin"), many, 0o644))
}

// detectSide is the main function of a process that measures one case of Thaw's.
func detectSide(args []string) int {
	d, err := detectOne(args)
	if err == nil {
		d.PeakBytes = train.PeakResident()
		err = json.NewEncoder(os.Stdout).Encode(d)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func detectOne(args []string) (d detected, err error) {
	if len(args) != 4 {
		return d, fmt.Errorf("a case, a place, seconds and threads are needed, found %q", args)
	}
	d.Case, d.Side = args[0], "thaw"
	seconds, err := strconv.ParseFloat(args[2], 64)
	if err != nil {
		return d, err
	}
	threads, err := strconv.Atoi(args[3])
	if err != nil {
		return d, err
	}
	thaw.Tune() // as the program
	torch.SetNumThreads(threads)
	if threads == 1 {
		if err := pin(1); err != nil {
			return d, err
		}
	}
	switch d.Case {
	case "infer":
		return d, d.infer(args[1], seconds)
	case "train":
		return d, d.train(args[1], seconds)
	case "load":
		return d, d.load(args[1], seconds)
	}
	return d, d.nms(args[1], seconds)
}

// timed is the median of as many steps as take the seconds, the first two left out.
func (d *detected) timed(seconds float64, step func(i int) error) error {
	var took []float64
	sum := 0.0
	for i := 0; i < 5 || sum < seconds*1e9; i++ {
		start := time.Now()
		if err := step(i); err != nil {
			return err
		}
		if i >= 2 {
			took = append(took, float64(time.Since(start).Nanoseconds()))
			sum += took[len(took)-1]
		}
	}
	d.Nanoseconds = median(took)
	return nil
}

func annotated(folder string) (detection.Files, error) {
	set, err := annotation.Open(filepath.Join(folder, "annotations.json"), annotation.Options{Pictures: folder})
	return detection.Files{Set: set}, err
}

// inMemory are the first pictures, decoded.
type inMemory struct {
	detection.Files
	images []*picture.Image
}

func decoded(folder string) (m inMemory, err error) {
	if m.Files, err = annotated(folder); err != nil {
		return m, err
	}
	for i := range detectPictures {
		one, err := m.Files.Read(i, picture.Options{})
		if err != nil {
			return m, err
		}
		m.images = append(m.images, one)
	}
	return m, nil
}

// Len implements detection.Pictures.
func (m inMemory) Len() int { return len(m.images) }

// Read implements detection.Pictures.
func (m inMemory) Read(i int, _ picture.Options) (*picture.Image, error) { return m.images[i], nil }

// fcos is torchvision's network of its COCO checkpoint: with frozen norms.
func fcos() (*detection.Detector, error) {
	n, err := detection.New(detection.Options{Architecture: "fcos_resnet50_fpn", Classes: detectClasses})
	if err != nil {
		return nil, err
	}
	n.Init(torch.NewGenerator(detectSeed))
	torch.NoGrad(func() { n.(*detection.FCOS).Head.Classification.ClsLogits.Bias.Fill_(-2.4) }) // as peers/detect.py
	detection.ChannelsLast(n)
	d := &detection.Detector{Network: n, Input: detection.DefaultInput(), Source: "random weights"}
	for i := range detectClasses {
		d.Classes = append(d.Classes, fmt.Sprint("class ", i))
	}
	return d, nil
}

func (d *detected) infer(folder string, seconds float64) error {
	set, err := decoded(folder)
	if err != nil {
		return err
	}
	model, err := fcos()
	if err != nil {
		return err
	}
	defer model.Close()
	var pictures []vision.Image
	for i, m := range set.images {
		pictures = append(pictures, vision.Pixels(set.At(i).Path, draw.Image(m)))
	}
	return d.timed(seconds, func(i int) error {
		i %= detectPictures
		p, err := model.Predict(context.Background(), pictures[i:i+1], finetune.PredictOptions{BatchSize: 1})
		if err == nil && len(d.Found) < detectPictures {
			d.Found = append(d.Found, len(p[0].Detections))
		}
		return err
	})
}

// train measures steps as Fit makes them, the next batch being made beside one.
func (d *detected) train(folder string, seconds float64) error {
	set, err := decoded(folder)
	if err != nil {
		return err
	}
	model, err := fcos()
	if err != nil {
		return err
	}
	defer model.Close()
	samples, err := model.NewDataset(set, detection.DatasetOptions{Augment: "none"})
	if err != nil {
		return err
	}
	const batch = 2
	speed, err := finetune.Measure(context.Background(), model, samples, finetune.Options{
		Device: "cpu", Precision: "float32", Threads: detectThreads, ClipNorm: finetune.Off, NoCache: true, Seed: detectSeed,
		Batch:     finetune.Batching{Size: batch},
		Optimizer: finetune.Optimizer{Name: "sgd", WeightDecay: 1e-4, Momentum: 0.9},
		Phases:    []finetune.Phase{{Train: finetune.Top(4), Epochs: 1, LR: 1e-5, HeadLR: 1e-5}}, // all but the stem and layer1
	}, finetune.Effort{Round: time.Duration(seconds / 2 * float64(time.Second)), Rounds: 2})
	if err != nil {
		return err
	}
	d.Nanoseconds = 1e9 * batch / speed.SamplesPerSecond
	return nil
}

// load makes batches as the training thread gets them.
func (d *detected) load(folder string, seconds float64) error {
	set, err := annotated(folder)
	if err != nil {
		return err
	}
	samples, err := detection.NewDataset(set, 0, detection.DefaultInput(), detection.DatasetOptions{Workers: 1, Seed: detectSeed})
	if err != nil {
		return err
	}
	order := rand.New(rand.NewPCG(detectSeed, 1)).Perm(set.Len())
	return d.timed(seconds, func(i int) error {
		at := 2 * i % len(order)
		b, err := samples.Batch(data.Request{Epoch: 1, Indices: order[at : at+2]})
		if err != nil {
			return err
		}
		defer b.Close()
		return torch.Try(func() {
			torch.Scoped(func() {
				if x := b.Images(); x.Size(0) != 2 || len(b.Targets()) == 0 {
					panic(fmt.Sprint("a batch of ", x.Shape()))
				}
			})
		})
	})
}

func (d *detected) nms(path string, seconds float64) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var places []boxes.Box
	var scores []float32
	var classes []int
	for ; len(raw) >= 24; raw = raw[24:] {
		var v [6]float32
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		places, scores, classes = append(places, boxes.Box(v[:4])), append(scores, v[4]), append(classes, int(v[5]))
	}
	return d.timed(seconds, func(int) error {
		if d.Case == "nms" {
			d.Kept = len(boxes.NMS(places, scores, 0.5))
		} else {
			d.Kept = len(boxes.BatchedNMS(places, scores, classes, 0.5))
		}
		return nil
	})
}
