package vision

import (
	"fmt"
	"strings"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// BodyOptions say how a network without a head is made.
type BodyOptions struct {
	Architecture string // one of Architectures; LoadBody goes by the file's keys and shapes where it is ""
	// FrozenNorms makes the norms torchvision's FrozenBatchNorm2d: they never train, as in networks that see few pictures at a
	// time, and a checkpoint needs no num_batches_tracked.
	FrozenNorms bool
}

// NewBody makes a network without its head, the body of one that does another thing with what the layers give out: FC is nil,
// and so it has no Classes, and no Forward. It has memory but no values, see NewResNet.
func NewBody(o BodyOptions) (*ResNet, error) {
	a, err := architectureNamed(o.Architecture)
	if err != nil {
		return nil, err
	}
	if o.FrozenNorms {
		a.norm = frozenNorm
	}
	r := &ResNet{Architecture: a.name}
	if err := torch.Try(func() { a.body(r) }); err != nil {
		r.Close()
		return nil, fmt.Errorf("make a %s without a head: %w", a.name, err)
	}
	return r, nil
}

// LoadBody reads a network without its head from the checkpoint of a classifier, strictly, as LoadResNet does.
func LoadBody(path string, o BodyOptions) (*ResNet, nn.LoadReport, error) {
	c, err := torch.OpenCheckpoint(path)
	if err != nil {
		return nil, nn.LoadReport{}, err
	}
	defer c.Close()
	c = c.Unwrapped(isResNets)
	if err := checkConfig(c); err != nil {
		return nil, nn.LoadReport{}, err
	}
	if o.Architecture == "" {
		if o.Architecture, _, err = DetectArchitecture(c); err != nil {
			return nil, nn.LoadReport{}, err
		}
	}
	r, err := NewBody(o)
	if err != nil {
		return nil, nn.LoadReport{}, fmt.Errorf("%s: %w", path, err)
	}
	report, err := r.load(c, true)
	if err != nil {
		r.Close()
		return nil, report, err
	}
	return r, report, nil
}

// DetectBody tells which network the keys of a checkpoint under a prefix, "backbone.body.", are the body of.
func DetectBody(c *torch.Checkpoint, prefix string) (name string, err error) {
	name, _, err = detect(c, func(key string) string {
		own, _ := strings.CutPrefix(key, prefix)
		if own == key && prefix != "" {
			return "" // another part's
		}
		return own
	})
	return name, err
}

// Stem maps images [N, 3, H, W], already normalised, to [N, 64, H/4, W/4], the input of Layer1.
func (r *ResNet) Stem(x torch.Tensor) torch.Tensor { return r.stem(x) }

// StemModule has the parameters of Stem, with the network's keys.
func (r *ResNet) StemModule() any { return &stem{r.Conv1, r.BN1} }

// Channels are those that each of the four layers gives out.
func (r *ResNet) Channels() (channels [4]int) {
	for i, layer := range []Layer{r.Layer1, r.Layer2, r.Layer3, r.Layer4} {
		channels[i] = layer.channels()
	}
	return channels
}

// channels are those that the last block gives out.
func (l Layer) channels() int {
	switch b := l[len(l)-1].(type) {
	case *BasicBlock:
		return b.Conv2.Weight.Size(0)
	case *Bottleneck:
		return b.Conv3.Weight.Size(0)
	}
	panic("vision: a block of an unknown kind") // Block has methods that only this package has
}
