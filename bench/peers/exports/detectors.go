package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/recipe"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/detection"
)

// detector is a detector's checkpoint that ../check_detector_onnx.py has written.
type detector struct {
	Name, Path       string
	MinSize, MaxSize int
	MinScore         float64
	Proposals        int  // of Faster R-CNN
	Run              bool // also leaves a run, and exports that
}

// found is what a detector finds in a picture.
type found struct {
	Boxes  [][4]float32
	Labels []int
	Scores []float32
}

// detectors exports each detector to FOLDER/NAME, and writes what it finds in each picture to FOLDER/NAME.json. A run's
// export, with the card and the network's usual limits, is in "FOLDER/NAME run".
func (m *maker) detectors() error {
	for _, c := range m.in.Detectors {
		if err := m.detector(c); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil
}

func (m *maker) detector(c detector) error {
	d, err := detection.OpenCheckpoint(c.Path)
	if err != nil {
		return err
	}
	defer d.Close()
	for i := range d.Classes {
		d.Classes[i] = fmt.Sprint(tricky[i%len(tricky)], i)
	}
	d.Input.MinSize, d.Input.MaxSize = c.MinSize, c.MaxSize
	if c.Run {
		if err := m.detectorRun(c.Name, d); err != nil {
			return err
		}
	}
	detection.LimitsOf(d.Network).MinScore = c.MinScore
	if f, ok := d.Network.(*detection.FasterRCNN); ok {
		f.Head.Sampling.AfterNMS = c.Proposals
	}
	if err := d.SaveONNX(filepath.Join(m.folder, c.Name)); err != nil {
		return err
	}
	var files []vision.Image
	for _, path := range m.in.Pictures {
		files = append(files, vision.File(path))
	}
	predictions, err := d.Predict(context.Background(), files, finetune.PredictOptions{BatchSize: 1})
	if err != nil {
		return err
	}
	var out []found
	for _, p := range predictions {
		f := found{[][4]float32{}, []int{}, []float32{}}
		for _, d := range p.Detections {
			f.Boxes = append(f.Boxes, [4]float32{d.X1, d.Y1, d.X2, d.Y2})
			f.Labels, f.Scores = append(f.Labels, d.Label), append(f.Scores, d.Score)
		}
		out = append(out, f)
	}
	data, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(m.folder, c.Name+".json"), data, 0o666)
}

// detectorRun leaves a run folder, as a run does, and exports it.
func (m *maker) detectorRun(name string, d *detection.Detector) error {
	folder := filepath.Join(m.folder, "runs", name)
	weights := filepath.Join(folder, finetune.WeightsDir)
	if err := os.MkdirAll(weights, 0o777); err != nil {
		return err
	}
	if err := d.SaveConfig(weights); err != nil {
		return err
	}
	best := filepath.Join(weights, "best.safetensors")
	if err := torch.SaveCheckpoint(best, nn.StageState(d.Stages()), nil); err != nil {
		return err
	}
	run, err := recipe.OpenRun(folder)
	if err != nil {
		return err
	}
	defer run.Close()
	return run.Export(filepath.Join(m.folder, name+" run"), recipe.ONNX)
}
