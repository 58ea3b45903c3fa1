// Copies of parameters in the dtype of autocast, for the layers that read them.
#pragma once

#include "internal.h"

namespace thaw {

// The copy of a parameter that is in use on this thread, undefined where there is none: as a value, and as a leaf whose
// gradient is given to the parameter later.
at::Tensor shadow_value(const at::Tensor &t, at::ScalarType type);
at::Tensor shadow_leaf(const at::Tensor &t, at::ScalarType type);

} // namespace thaw
