package nn_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// loraCase is a layer, and how it runs on some input.
type loraCase struct {
	name  string
	layer nn.Adaptable
	run   func() torch.Tensor
	keys  []string
}

func loraCases(g *torch.Generator) []loraCase {
	linear := nn.NewLinear(6, 5, nn.LinearOptions{}, g)
	conv := nn.NewConv2d(3, 4, 3, nn.ConvOptions{Stride: 2, Padding: 2, Dilation: 2}, g)
	embedding := nn.NewEmbedding(9, 5, g)
	embedding.Padding = 2
	x := torch.Randn(g, torch.Float32, torch.CPU, 2, 3, 6)
	image := torch.Randn(g, torch.Float32, torch.CPU, 2, 3, 8, 7)
	ids := torch.FromSlice([]int64{1, 2, 8, 0, 2, 3}, 2, 3)
	rows := nn.NewEmbedding(9, 5, g)
	keys := []string{"lora_A.weight", "lora_B.weight"}
	return []loraCase{
		{"linear", linear, func() torch.Tensor { return linear.Forward(x) }, keys},
		{"linear and GELU", linear, func() torch.Tensor { return linear.ForwardGELU(x) }, keys},
		{"convolution", conv, func() torch.Tensor { return conv.Forward(image) }, keys},
		{"embedding", embedding, func() torch.Tensor { return embedding.Forward(ids) }, []string{"lora_embedding_A", "lora_embedding_B"}},
		{"first rows", rows, func() torch.Tensor { return rows.First(4) }, []string{"lora_embedding_A", "lora_embedding_B"}},
	}
}

// A new LoRA changes nothing; with values it gives what the merged weight gives, and Undo brings back every bit.
func TestLoRAIsAChangeOfTheWeight(t *testing.T) {
	for _, o := range []nn.LoRAOptions{{Rank: 2, Alpha: 6}, {Rank: 4, Alpha: 4, RSLoRA: true, Dropout: 0.5}} {
		torchtest.Scoped(t, func() {
			g := torch.NewGenerator(1)
			closed := map[nn.Adaptable]bool{}
			for _, c := range loraCases(g) {
				plain := c.run()
				require.NoError(t, nn.AddLoRA(c.layer, o, g), c.name)
				var keys []string
				for key, p := range nn.AdapterParams(c.layer) {
					keys = append(keys, key)
					assert.False(t, p.RequiresGrad(), key)
				}
				assert.Equal(t, c.keys, keys, c.name)
				torchtest.Close(t, plain, c.run(), 1e-6, 1e-6, c.name, " with a new adapter")

				for _, p := range nn.AdapterParams(c.layer) {
					p.Normal_(0, 1, g)
				}
				adapted := c.run()
				assert.Greater(t, adapted.Sub(plain).Abs().Max().Item(), 0.1, c.name)
				weight, _ := c.layer.Base()
				before := weight.Digest()

				state, err := nn.MergedState(c.layer)
				require.NoError(t, err)
				assert.Equal(t, "weight", state[0].Name)
				assert.Equal(t, before, weight.Digest(), "%s: MergedState changes nothing", c.name)

				merged, err := nn.Merge(c.layer)
				require.NoError(t, err)
				assert.Equal(t, state[0].Tensor.Digest(), weight.Digest(), c.name)
				assert.Len(t, nn.State(c.layer), len(state), "%s: the adapter's keys are gone", c.name)
				torchtest.Close(t, adapted, c.run(), 2e-5, 2e-5, c.name, " merged")
				merged.Undo()
				assert.Equal(t, before, weight.Digest(), "%s: unmerged to the last bit", c.name)
				assert.Equal(t, torch.ToSlice[float32](adapted), torch.ToSlice[float32](c.run()), c.name)

				merged, err = nn.Merge(c.layer)
				require.NoError(t, err)
				merged.Close()
				merged.Undo() // nothing is left to undo
				torchtest.Close(t, adapted, c.run(), 2e-5, 2e-5, c.name, " merged for good")
				assert.Nil(t, *c.layer.Adapted(), c.name)
				closed[c.layer] = true
			}
			for layer := range closed {
				nn.Close(layer)
			}
		})
	}
}

