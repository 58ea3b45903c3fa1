package main

import (
	"fmt"

	"github.com/thaw-ml/thaw/recipe"
)

type exportCmd struct {
	Run_    string `arg:"" name:"run" help:"A run folder."`
	Folder  string `arg:"" help:"The folder to make."`
	To      string `help:"Whose form: transformers (the default), torchvision, or onnx." placeholder:"FORMAT"`
	Adapter bool   `help:"Write the run's adapters alone, for PEFT's PeftModel.from_pretrained."`
}

func (*exportCmd) Help() string {
	return `Writes a run's best model for other programs, with a model card, README.md, that says what the run knows of itself: data, measures, settings, and a program that uses the export. Adapters of a run with train: lora are merged into the weights.

transformers: config.json, model.safetensors, and the tokenizer or preprocessor_config.json, for from_pretrained. Of texts it takes pooling: cls.

torchvision: of images and boxes, model.safetensors for the constructor of the architecture, and config.json with what it and the transforms take.

onnx: model.onnx for onnxruntime and others, and the tokenizer or preprocessor_config.json. Batches of any size, texts of any length. Of detectors the graph takes one picture of any size, [3, height, width], 0 to 1, and gives boxes in its pixels, labels and scores: resizing and non-maximum suppression are inside.

Nothing is overwritten, and a folder that could not be written whole is not there. docs/guide/export.md has more.`
}

func (c *exportCmd) Run(s streams) error {
	if c.Adapter {
		if c.To != "" {
			return usageError{"export: --adapter writes what PEFT reads: leave out --to"}
		}
		return c.done(s, recipe.ExportAdapters(c.Run_, c.Folder))
	}
	format := recipe.Transformers
	if c.To != "" {
		var err error
		if format, err = recipe.ParseFormat(c.To); err != nil {
			return where{}.wrong("export", err)
		}
	}
	run, err := recipe.OpenRun(c.Run_)
	if err != nil {
		return where{}.wrong("export", err)
	}
	defer run.Close()
	return c.done(s, run.Export(c.Folder, format))
}

// done tells which folder was made.
func (c *exportCmd) done(s streams, err error) error {
	if err == nil {
		_, err = fmt.Fprintln(s.out, c.Folder)
		return err
	}
	return where{}.wrong("export", err)
}
