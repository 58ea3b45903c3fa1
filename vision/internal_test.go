package vision

import "github.com/thaw-ml/thaw/torch"

// Images is what the first stage reads of a batch, [N, 3, Side, Side].
func Images(b *Batch) torch.Tensor { return b.Images() }