// In training a share of the input is dropped before the adapter, and of nothing else.
func TestLoRADropsItsInputInTraining(t *testing.T) {
	torchtest.Scoped(t, func() {
		g := torch.NewGenerator(1)
		l := nn.NewLinear(64, 3, nn.LinearOptions{}, g)
		defer nn.Close(l)
		x := torch.Randn(g, torch.Float32, torch.CPU, 4, 64)
		plain := l.Forward(x)
		require.NoError(t, nn.AddLoRA(l, nn.LoRAOptions{Rank: 2, Alpha: 2, Dropout: 0.5}, g))
		nn.SetTraining(l, true)
		assert.Equal(t, torch.ToSlice[float32](plain), torch.ToSlice[float32](l.Forward(x)), "B is 0 yet")
		for _, p := range nn.AdapterParams(l) {
			p.Normal_(0, 1, g)
		}
		assert.NotEqual(t, torch.ToSlice[float32](l.Forward(x)), torch.ToSlice[float32](l.Forward(x)))
		nn.SetTraining(l, false)
		assert.Equal(t, torch.ToSlice[float32](l.Forward(x)), torch.ToSlice[float32](l.Forward(x)))
	})
}

// A rsLoRA is scaled by the root of its rank.
func TestLoRAScale(t *testing.T) {
	assert.Equal(t, 0.5, nn.LoRAOptions{Rank: 16, Alpha: 8}.Scale())
	assert.Equal(t, 2.0, nn.LoRAOptions{Rank: 16, Alpha: 8, RSLoRA: true}.Scale())
}

func TestAddLoRARefuses(t *testing.T) {
	torchtest.Scoped(t, func() {
		g := torch.NewGenerator(1)
		grouped := nn.NewConv2d(4, 4, 3, nn.ConvOptions{Groups: 2}, g)
		linear := nn.NewLinear(2, 2, nn.LinearOptions{}, g)
		defer nn.Close(grouped)
		defer nn.Close(linear)
		for _, c := range []struct {
			layer nn.Adaptable
			o     nn.LoRAOptions
			want  string
		}{
			{grouped, nn.LoRAOptions{Rank: 1, Alpha: 1}, "a convolution with 2 groups takes no LoRA"},
			{linear, nn.LoRAOptions{Alpha: 1}, "must be 1 or more, found 0"},
			{linear, nn.LoRAOptions{Rank: 1, Dropout: 1}, "below 1, found 1"},
		} {
			assert.ErrorContains(t, nn.AddLoRA(c.layer, c.o, g), c.want)
			assert.Nil(t, *c.layer.Adapted())
		}
	})
}

// An adapter that cannot be merged is named, and what can be is left alone.
func TestMergeNamesWhatItCannotMerge(t *testing.T) {
	torchtest.Scoped(t, func() {
		m := newAdaptable()
		defer nn.Close(m)
		g := torch.NewGenerator(2)
		require.NoError(t, nn.AddLoRA(m.A, nn.LoRAOptions{Rank: 1, Alpha: 1}, g))
		m.B.Adapter = newLowRank(6, 6, g)
		_, err := nn.Merge(m)
		assert.ErrorContains(t, err, "the adapter of b, a *nn_test.lowRank, cannot be merged")
		_, err = nn.MergedState(m)
		assert.ErrorContains(t, err, "the adapter of b")
		assert.NotNil(t, m.A.Adapter)
	})
}

// A fixed batch norm keeps its statistics in training.
func TestFixedBatchNorm(t *testing.T) {
	torchtest.Scoped(t, func() {
		b := nn.NewBatchNorm(3)
		defer nn.Close(b)
		b.Fixed = true
		nn.SetTraining(b, true)
		before := b.RunningMean.Digest()
		b.Forward(torch.Randn(torch.NewGenerator(1), torch.Float32, torch.CPU, 4, 3).AddScalar(5))
		assert.False(t, b.Training())
		assert.Equal(t, before, b.RunningMean.Digest())
		assert.Zero(t, b.NumBatchesTracked.Item())
	})
}
