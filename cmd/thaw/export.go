package main

import (
	"fmt"
	"os"

	"github.com/thaw-ml/thaw/recipe"
)

type exportCmd struct {
	Run_    string `arg:"" name:"run" help:"A run folder."`
	Folder  string `arg:"" help:"The folder to make."`
	Adapter bool   `help:"Write the run's adapters alone, for PEFT's PeftModel.from_pretrained."`
}

func (*exportCmd) Help() string {
	return `Writes a run's best model as transformers publishes its kind (config.json, model.safetensors, and preprocessor_config.json or the tokenizer), for from_pretrained. Runs of images need no export for torchvision, which loads RUN/weights/best.safetensors as it is. Adapters of a run with train: lora are merged into the weights; --adapter writes them alone instead.`
}

func (c *exportCmd) Run(s streams) error {
	if c.Adapter {
		return c.adapter(s)
	}
	run, err := recipe.OpenRun(c.Run_)
	if err != nil {
		return where{}.wrong("export", err)
	}
	defer run.Close()
	if _, err := os.Lstat(c.Folder); err == nil {
		return usageError{fmt.Sprintf("export: %s exists; nothing is overwritten", c.Folder)}
	}
	if err := run.Export(c.Folder); err != nil {
		return where{}.wrong("export", err)
	}
	_, err = fmt.Fprintln(s.out, c.Folder)
	return err
}

// adapter writes the run's adapters alone.
func (c *exportCmd) adapter(s streams) error {
	if _, err := os.Lstat(c.Folder); err == nil {
		return usageError{fmt.Sprintf("export: %s exists; nothing is overwritten", c.Folder)}
	}
	if err := recipe.ExportAdapters(c.Run_, c.Folder); err != nil {
		return where{}.wrong("export", err)
	}
	_, err := fmt.Fprintln(s.out, c.Folder)
	return err
}
