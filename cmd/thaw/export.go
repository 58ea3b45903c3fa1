package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/vision"
)

type exportCmd struct {
	Run_   string `arg:"" name:"run" help:"A run folder of pictures."`
	Folder string `arg:"" help:"The folder to make."`
}

func (*exportCmd) Help() string {
	return `Writes a run's best network as transformers publishes ResNets (config.json, preprocessor_config.json, model.safetensors). Runs need no export for torchvision, which loads RUN/weights/best.safetensors as it is, and text runs none at all.`
}

func (c *exportCmd) Run(s streams) error {
	if err := checkRun("export", c.Run_); err != nil {
		return err
	}
	spec, err := finetune.ReadSpec(filepath.Join(c.Run_, "spec.yaml"))
	if err != nil {
		return fmt.Errorf("%s is no run folder: %w", c.Run_, err)
	}
	if !spec.OfPictures() {
		return usageError{fmt.Sprintf("export: %s is in transformers' layout already", text.RunWeights(c.Run_))}
	}
	if _, err := os.Lstat(c.Folder); err == nil {
		return usageError{fmt.Sprintf("export: %s exists; nothing is overwritten", c.Folder)}
	}
	model, err := vision.OpenClassifier(text.RunWeights(c.Run_), "")
	if err != nil {
		return err
	}
	defer model.Close()
	if err := model.SaveTransformers(c.Folder); err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, c.Folder)
	return err
}
