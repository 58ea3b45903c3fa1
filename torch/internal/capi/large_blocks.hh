// Blocks of a megabyte and more for tensors on the CPU, kept when they are freed (docs/decisions/006).
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <unordered_map>

namespace {

// Each block is a mapping of its own. One that was freed serves the next that is as large or a little smaller. Live and freed
// blocks together take no more than live ones did at their peak: where they would, the pages of the block that was freed
// longest ago move to the one that is asked for (mremap), which spares the system clearing others, or go back to the system.
// In a heap blocks of many sizes take nearly twice that, as they leave gaps that no other fits.
class LargeBlocks {
public:
  static constexpr size_t least = 1 << 20;

  void keep(bool on) {
    const std::lock_guard<std::mutex> lock(mutex_);
    keeping_ = on;
    while (!on && !free_.empty()) drop(oldest());
  }
  bool keeping() const { return keeping_.load(std::memory_order_relaxed); }

  // A block of n bytes or more, and how many; nullptr where the system has none.
  std::pair<void *, size_t> take(size_t n) {
    n = (n + page - 1) / page * page;
    const std::lock_guard<std::mutex> lock(mutex_);
    size_t size = n;
    void *p = nullptr;
    if (const auto fits = free_.lower_bound(n); fits != free_.end() && fits->first <= n + n / 8) {
      size = fits->first;
      p = forget(fits);
    }
    const size_t peak = std::max(peak_, live_ + size);
    while (!free_.empty() && live_ + size + freed_ > peak) {
      if (p == nullptr) p = resized(oldest(), n);
      else drop(oldest());
    }
    while (p == nullptr) {
      p = mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (p != MAP_FAILED) break;
      if (free_.empty()) return {nullptr, 0};
      p = nullptr;
      drop(oldest()); // it may make room
    }
    try {
      used_.emplace(p, size);
    } catch (...) {
      munmap(p, size);
      throw;
    }
    live_ += size, peak_ = peak;
    return {p, size};
  }

  // Frees p, and gives its bytes; 0 where it is no block of these.
  size_t give(void *p) {
    if (reinterpret_cast<uintptr_t>(p) % page != 0) return 0;
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto it = used_.find(p);
    if (it == used_.end()) return 0;
    const size_t n = it->second;
    used_.erase(it);
    live_ -= n;
    if (!keeping()) {
      munmap(p, n);
      return n;
    }
    try {
      free_.emplace(n, Freed{p, ++clock_});
      freed_ += n;
    } catch (const std::bad_alloc &) {
      munmap(p, n);
    }
    return n;
  }

private:
  static constexpr size_t page = 4096;
  struct Freed {
    void *p;
    uint64_t since;
  };
  using Free = std::multimap<size_t, Freed>; // by size

  // Of the few hundred blocks of a training step it is quick to look at each.
  Free::iterator oldest() {
    return std::min_element(free_.begin(), free_.end(), [](const auto &a, const auto &b) { return a.second.since < b.second.since; });
  }

  void *forget(Free::iterator it) {
    void *p = it->second.p;
    freed_ -= it->first;
    free_.erase(it);
    return p;
  }

  void drop(Free::iterator it) {
    const size_t n = it->first;
    munmap(forget(it), n);
  }

  // The block with n bytes in place of its own, or nullptr, and then it is gone.
  void *resized(Free::iterator it, size_t n) {
    const size_t before = it->first;
    void *p = forget(it), *moved = mremap(p, before, n, MREMAP_MAYMOVE);
    if (moved != MAP_FAILED) return moved;
    munmap(p, before);
    return nullptr;
  }

  std::mutex mutex_;
  std::atomic<bool> keeping_{false};
  Free free_;
  std::unordered_map<void *, size_t> used_;
  size_t live_ = 0, freed_ = 0, peak_ = 0;
  uint64_t clock_ = 0;
};

// Never destroyed: tensors may be freed after static objects.
LargeBlocks &large_blocks = *new LargeBlocks;

} // namespace
