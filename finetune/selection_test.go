package finetune

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var sixLayers = []string{"embeddings", "layer.0", "layer.1", "layer.2", "layer.3", "layer.4", "layer.5", "head"}

func TestSelectionResolve(t *testing.T) {
	for _, c := range []struct {
		selection Selection
		trained   []int
		patterns  []string
	}{
		{HeadOnly(), []int{7}, nil},
		{Selection{" head "}, []int{7}, nil},
		{All(), []int{0, 1, 2, 3, 4, 5, 6, 7}, nil},
		{Top(1), []int{6, 7}, nil},
		{Selection{"top  2"}, []int{5, 6, 7}, nil},
		{Top(7), []int{0, 1, 2, 3, 4, 5, 6, 7}, nil},
		{Selection{"embeddings", "layer.3"}, []int{0, 4, 7}, nil},
		{Selection{"layer.[45]"}, []int{5, 6, 7}, nil},
		{Selection{"layer.*"}, []int{1, 2, 3, 4, 5, 6, 7}, nil},
		{Selection{"*"}, []int{0, 1, 2, 3, 4, 5, 6, 7}, nil},
		{Selection{"head", "*.bias"}, []int{7}, []string{"*.bias"}},
		{Selection{"encoder.layer.*.output.*", "top 1"}, []int{6, 7}, []string{"encoder.layer.*.output.*"}},
	} {
		trained, patterns, err := c.selection.Resolve(sixLayers)
		require.NoError(t, err, "%v", c.selection)
		var got []int
		for i, yes := range trained {
			if yes {
				got = append(got, i)
			}
		}
		assert.Equal(t, c.trained, got, "%v", c.selection)
		assert.Equal(t, c.patterns, patterns, "%v", c.selection)
	}
	trained, _, err := Top(2).Resolve([]string{"stem", "layer1", "layer2", "fc"})
	require.NoError(t, err)
	assert.Equal(t, []bool{false, true, true, true}, trained)
}

func TestSelectionOfAParameter(t *testing.T) {
	trained, patterns, err := Selection{"bert.layer.5.bias"}.Resolve(sixLayers, "bert.layer.5.weight", "bert.layer.5.bias")
	require.NoError(t, err)
	assert.Equal(t, []bool{false, false, false, false, false, false, false, true}, trained)
	assert.Equal(t, []string{"bert.layer.5.bias"}, patterns)
}

func TestSelectionResolveErrors(t *testing.T) {
	const has = "; this model has embeddings, layer.0 ... layer.5, head"
	for _, c := range []struct {
		selection Selection
		want      string
	}{
		{Selection{"layer.7"}, `no stage matches "layer.7"` + has},
		{Selection{"layr.3"}, `no stage matches "layr.3"` + has + `; did you mean "layer.3"?`},
		{Selection{"embedding", "pooler"}, `no stage matches "embedding", "pooler"` + has + `; did you mean "embeddings"?`},
		{Selection{"encoder.layer.4"}, `no stage matches "encoder.layer.4"` + has + `; did you mean "layer.4"?`},
		{Selection{"Head"}, `no stage matches "Head"` + has + `; did you mean "head"?`},
		{Selection{"al"}, `no stage matches "al"` + has + `; did you mean "all"?`},
		{Selection{"top 8"}, `"top 8" is more than the 7 stages before the head` + has},
		{Selection{}, `nothing is selected; write "head" to train the head alone`},
		{Selection{"head", " "}, `an item is empty; write "head" to train the head alone`},
		{Selection{"top"}, `expected "top" and a number from 1 up, such as "top 2", found "top"`},
		{Selection{"top two"}, `expected "top" and a number from 1 up, such as "top 2", found "top two"`},
		{Selection{"top -1"}, `expected "top" and a number from 1 up, such as "top 2", found "top -1"`},
		{Selection{"layer.4, layer.5"}, `"layer.4, layer.5" is no name of a stage; several are a list, such as [layer.4, layer.5]`},
		{Selection{"layer.[4"}, `"layer.[4" is a pattern with an error: a [ without its ], or a \ at the end`},
	} {
		_, _, err := c.selection.Resolve(sixLayers)
		assert.EqualError(t, err, c.want)
	}
	_, _, err := All().Resolve(nil)
	assert.EqualError(t, err, "this model has no stages to choose from")
}

func TestNameStages(t *testing.T) {
	for want, stages := range map[string][]string{
		"head":                               {"head"},
		"layer.0, layer.1, head":             {"layer.0", "layer.1", "head"},
		"conv1, layer1 ... layer4, fc":       {"conv1", "layer1", "layer2", "layer3", "layer4", "fc"},
		"a.0 ... a.2, b.3, a.4, a.6, a.8":    {"a.0", "a.1", "a.2", "b.3", "a.4", "a.6", "a.8"},
		"9999999999999999999999, 1 ... 3, a": {"9999999999999999999999", "1", "2", "3", "a"},
	} {
		assert.Equal(t, want, nameStages(stages))
	}
}

func TestMatches(t *testing.T) {
	assert.True(t, matches("encoder.layer.*.output.*", "encoder.layer.5.output.dense.weight"))
	assert.False(t, matches("encoder.layer.*.output.*", "encoder.layer.5.intermediate.dense.weight"))
	assert.False(t, matches("[", "["))
}
