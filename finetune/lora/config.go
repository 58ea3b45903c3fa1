// Package lora fine-tunes few parameters beside a frozen network: [Apply] puts LoRA adapters (Hu et al. 2021) into the
// linear layers, convolutions and embeddings of a model that is cut into stages, finetune.Fit trains them where a phase
// selects "lora", and [Adapters.Save] and [Load] write and read the folder that Hugging Face's PEFT has for them. What
// a layer is given is package nn's.
package lora

import (
	"fmt"
	"math"
	"regexp"
	"slices"

	"github.com/thaw-ml/thaw/torch/nn"
)

// AllLinear as the only target stands for all linear layers and convolutions without groups before the head.
const AllLinear = "all-linear"

// What becomes of biases, as PEFT calls it.
const (
	NoBias   = "none"      // none is trained but the head's
	AllBias  = "all"       // all are
	LoRABias = "lora_only" // those of layers with adapters are
)

// Config says which layers get adapters, and which ones. The zero value of a field stands for its default. Names are
// those of the model's keys in a checkpoint, such as "bert.encoder.layer.0.attention.self.query".
type Config struct {
	Rank  int     // of the change of a weight; the default is 8, PEFT's
	Alpha float64 // the change is scaled by Alpha / Rank; the default is twice the rank, a scale of 2
	// Dropout, in [0, 1), is the share of a layer's input that its adapter does not see in training; the default is 0,
	// PEFT's.
	Dropout float64
	RSLoRA  bool // scales by Alpha / sqrt(Rank) (Kalajdzievski 2023)

	// Targets are names of layers, or what names end with behind a dot: "query" is the query layer of every attention.
	// Or they are AllLinear alone.
	Targets []string
	// Pattern, in place of Targets, is a regular expression (Go's, which has no look-around) that a whole name matches.
	Pattern string
	// Top keeps to layers in the last so many stages before the head; 0 is all stages.
	Top int
	// Bias is NoBias, the default, AllBias or LoRABias.
	Bias string
	// ModulesToSave, beside the head's, are trained as a whole and get no adapters: names, or what names end with.
	ModulesToSave []string

	// BaseModel is what adapter_config.json says that the adapters belong to: a name of the Hugging Face hub or a path.
	BaseModel string
	// TaskType is what PEFT makes of the model, such as "SEQ_CLS", a classifier of texts; empty for other modules.
	TaskType string
	Seed     uint64 // of the adapters' values
}

// resolved fills in the defaults and checks the values.
func (c Config) resolved() (Config, error) {
	c.Targets, c.ModulesToSave = slices.Clone(c.Targets), slices.Clone(c.ModulesToSave)
	if c.Rank == 0 {
		c.Rank = 8
	}
	if c.Alpha == 0 {
		c.Alpha = 2 * float64(c.Rank)
	}
	if c.Bias == "" {
		c.Bias = NoBias
	}
	return c, c.check()
}

func (c Config) check() error {
	switch {
	case c.Rank < 1:
		return fmt.Errorf("the rank must be 1 or more, found %d", c.Rank)
	case !(c.Alpha > 0) || math.IsInf(c.Alpha, 0):
		return fmt.Errorf("alpha must be above 0, found %v", c.Alpha)
	case !(0 <= c.Dropout && c.Dropout < 1):
		return fmt.Errorf("dropout must be from 0 to below 1, found %v", c.Dropout)
	case c.Top < 0:
		return fmt.Errorf("the number of top stages must be 1 or more, or 0 for all, found %d", c.Top)
	case c.Bias != NoBias && c.Bias != AllBias && c.Bias != LoRABias:
		return fmt.Errorf("bias must be %s, %s or %s, found %q", NoBias, AllBias, LoRABias, c.Bias)
	case len(c.Targets) == 0 && c.Pattern == "":
		return fmt.Errorf("no target is given: name layers, or %q for all linear layers", AllLinear)
	case len(c.Targets) > 0 && c.Pattern != "":
		return fmt.Errorf("targets are a list of names or one pattern, not both")
	case len(c.Targets) > 1 && slices.Contains(c.Targets, AllLinear):
		return fmt.Errorf("%q stands alone, and there are %d targets", AllLinear, len(c.Targets))
	case slices.Contains(c.Targets, "") || slices.Contains(c.ModulesToSave, ""):
		return fmt.Errorf("the name of a target or module is empty")
	}
	if _, err := regexp.Compile(c.Pattern); err != nil {
		return fmt.Errorf("the pattern of the targets: %w", err)
	}
	return nil
}

// options are those of an adapter.
func (c Config) options() nn.LoRAOptions {
	return nn.LoRAOptions{Rank: c.Rank, Alpha: c.Alpha, Dropout: c.Dropout, RSLoRA: c.RSLoRA}
}
