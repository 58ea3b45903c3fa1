package fused

import "github.com/thaw-ml/thaw/torch"

type Cast struct{}

func NewCast(trained, frozen []torch.Tensor, dtype torch.DType) *Cast { return nil }
func (c *Cast) Run(forward func() torch.Tensor, check func(torch.Tensor) error) error {
	loss := forward()
	if check != nil {
		if err := check(loss); err != nil {
			return err
		}
	}
	loss.Backward()
	return nil
}
func (c *Cast) Close() {}
