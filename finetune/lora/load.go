package lora

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Load gives a model the adapters, the head and whatever else a folder holds that PEFT's save_pretrained, or Save, has
// written: LoRA and rsLoRA in linear layers, convolutions and embeddings, biases, modules_to_save. What
// adapter_config.json asks for beside these (DoRA, ranks by pattern, layers_to_transform and so on) is an error that
// names it. Adapters of the head are merged into its weights.
func Load[B any](stages []nn.Stage[B], folder string) (_ *Adapters, err error) {
	c, err := ReadConfig(folder)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(folder, ConfigFile)
	asked := c.ModulesToSave
	c.ModulesToSave = nil
	a := &Adapters{Config: c, model: newModel(stages)}
	for _, ask := range asked { // PEFT lists names that the model may lack: "classifier", "score"
		for _, name := range a.model.endingIn(ask) {
			if !slices.Contains(a.saved, name) {
				a.saved = append(a.saved, name)
			}
		}
	}
	a.Config.ModulesToSave = a.saved
	if err := a.match(false); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	file, err := openWeights(folder)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := a.checkRank(file); err != nil {
		return nil, err
	}
	if err := a.add(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err = a.read(file); err == nil {
		err = a.mergeHead()
	}
	if err != nil {
		a.Remove()
		return nil, err
	}
	return a, nil
}

// openWeights opens the file of a folder, adapter_model.bin where an old version of PEFT has left that.
func openWeights(folder string) (*torch.Checkpoint, error) {
	path := filepath.Join(folder, WeightsFile)
	if other := filepath.Join(folder, "adapter_model.bin"); !fileThere(path) && fileThere(other) {
		path = other
	}
	return torch.OpenCheckpoint(path)
}

// checkRank makes sure that the file has adapters of the config's rank, before memory is asked for.
func (a *Adapters) checkRank(c *torch.Checkpoint) error {
	for _, l := range a.layers {
		key := prefix + l.name + ".lora_A.weight"
		if _, ok := l.module.(*nn.Embedding); ok {
			key = prefix + l.name + ".lora_embedding_A"
		}
		shape, ok := c.Shape(key)
		if !ok {
			return fmt.Errorf("%s lacks the key %s, as %s asks for it", c.Path(), suggest.Quote(key), ConfigFile)
		}
		if len(shape) == 0 || shape[0] != a.Config.Rank {
			return fmt.Errorf("%s: %s is %v, and r of %s is %d", c.Path(), key, shape, ConfigFile, a.Config.Rank)
		}
	}
	return nil
}

// read copies the values of a file. Nothing is copied where the file and the model differ.
func (a *Adapters) read(c *torch.Checkpoint) error {
	path := c.Path()
	wanted, others := map[string]torch.Tensor{}, map[string]torch.Tensor{}
	for _, n := range a.state() {
		wanted[n.Name] = n.Tensor
	}
	for _, l := range a.model.layers { // PEFT also keeps weights of embeddings that were resized
		if e, ok := l.module.(*nn.Embedding); ok {
			others[l.name+".weight"], others[l.name+".base_layer.weight"] = e.Weight, e.Weight
		}
	}
	var missing, unexpected, shapes []string
	from := map[string]torch.Tensor{}
	names := c.Names()
	for _, key := range names {
		if isCopy(key, names) {
			continue
		}
		name, ok := strings.CutPrefix(key, prefix)
		to, found := wanted[name]
		if !found {
			to, found = others[name]
		}
		if !ok || !found {
			unexpected = append(unexpected, key)
			continue
		}
		if shape, _ := c.Shape(key); !slices.Equal(shape, to.Shape()) {
			shapes = append(shapes, fmt.Sprintf("%s is %v in the file and %v in the model", key, shape, to.Shape()))
		}
		delete(wanted, name)
		from[key] = to
	}
	for name := range wanted {
		missing = append(missing, prefix+name)
	}
	slices.Sort(missing)
	switch {
	case unexpected != nil:
		return fmt.Errorf("%s has keys that the model has no place for: %s", path, suggest.List(unexpected))
	case missing != nil:
		return fmt.Errorf("%s lacks keys: %s", path, suggest.List(missing))
	case shapes != nil:
		return fmt.Errorf("%s does not fit the model: %s", path, strings.Join(shapes, "; "))
	}
	for _, key := range slices.Sorted(maps.Keys(from)) {
		if err := c.CopyTo(key, from[key]); err != nil {
			return err
		}
	}
	return nil
}

// isCopy reports whether a key is one of those that PEFT writes for bias: all beside the one that it reads: the biases
// of modules_to_save, as they are and as they were.
func isCopy(key string, names []string) bool {
	for _, part := range []string{".modules_to_save.", ".original_module."} {
		if before, after, ok := strings.Cut(key, part); ok && slices.Contains(names, before+"."+after) {
			return true
		}
	}
	return false
}

func fileThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// mergeHead makes adapters of the head part of its weights: the head is trained and saved as a whole.
func (a *Adapters) mergeHead() error {
	head := len(a.model.parts) - 1
	m, err := nn.Merge(a.model.parts[head].module)
	if err != nil {
		return err
	}
	m.Close()
	a.layers = slices.DeleteFunc(a.layers, func(l layer) bool { return l.part == head })
	a.Matched = nil
	for _, l := range a.layers {
		a.Matched = append(a.Matched, l.name)
	}
	for _, name := range a.model.headModules() {
		if !slices.Contains(a.saved, name) {
			a.saved = append(a.saved, name)
		}
	}
	return nil
}

// harmless are keys of adapter_config.json that change nothing about what is loaded.
var harmless = []string{
	"auto_mapping", "inference_mode", "peft_version", "revision", "megatron_core", "qalora_group_size", "ensure_weight_tying",
}

// ReadConfig reads adapter_config.json in a folder. A key that asks for what Load does not do is an error that names
// it.
func ReadConfig(folder string) (Config, error) {
	path := filepath.Join(folder, ConfigFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	c, err := parseConfig(text)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func parseConfig(text []byte) (Config, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return Config{}, err
	}
	var kind string
	_ = json.Unmarshal(keys["peft_type"], &kind) // what is no text is none of the types
	if kind != "LORA" {
		return Config{}, fmt.Errorf("peft_type is %s, and only LORA is read", suggest.Shorten(string(keys["peft_type"])))
	}
	delete(keys, "peft_type")
	c := Config{}
	var base, task, bias *string
	fields := map[string]any{
		"r": &c.Rank, "lora_alpha": &c.Alpha, "lora_dropout": &c.Dropout, "use_rslora": &c.RSLoRA, "bias": &bias,
		"modules_to_save": &c.ModulesToSave, "base_model_name_or_path": &base, "task_type": &task,
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		value := keys[key]
		switch field, known := fields[key]; {
		case known:
			if err := json.Unmarshal(value, field); err != nil {
				return Config{}, fmt.Errorf("%s: %w", key, err)
			}
		case key == "target_modules":
			if err := c.setTargets(value); err != nil {
				return Config{}, fmt.Errorf("%s: %w", key, err)
			}
		case key == "init_lora_weights":
			// Other ways to start change the network's own weights too, which are in no adapter's file.
			if !slices.Contains([]string{"true", "false", "null", `"gaussian"`}, string(value)) {
				return Config{}, fmt.Errorf("%s is %s, which is not read", key, suggest.Shorten(string(value)))
			}
		case slices.Contains(harmless, key) || key == "layers_pattern" && isOff(keys["layers_to_transform"]) || isOff(value):
		default:
			return Config{}, fmt.Errorf("%s is %s, which is not read: only LoRA and rsLoRA with one rank, biases and "+
				"modules_to_save are", key, suggest.Shorten(string(value)))
		}
	}
	for from, to := range map[*string]*string{base: &c.BaseModel, task: &c.TaskType, bias: &c.Bias} {
		if from != nil {
			*to = *from
		}
	}
	// PEFT's own defaults for keys that are not there; this package's are others.
	if _, ok := keys["lora_alpha"]; !ok {
		c.Alpha = 8
	}
	if _, ok := keys["r"]; !ok {
		c.Rank = 8
	}
	if c.Bias == "" {
		c.Bias = NoBias
	}
	return c, c.check()
}

// setTargets reads a list of names or a pattern.
func (c *Config) setTargets(value json.RawMessage) error {
	if bytes.HasPrefix(value, []byte(`"`)) {
		var pattern string
		if err := json.Unmarshal(value, &pattern); err != nil {
			return err
		}
		if strings.EqualFold(pattern, AllLinear) {
			c.Targets = []string{AllLinear}
		} else {
			c.Pattern = pattern
		}
		return nil
	}
	return json.Unmarshal(value, &c.Targets)
}

// isOff reports whether a value asks for nothing: null, false, 0, "", [] or {}.
func isOff(value json.RawMessage) bool {
	var v any
	if len(value) == 0 {
		return true
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return false
	}
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case float64:
		return v == 0
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}
