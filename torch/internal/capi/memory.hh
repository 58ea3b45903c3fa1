// libtorch's CPU allocations: counted, and small and large ones kept for reuse.
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <malloc.h>

#include <atomic>

#include "internal.h"
#include "large_blocks.hh"

namespace {

std::atomic<int64_t> live_bytes{0}, peak_bytes{0};

void count(int64_t bytes) {
  int64_t now = live_bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  int64_t peak = peak_bytes.load(std::memory_order_relaxed);
  while (now > peak && !peak_bytes.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
}

// Small blocks that a thread has freed, by size in steps of 64 bytes (libtorch's alignment). An aligned malloc and its
// free are a tenth of a small operator's time; taking a block from here is nothing.
struct SmallBlocks {
  static constexpr size_t step = 64, classes = 17, depth = 64; // up to 1 KiB; at most 0.5 MiB a thread
  void *blocks[classes][depth];
  int used[classes] = {};

  void *take(size_t c) { return used[c] > 0 ? blocks[c][--used[c]] : nullptr; }
  bool give(size_t c, void *p) {
    if (used[c] == depth) return false;
    blocks[c][used[c]++] = p;
    return true;
  }
  ~SmallBlocks() {
    for (size_t c = 0; c < classes; c++) {
      for (int i = 0; i < used[c]; i++) c10::free_cpu(blocks[c][i]);
      used[c] = depth; // what is freed later on this thread is not kept
    }
  }
};

thread_local SmallBlocks small_blocks;

void free_block(void *p) {
  if (p == nullptr) return;
  if (const size_t large = large_blocks.give(p); large > 0) {
    live_bytes.fetch_sub(static_cast<int64_t>(large), std::memory_order_relaxed);
    return;
  }
  const size_t n = malloc_usable_size(p);
  live_bytes.fetch_sub(static_cast<int64_t>(n), std::memory_order_relaxed);
  const size_t c = n / SmallBlocks::step; // the block was made for a whole number of steps, so none is overrated
  if (c < SmallBlocks::classes && small_blocks.give(c, p)) return;
  c10::free_cpu(p);
}

struct CountingAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t n) override {
    void *p = nullptr;
    if (n > 0) {
      if (n >= LargeBlocks::least && large_blocks.keeping()) {
        if (const auto [block, size] = large_blocks.take(n); block != nullptr) {
          count(static_cast<int64_t>(size));
          return {block, block, &free_block, c10::Device(c10::DeviceType::CPU)};
        }
      }
      const size_t c = (n + SmallBlocks::step - 1) / SmallBlocks::step;
      if (c < SmallBlocks::classes) {
        n = c * SmallBlocks::step;
        p = small_blocks.take(c);
      }
      if (p == nullptr) p = c10::alloc_cpu(n);
      count(static_cast<int64_t>(malloc_usable_size(p)));
    }
    return {p, p, &free_block, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free_block; }
  void copy_data(void *dest, const void *src, std::size_t n) const override { memcpy(dest, src, n); }
};

CountingAllocator allocator;

// Above the priority of libtorch's own registration, before the first tensor.
const bool installed = [] {
  c10::SetCPUAllocator(&allocator, /*priority=*/100);
  return true;
}();

} // namespace

extern "C" void thaw_memory_stats(thaw_memory *m) {
  m->live_bytes = live_bytes.load();
  m->peak_bytes = peak_bytes.load();
}

extern "C" void thaw_memory_reset_peak(void) { peak_bytes.store(live_bytes.load()); }

extern "C" void thaw_memory_keep_freed(void) {
  mallopt(M_ARENA_MAX, 1);       // the other arenas consist of pieces of 64 MiB, and no block can be larger
  mallopt(M_MMAP_MAX, 0);        // large blocks come from the heap too
  mallopt(M_TRIM_THRESHOLD, -1); // and stay there
  mallopt(M_TOP_PAD, 64 << 20);  // which grows in steps of this
  large_blocks.keep(true);       // tensors' large blocks, that is: the others are libraries' own
}

extern "C" void thaw_memory_give_back(void) {
  large_blocks.keep(false);
  mallopt(M_MMAP_MAX, 1 << 16); // glibc's own settings; M_ARENA_MAX stays
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
  mallopt(M_TOP_PAD, 128 << 10);
  malloc_trim(0);
}
