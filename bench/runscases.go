package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/internal/cachedir"
)

// runCase is a whole fine-tuning that all sides do.
type runCase struct {
	name      string
	peers     []string
	network   string   // of pictures; empty for texts
	augment   bool     // pictures are cropped at random
	pictures  int      // how many there are
	train     string   // what is trained: Thaw's selection
	peerTrain string   // the same for a peer
	epochs    int      //
	rates     []string // learning rates, each a run; more than one are a sweep
	seeds     int      // runs of each rate, each with a seed of its own; 0 is one
	headTimes int      // the head's rate as a multiple of that; 1 where nothing else is trained
}

// The rates are the demo's; those of full are BERT's usual one. Pictures are 500 x 375 JPEGs. Augmented ones are fewer, for time.
var runCases = []runCase{
	{name: "texts full, 1 epoch", peers: both, train: "all", peerTrain: "full", epochs: 1, rates: []string{"5e-5"}, headTimes: 10},
	{name: "texts top 2, 3 epochs", peers: both, train: "top 2", peerTrain: "top2", epochs: 3, rates: []string{"2e-4"}, headTimes: 10},
	{name: "texts head, 3 epochs", peers: both, train: "head", peerTrain: "head", epochs: 3, rates: []string{"2e-3"}, headTimes: 1},
	{name: "texts head, 3 epochs, 3 seeds", peers: both, train: "head", peerTrain: "head", epochs: 3, rates: []string{"2e-3"}, seeds: 3, headTimes: 1},
	{name: "texts sweep, 5 rates of top 2, 3 epochs", peers: []string{bestSide}, train: "top 2", peerTrain: "top2", epochs: 3,
		rates: []string{"5e-5", "1e-4", "2e-4", "4e-4", "8e-4"}, headTimes: 10},
	{name: "pictures ResNet-50 head, 3 epochs of 1000", peers: both, network: "resnet50", pictures: 1000,
		train: "head", peerTrain: "head", epochs: 3, rates: []string{"1e-3"}, headTimes: 1},
	{name: "pictures ResNet-18 all, augmented, 2 epochs of 400", peers: both, network: "resnet18", augment: true, pictures: loaderPictures,
		train: "all", peerTrain: "all", epochs: 2, rates: []string{"1e-3"}, headTimes: 1},
	{name: "pictures ResNet-50 layer4, augmented, 2 epochs of 400", peers: both, network: "resnet50", augment: true, pictures: loaderPictures,
		train: "[layer4, head]", peerTrain: "layer4", epochs: 2, rates: []string{"1e-3"}, headTimes: 1},
}

var both = []string{defaultSide, bestSide}

// runSpec is Thaw's spec of pictures. Its optimizer and batches are the peers'; nothing is evaluated.
const runSpec = `model: %s
data: {train: %s}
images: {size: 224, resize: 256, augment: %s}
optimizer: {name: sgd}
clip_norm: 0
batch: {size: 32}
`

// runMaterial is what the runs read and where they write.
type runMaterial struct {
	interpreter string
	folder      string // temporary
	weights     string // the folder of resnet18.pth and resnet50.pth
	pictures    map[int]string
	runs        int
}

// newRunMaterial makes, once per machine, the pictures and networks of the cases.
func newRunMaterial(interpreter string, cases []runCase) (m *runMaterial, err error) {
	cache, err := cachedir.Root()
	if err != nil {
		return nil, err
	}
	m = &runMaterial{interpreter: interpreter, weights: filepath.Join(cache, "bench", "runs-resnets"), pictures: map[int]string{}}
	for _, c := range cases {
		if c.network == "" || m.pictures[c.pictures] != "" {
			continue
		}
		folder := filepath.Join(cache, "bench", "runs-pictures")
		if c.pictures == loaderPictures {
			if folder, err = loaderFolder(); err != nil {
				return nil, err
			}
		}
		if err := makePictures(folder, c.pictures); err != nil {
			return nil, err
		}
		m.pictures[c.pictures] = folder
		if _, err := runProcess(os.Stdout, interpreter, "peers/runs_weights.py", m.weights); err != nil {
			return nil, err
		}
	}
	m.folder, err = os.MkdirTemp("", "thaw-bench-runs-")
	return m, err
}

