package lora

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/torch"
)

// The files of a folder of adapters.
const (
	ConfigFile  = "adapter_config.json"
	WeightsFile = "adapter_model.safetensors"
)

// prefix stands before all keys in PEFT's files.
const prefix = "base_model.model."

// Save writes a folder that PEFT's PeftModel.from_pretrained reads: adapter_config.json and adapter_model.safetensors,
// with the adapters, the head and whatever else the Config has trained. A folder that is there is written into, file by
// file, each of them there as a whole or as it was.
func (a *Adapters) Save(folder string) error {
	if a.merged != nil || len(a.layers) == 0 {
		return fmt.Errorf("writing adapters to %s: they are merged into the weights, or removed: call Unmerge first", folder)
	}
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return fmt.Errorf("writing adapters: %w", err)
	}
	state := a.state()
	for i := range state {
		state[i].Name = prefix + state[i].Name
	}
	if err := torch.SaveCheckpoint(filepath.Join(folder, WeightsFile), state, map[string]string{"format": "pt"}); err != nil {
		return fmt.Errorf("writing adapters: %w", err)
	}
	return atomicfile.WriteJSON(filepath.Join(folder, ConfigFile), a.peftConfig())
}

// peftConfig is adapter_config.json. It has the keys that PEFT has had since use_rslora came with 0.7; what newer
// versions have beside these is off where it is left out.
func (a *Adapters) peftConfig() map[string]any {
	orNull := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	saved := slices.Clone(a.saved)
	slices.Sort(saved)
	return map[string]any{
		"peft_type": "LORA", "task_type": orNull(a.Config.TaskType), "base_model_name_or_path": orNull(a.Config.BaseModel),
		"inference_mode": true, "r": a.Config.Rank, "lora_alpha": a.Config.Alpha, "lora_dropout": a.Config.Dropout,
		"use_rslora": a.Config.RSLoRA, "bias": a.Config.Bias, "target_modules": a.targets(), "modules_to_save": saved,
		"fan_in_fan_out": false, "init_lora_weights": true,
	}
}

// targets is what makes PEFT give the same layers adapters: the Config's own targets where they do, and otherwise the
// shortest ends of the layers' names that no other module's name has.
func (a *Adapters) targets() any {
	if a.Config.Pattern == "" && a.Config.Targets[0] != AllLinear && a.chosenBy(a.Config.Targets) {
		return a.Config.Targets
	}
	var out []string
	for _, name := range a.Matched {
		parts := strings.Split(name, ".")
		for n := 1; n <= len(parts); n++ {
			end := strings.Join(parts[len(parts)-n:], ".")
			if n == len(parts) || !slices.ContainsFunc(a.model.endingIn(end), a.isOther) {
				if !slices.Contains(out, end) {
					out = append(out, end)
				}
				break
			}
		}
	}
	return out
}

// chosenBy reports whether targets name all matched layers and no other.
func (a *Adapters) chosenBy(targets []string) bool {
	for _, name := range a.model.modules {
		hit := slices.ContainsFunc(targets, func(target string) bool { return endsIn(name, target) })
		if hit && a.isOther(name) || !hit && slices.Contains(a.Matched, name) {
			return false
		}
	}
	return true
}

// isOther reports whether PEFT could take a module without an adapter for a target: it passes over those that are
// saved.
func (a *Adapters) isOther(name string) bool {
	return !slices.Contains(a.Matched, name) && !a.isSaved(name)
}
