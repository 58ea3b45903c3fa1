// Command resnets is the Go side of ../check_torchvision.py: it loads every checkpoint in FOLDER/in strictly, runs it on
// FOLDER/inputs.safetensors, and writes its logits, and the weights in both layouts, to FOLDER/out.
//
//	go run ./peers/resnets FOLDER
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: resnets FOLDER")
		os.Exit(2)
	}
	if err := checkAll(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "resnets:", err)
		os.Exit(1)
	}
}

// checkAll goes through the checkpoints of a folder.
func checkAll(folder string) error {
	inputs, err := torch.OpenCheckpoint(filepath.Join(folder, "inputs.safetensors"))
	if err != nil {
		return err
	}
	defer inputs.Close()
	x, err := inputs.Tensor("inputs") // [N, 3, size, size], normalised
	if err != nil {
		return err
	}
	defer x.Close()
	in := filepath.Join(folder, "in")
	paths, err := filepath.Glob(filepath.Join(in, "*", "*"))
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("%s has no checkpoints", in)
	}
	for _, path := range paths {
		if filepath.Base(path) == "config.json" {
			continue
		}
		name := strings.NewReplacer("/", "-", ".", "-").Replace(strings.TrimPrefix(path, in+"/"))
		if err := check(path, filepath.Join(folder, "out", name), x); err != nil {
			return err
		}
	}
	return nil
}

// check loads a checkpoint and writes what came of it.
func check(path, out string, x torch.Tensor) error {
	r, report, err := vision.LoadResNet(path, vision.ResNetOptions{})
	if err != nil {
		return err
	}
	defer r.Close()
	if all := len(nn.State(r)); report.Loaded != all || len(report.Skipped)+len(report.Strays) > 0 {
		return fmt.Errorf("%s: %d of %d tensors were loaded: %+v", path, report.Loaded, all, report)
	}
	r.ChannelsLast()
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, layout := range []vision.Layout{vision.Torchvision, vision.Transformers} {
		if err := r.Save(filepath.Join(out, string(layout)+".safetensors"), layout); err != nil {
			return err
		}
	}
	return torch.ScopedErr(func() (err error) {
		torch.NoGrad(func() {
			y := r.Forward(x.ContiguousAs(torch.ChannelsLast))
			metadata := map[string]string{"architecture": r.Architecture}
			err = torch.SaveCheckpoint(filepath.Join(out, "logits.safetensors"), []torch.Named{{Name: "logits", Tensor: y}}, metadata)
		})
		return err
	})
}
