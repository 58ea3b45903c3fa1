// Weights in the layout that oneDNN multiplies fastest.
#pragma once

#include "internal.h"

namespace thaw {

// The packed copy of a linear layer's weight, made where there is none yet, or undefined where packed weights are not in
// use on this thread.
at::Tensor packed_value(const at::Tensor &weight);

} // namespace thaw
