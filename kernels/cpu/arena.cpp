#include "kernels/cpu/arena.hpp"

#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include "base/error.hpp"

namespace collie::cpu {

struct Arena::Pool {
  explicit Pool(int threads) : arena(threads) {}
  tbb::task_arena arena;
};

Arena::Arena(int threads) : threads_(threads) {
  COLLIE_ASSERT(threads >= 1, "an arena needs at least one thread, got {}", threads);
  if (threads > 1) pool_ = std::make_unique<Pool>(threads);
}

Arena::~Arena() = default;

void Arena::spread(int64_t tasks, void (*call)(void*, int64_t), void* context) const {
  pool_->arena.execute([&] {
    tbb::parallel_for(
        tbb::blocked_range<int64_t>(0, tasks, 1),
        [&](const tbb::blocked_range<int64_t>& range) {
          for (int64_t i = range.begin(); i < range.end(); ++i) call(context, i);
        },
        tbb::simple_partitioner());
  });
}

}  // namespace collie::cpu
