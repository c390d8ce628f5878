// The threads of one rank. Tasks are cut by shapes alone; the arena only decides which thread runs which
// task.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "base/divide.hpp"

namespace collie::cpu {

class Arena {
 public:
  // `threads` counts the caller's own thread; with 1 everything runs inline.
  explicit Arena(int threads);
  ~Arena();
  int threads() const { return threads_; }

  // Calls f(i) for every i in [0, tasks), in any order and on any thread. An exception reaches the caller.
  template <class F>
  void for_each(int64_t tasks, F&& f) const {
    if (threads_ == 1 || tasks <= 1) {
      for (int64_t i = 0; i < tasks; ++i) f(i);
    } else {
      using Function = std::remove_reference_t<F>;
      spread(
          tasks, [](void* context, int64_t i) { (*static_cast<Function*>(context))(i); }, &f);
    }
  }

  // Calls f(first, last) for consecutive pieces of [0, count). Each is `piece` long, except the last.
  template <class F>
  void for_pieces(int64_t count, int64_t piece, F&& f) const {
    for_each(divide_up(count, piece), [&](int64_t i) { f(i * piece, std::min((i + 1) * piece, count)); });
  }

 private:
  struct Pool;
  void spread(int64_t tasks, void (*call)(void*, int64_t), void* context) const;

  int threads_;
  std::unique_ptr<Pool> pool_;
};

}  // namespace collie::cpu
