package thaw

import "github.com/thaw-ml/thaw/torch"

func Tune() { torch.KeepFreedMemory() }
