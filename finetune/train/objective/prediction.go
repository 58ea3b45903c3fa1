package objective

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
)

// Prediction is what a model says of one sample.
type Prediction struct {
	Input string `json:"input"` // the text, or the picture's name
	Pair  string `json:"pair,omitempty"`
	// Label is the likeliest class, Class its number and Score its score: the softmax of the logits, or, of labels of
	// which several may hold, the sigmoid. Of a regression there are none.
	Label string  `json:"label,omitempty"`
	Class int     `json:"class"`
	Score float64 `json:"score"`
	// Labels are all that hold, where several may.
	Labels []string `json:"labels,omitzero"`
	// Value is what a regression predicts; nil elsewhere.
	Value *float64 `json:"value,omitempty"`
	// Top are the five likeliest classes.
	Top []Guess `json:"top,omitempty"`
	// Scores are those of all classes by name, where there are at most 50.
	Scores map[string]float64 `json:"scores,omitempty"`
	Logits []float32          `json:"logits"` // in the order of the classes
}

// Guess is a class and its score.
type Guess struct {
	Label string  `json:"label"`
	Class int     `json:"class"`
	Score float64 `json:"score"`
}

const (
	mostGuesses = 5
	mostScores  = 50
)

func newPrediction(names []string, logits []float32, scores []float64) Prediction {
	name := func(i int) string {
		if names == nil {
			return strconv.Itoa(i)
		}
		return names[i]
	}
	order := make([]int, len(logits))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(logits[b], logits[a]) })
	p := Prediction{Logits: logits}
	for _, i := range order[:min(mostGuesses, len(order))] {
		p.Top = append(p.Top, Guess{name(i), i, scores[i]})
	}
	if len(p.Top) > 0 {
		p.Label, p.Class, p.Score = p.Top[0].Label, p.Top[0].Class, p.Top[0].Score
	}
	if len(logits) <= mostScores {
		p.Scores = make(map[string]float64, len(logits))
		for i, score := range scores {
			p.Scores[name(i)] = score
		}
	}
	return p
}

// MarshalJSON leaves out what a regression does not have: a class and its score.
func (p Prediction) MarshalJSON() ([]byte, error) {
	if p.Value == nil {
		type all Prediction
		return marshal(all(p))
	}
	return marshal(struct {
		Input  string    `json:"input"`
		Pair   string    `json:"pair,omitempty"`
		Value  float64   `json:"value"`
		Logits []float32 `json:"logits"`
	}{p.Input, p.Pair, *p.Value, p.Logits})
}

// marshal writes JSON with <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
