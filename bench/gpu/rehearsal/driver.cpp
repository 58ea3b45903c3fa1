// CUDA's driver, as far as libtorch asks it by itself.
#include "device.h"

PLAYED int cuDevicePrimaryCtxGetState(int, unsigned *flags, int *active) {
  *flags = 0;
  *active = 1;
  return 0;
}

PLAYED int cuCtxGetCurrent(void **context) {
  static char primary;
  *context = &primary;
  return 0;
}

PLAYED int cuCtxSetCurrent(void *) { return 0; }
