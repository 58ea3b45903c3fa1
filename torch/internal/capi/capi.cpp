// The C++ of this package is one translation unit, so that libtorch's headers, 20 s of a compiler's time, are read once
// for all of it; -tags cuda adds one more, capi_cuda.cpp. The parts are named .hh because go build compiles every .cpp,
// and looks for changes in headers of this folder alone. Names that a part keeps to itself must differ from those of
// the others.
#include "autograd.hh"
#include "call.hh"
#include "dist.hh"
#include "dropout.hh"
#include "guard.hh"
#include "linear.hh"
#include "memory.hh"
#include "packed.hh"
#include "pixels.hh"
#include "roi_align.hh"
#include "runtime.hh"
#include "shadow.hh"
#include "tensor.hh"
#include "waiting.hh"
#include "winograd.hh" // behind linear.hh, of which it takes a few functions
#include "conv_norm.hh" // behind winograd.hh, likewise
