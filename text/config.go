// Package text loads pre-trained BERT models and their tokenizers as transformers publishes them, and makes them and
// labelled texts ready for package finetune.
package text

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/internal/suggest"
)

// ProblemType says what a classifier's logits mean, as transformers spells it.
type ProblemType = objective.ProblemType

// The types of problem. Where a configuration names none, it is SingleLabel.
const (
	SingleLabel = objective.SingleLabel // one class of several: the scores are the logits' softmax
	MultiLabel  = objective.MultiLabel  // any number of labels: the scores are the logits' sigmoid
	Regression  = objective.Regression  // a number: the logit itself
)

// bertForSequenceClassification is the class of transformers that a classifier with the pooling CLS is.
const bertForSequenceClassification = "BertForSequenceClassification"

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
	ID2Label    map[string]string `json:"id2label"`
	ProblemType ProblemType       `json:"problem_type,omitempty"`
	Pooling     Pooling           `json:"thaw_pooling"`
	MaxLength   int               `json:"thaw_max_length"`
	Pairs       *bool             `json:"thaw_pairs,omitempty"` // trained on pairs of texts, or on single ones; nil: not known

	file map[string]json.RawMessage // every key of the file
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

// ReadConfig reads a config.json and checks that it is a BERT's. A key by which transformers would compute something
// else than Thaw is an error that names it.
func ReadConfig(path string) (Config, error) {
	c := defaultConfig()
	c.ModelType = ""
	data, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("reading the model's config: %w", err)
	}
	if bytes.HasPrefix(data, []byte("version https://git-lfs")) {
		return c, fmt.Errorf("%s: this is a git-lfs pointer: fetch the file itself (git lfs pull)", path)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	if err := json.Unmarshal(data, &c.file); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// given reports whether the file has a key with a value that asks for something: not null, false, 0 or empty.
func (c Config) given(key string) bool {
	return !slices.Contains([]string{"", "null", "false", "0", "{}", "[]", `""`}, string(bytes.Join(bytes.Fields(c.file[key]), nil)))
}

// refusedKeys change what transformers computes, and stand for what a model here is not.
var refusedKeys = []struct{ key, want string }{
	{"is_decoder", "only encoders are supported"},
	{"is_encoder_decoder", "only encoders are supported"},
	{"add_cross_attention", "only encoders are supported"},
	{"pruned_heads", "only models that have all heads are supported"},
	{"per_layer_config", "only models whose layers are alike are supported"},
}

func (c Config) check() error {
	if c.ModelType != "bert" {
		return fmt.Errorf("model_type is %q, and only bert is supported", c.ModelType)
	}
	if c.PositionEmbeddingType != "absolute" {
		return fmt.Errorf("position_embedding_type is %q, and only absolute is supported", c.PositionEmbeddingType)
	}
	for _, r := range refusedKeys {
		if c.given(r.key) {
			return fmt.Errorf("%s is %s, and %s", r.key, suggest.Shorten(string(c.file[r.key])), r.want)
		}
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

// checkHead refuses a configuration of a model whose head is another than BertForSequenceClassification's, or whose
// scores are made otherwise.
func (c Config) checkHead() error {
	var architectures []string
	if raw, ok := c.file["architectures"]; ok {
		if err := json.Unmarshal(raw, &architectures); err != nil {
			return fmt.Errorf("architectures: %w", err)
		}
	}
	if len(architectures) > 0 && !slices.Contains(architectures, bertForSequenceClassification) {
		return fmt.Errorf("architectures is %s: no classifier of whole texts, which is %q", suggest.List(architectures), bertForSequenceClassification)
	}
	if c.given("quantization_config") {
		return errors.New("quantization_config is set, and quantized weights are not supported")
	}
	if problems := []ProblemType{"", SingleLabel, MultiLabel, Regression}; !slices.Contains(problems, c.ProblemType) {
		return fmt.Errorf("problem_type is %q; there are %q, %q, %q", c.ProblemType, SingleLabel, MultiLabel, Regression)
	}
	return nil
}

// DefaultMaxLength is where texts are cut, in tokens, unless something else is asked for: 128, or where the model's
// positions end.
func (c Config) DefaultMaxLength() int { return min(128, c.MaxPositionEmbeddings) }

// CheckTexts checks that the model can read texts, or pairs of texts, that are cut to maxLength tokens.
func (c Config) CheckTexts(pairs bool, maxLength int) error {
	return errors.Join(c.checkPairs(pairs), c.checkLength(maxLength))
}

func (c Config) checkPairs(pairs bool) error {
	if pairs && c.TypeVocabSize < 2 {
		return fmt.Errorf("the model has %d segment (type_vocab_size), and pairs of texts take 2", c.TypeVocabSize)
	}
	return nil
}

func (c Config) checkLength(n int) error {
	if n < 1 {
		return fmt.Errorf("%d tokens are too few", n)
	}
	if n > c.MaxPositionEmbeddings {
		return fmt.Errorf("%d is more than the %d positions of the model", n, c.MaxPositionEmbeddings)
	}
	return nil
}

// WithHead is the configuration of a model with a new head, which transformers reads too.
func (c Config) WithHead(head Head) Config {
	c.ID2Label = map[string]string{}
	for i, label := range head.labels() {
		c.ID2Label[strconv.Itoa(i)] = label
	}
	c.ProblemType = cmp.Or(head.Problem, SingleLabel)
	c.Pooling, c.Pairs, c.MaxLength = head.Pooling, nil, 0
	if head.Dropout != nil {
		c.ClassifierDropout = head.Dropout
	}
	return c
}

// keptKeys are those of the file that stay true of what is trained of it and that Config has no field for: they number
// and name tokens. All others are of a task, an output, a dtype, a program, or not known.
var keptKeys = []string{
	"bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id", "mask_token_id", "unk_token_id", "tokenizer_class",
}

// write saves the configuration. What it says is true of the weights beside it, whatever the file it came from said of
// others.
func (c Config) write(folder string) error {
	out := map[string]any{}
	for _, key := range keptKeys {
		if value, ok := c.file[key]; ok {
			out[key] = value
		}
	}
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
	out["label2id"], out["num_labels"], out["dtype"] = label2id, len(label2id), "float32"
	if c.Pooling == CLS { // transformers has no class for another
		out["architectures"] = []string{bertForSequenceClassification}
	}
	return atomicfile.WriteJSON(filepath.Join(folder, "config.json"), out) // keys come sorted
}
