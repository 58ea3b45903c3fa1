#include <ATen/Parallel.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "internal.h"

// libgomp, which runs the threads of operators, reads its settings when it is loaded, and has no function that changes how
// long a thread spins before it sleeps. But it spins for next to no time (100 rounds in place of 300,000) while it has more
// threads than there are CPUs. So a team of threads that sleep is what makes all others of the process not spin.
extern "C" void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags);
extern "C" int omp_get_num_procs(void);

namespace {

// SleepingTeam is a team of libgomp's that sleeps until it is told to end.
struct SleepingTeam {
  std::mutex mutex;
  std::condition_variable changed;
  bool asleep = false, over = false;
  std::thread leader;

  static void sleep(void *data) {
    auto team = static_cast<SleepingTeam *>(data);
    std::unique_lock<std::mutex> lock(team->mutex);
    team->asleep = true; // libgomp has counted the team by now
    team->changed.notify_all();
    team->changed.wait(lock, [&] { return team->over; });
  }
};

std::mutex spinning_mutex;
SleepingTeam *sleeping = nullptr; // nullptr: threads spin. Never destroyed at exit, while its threads sleep

} // namespace

extern "C" char *thaw_set_spinning(int32_t on) {
  return thaw::guarded([&] {
    std::lock_guard<std::mutex> lock(spinning_mutex);
    if ((on != 0) == (sleeping == nullptr)) return;
    if (on) {
      {
        std::lock_guard<std::mutex> inner(sleeping->mutex);
        sleeping->over = true;
        sleeping->changed.notify_all();
      }
      sleeping->leader.join(); // with a thread that ends libgomp forgets its team
      delete sleeping;
      sleeping = nullptr;
      return;
    }
    // More than CPUs together with the threads that compute, of which there may be fewer later; a thread that libgomp cannot
    // start ends the process, so not too many.
    int cpus = omp_get_num_procs();
    unsigned threads = std::max(cpus - at::get_num_threads() + 2, std::min(cpus, 32) + 1);
    auto team = new SleepingTeam;
    try {
      team->leader = std::thread([=] { GOMP_parallel(SleepingTeam::sleep, team, threads, 0); });
    } catch (...) { // the system has no thread left
      delete team;
      throw;
    }
    std::unique_lock<std::mutex> inner(team->mutex);
    team->changed.wait(inner, [&] { return team->asleep; });
    inner.unlock();
    sleeping = team;
  });
}
