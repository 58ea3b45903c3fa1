// Package text loads pre-trained BERT models and their tokenizers as transformers publishes them, and makes them and
// labelled texts ready for package finetune.
package text

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/internal/atomicfile"
)

// Config is a BERT model's shape, as transformers' config.json names it.
type Config struct {
	ModelType             string   `json:"model_type"`
	VocabSize             int      `json:"vocab_size"`
	HiddenSize            int      `json:"hidden_size"`
	NumHiddenLayers       int      `json:"num_hidden_layers"`
	NumAttentionHeads     int      `json:"num_attention_heads"`
	IntermediateSize      int      `json:"intermediate_size"`
	HiddenAct             string   `json:"hidden_act"`
	HiddenDropoutProb     float64  `json:"hidden_dropout_prob"`
	AttentionDropoutProb  float64  `json:"attention_probs_dropout_prob"`
	ClassifierDropout     *float64 `json:"classifier_dropout"` // nil: as HiddenDropoutProb
	MaxPositionEmbeddings int      `json:"max_position_embeddings"`
	TypeVocabSize         int      `json:"type_vocab_size"`
	LayerNormEps          float64  `json:"layer_norm_eps"`
	InitializerRange      float64  `json:"initializer_range"`
	PadTokenID            int      `json:"pad_token_id"`
	PositionEmbeddingType string   `json:"position_embedding_type"`

	// Of a classifier; Thaw's own keys have the prefix "thaw_".
	ID2Label    map[string]string     `json:"id2label"`
	Pooling     Pooling               `json:"thaw_pooling"`
	MaxLength   int                   `json:"thaw_max_length"`
	ProblemType objective.ProblemType `json:"problem_type"`

	all map[string]json.RawMessage // every key of the file, kept for writing it again
}

// defaultConfig is transformers' BertConfig().
func defaultConfig() Config {
	return Config{
		ModelType: "bert", VocabSize: 30522, HiddenSize: 768, NumHiddenLayers: 12, NumAttentionHeads: 12,
		IntermediateSize: 3072, HiddenAct: "gelu", HiddenDropoutProb: 0.1, AttentionDropoutProb: 0.1,
		MaxPositionEmbeddings: 512, TypeVocabSize: 2, LayerNormEps: 1e-12, InitializerRange: 0.02,
		PositionEmbeddingType: "absolute",
	}
}

// ReadConfig reads a config.json and checks that it is a BERT's.
func ReadConfig(path string) (Config, error) {
	c := defaultConfig()
	c.ModelType = ""
	data, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("reading the model's config: %w", err)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	if err := json.Unmarshal(data, &c.all); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func (c Config) check() error {
	if c.ModelType != "bert" {
		return fmt.Errorf("model_type is %q, and only bert is supported", c.ModelType)
	}
	if c.PositionEmbeddingType != "absolute" {
		return fmt.Errorf("position_embedding_type is %q, and only absolute is supported", c.PositionEmbeddingType)
	}
	for _, f := range []struct {
		key   string
		value int
	}{
		{"vocab_size", c.VocabSize}, {"hidden_size", c.HiddenSize}, {"num_hidden_layers", c.NumHiddenLayers},
		{"num_attention_heads", c.NumAttentionHeads}, {"intermediate_size", c.IntermediateSize},
		{"max_position_embeddings", c.MaxPositionEmbeddings}, {"type_vocab_size", c.TypeVocabSize},
	} {
		if f.value < 1 || f.value > 1<<24 {
			return fmt.Errorf("%s is %d", f.key, f.value)
		}
	}
	for _, f := range []struct {
		key   string
		value *float64
	}{
		{"hidden_dropout_prob", &c.HiddenDropoutProb}, {"attention_probs_dropout_prob", &c.AttentionDropoutProb},
		{"classifier_dropout", c.ClassifierDropout}, {"initializer_range", &c.InitializerRange}, {"layer_norm_eps", &c.LayerNormEps},
	} {
		if f.value != nil && (*f.value < 0 || *f.value >= 1) {
			return fmt.Errorf("%s is %v, and must be from 0 to below 1", f.key, *f.value)
		}
	}
	if c.PadTokenID < 0 || c.PadTokenID >= c.VocabSize {
		return fmt.Errorf("pad_token_id is %d, and vocab_size %d", c.PadTokenID, c.VocabSize)
	}
	if c.MaxLength < 0 || c.MaxLength > c.MaxPositionEmbeddings {
		return fmt.Errorf("thaw_max_length is %d, and max_position_embeddings %d", c.MaxLength, c.MaxPositionEmbeddings)
	}
	if c.HiddenSize%c.NumAttentionHeads != 0 {
		return fmt.Errorf("hidden_size %d is no multiple of num_attention_heads %d", c.HiddenSize, c.NumAttentionHeads)
	}
	return nil
}

// Classes are the labels by class number; empty when the file names none.
func (c Config) Classes() []string {
	classes := make([]string, len(c.ID2Label))
	for id, label := range c.ID2Label {
		n, err := strconv.Atoi(id)
		if err != nil || n < 0 || n >= len(classes) {
			return nil
		}
		classes[n] = label
	}
	return classes
}

// withClasses is the configuration of a classifier that transformers reads too.
func (c Config) withClasses(classes []string, head Head) Config {
	c.ID2Label = map[string]string{}
	for i, label := range classes {
		c.ID2Label[strconv.Itoa(i)] = label
	}
	c.Pooling = head.Pooling
	if head.Dropout != nil {
		c.ClassifierDropout = head.Dropout
	}
	return c
}

// write saves the configuration with all keys of the file it came from.
func (c Config) write(folder string) error {
	out := map[string]any{}
	for k, v := range c.all {
		out[k] = v
	}
	delete(out, "_name_or_path")
	own, err := json.Marshal(c)
	if err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(own, &fields); err != nil {
		return err
	}
	for k, v := range fields {
		out[k] = v
	}
	label2id := map[string]int{}
	for i, label := range c.Classes() {
		label2id[label] = i
	}
	out["label2id"] = label2id
	out["architectures"] = []string{"BertForSequenceClassification"}
	text, err := json.MarshalIndent(out, "", "  ") // keys come sorted
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(folder, "config.json"), func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}