// makePictures has the loader's peer make a folder of JPEGs where it is not there.
func makePictures(folder string, count int) error {
	p, err := startPeer("loader.py", folder, strconv.Itoa(count), strconv.Itoa(loaderBatch), "0")
	if err != nil {
		return err
	}
	p.close()
	paths, err := filepath.Glob(filepath.Join(folder, "class*", "*.jpg"))
	if err == nil && len(paths) != count {
		err = fmt.Errorf("%s has %d pictures, not %d: remove it", folder, len(paths), count)
	}
	return err
}

func (m *runMaterial) close() error { return os.RemoveAll(m.folder) }

// next numbers the runs.
func (m *runMaterial) next() int {
	m.runs++
	return m.runs
}

// seedsOf are the seeds of a round, from 1 on: no two rounds have one in common.
func (c runCase) seedsOf(round int) (out []int) {
	n := max(1, c.seeds)
	for i := range n {
		out = append(out, round*n+i+1)
	}
	return out
}

// joined writes numbers between commas.
func joined(numbers []int) string {
	var words []string
	for _, n := range numbers {
		words = append(words, strconv.Itoa(n))
	}
	return strings.Join(words, ",")
}

// thawArguments are those of the program that trains or sweeps into the folder out. Under a quota of CPU time Thaw chooses its threads by itself.
func (c runCase) thawArguments(m *runMaterial, out string, quota float64, seeds []int) []string {
	headRate := c.rates[0]
	if c.headTimes != 1 {
		rate, err := strconv.ParseFloat(headRate, 64)
		if err != nil {
			panic(err) // the table has numbers alone
		}
		headRate = strconv.FormatFloat(rate*float64(c.headTimes), 'g', 6, 64)
	}
	phase := fmt.Sprintf("phases=[{train: %s, epochs: %d, lr: %s, head_lr: %s, warm_up: 0.1, schedule: linear}]",
		c.train, c.epochs, c.rates[0], headRate)
	spec := demoSpec
	if c.network != "" {
		spec = filepath.Join(m.folder, c.network+".yaml")
	}
	keys := []string{"device=cpu", "cache=memory", phase, "seed=" + joined(seeds)}
	if quota == 0 {
		keys = append(keys, fmt.Sprint("threads=", runtime.NumCPU()))
	}
	if len(c.rates) > 1 {
		keys = append([]string{"lr=" + strings.Join(c.rates, ",")}, keys...)
	}
	if len(c.rates)*len(seeds) > 1 {
		return append([]string{"sweep", spec, "--out", out}, keys...)
	}
	return append([]string{"train", spec, "out=" + out}, keys...)
}

// writeSpec writes the spec of pictures that thawArguments names.
func (c runCase) writeSpec(m *runMaterial) error {
	if c.network == "" {
		return nil
	}
	augment := "none"
	if c.augment {
		augment = "crop"
	}
	folder, ok := m.pictures[c.pictures]
	if !ok {
		return errors.New("its pictures were not made")
	}
	text := fmt.Sprintf(runSpec, filepath.Join(m.weights, c.network+".pth"), folder, augment)
	return os.WriteFile(filepath.Join(m.folder, c.network+".yaml"), []byte(text), 0o644)
}

// peerArguments are the script of a peer and what it trains on.
func (c runCase) peerArguments(m *runMaterial) []string {
	if c.network == "" {
		return []string{"peers/runs_text.py", modelFolder, reviewsFile, "--head-lr-times", strconv.Itoa(c.headTimes)}
	}
	args := []string{"peers/runs_vision.py", m.pictures[c.pictures], filepath.Join(m.weights, c.network+".pth"), "--model", c.network}
	if c.augment {
		args = append(args, "--augment")
	}
	return args
}
