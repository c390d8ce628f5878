// Where the ranks of an in-process group meet: who has arrived with which call, who does which part of the
// work, and why the group has failed, if it has.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "comm/call.hpp"
#include "comm/failure.hpp"

namespace collie::comm {

class Meeting {
 public:
  explicit Meeting(int size);
  int size() const { return static_cast<int>(ends_.size()); }

  // Rank `rank` takes part with `call`; returns when its result is complete.
  void collective(int rank, const Call& call);
  void transfer(int rank, const Call& call);

  void abort(const std::string& cause);

 private:
  enum class State {
    away,       // computing, or not awake yet
    gathering,  // in a collective that not all have joined
    offering,   // in a send or receive whose other end has not come
    copying     // the other end has come and is copying: this end must not leave
  };
  struct End {
    std::condition_variable woken;
    State state = State::away;
    Call call;
  };
  using Lock = std::unique_lock<std::mutex>;

  // All with the mutex held.
  void throw_if_failed() const;
  [[noreturn]] void refuse(int rank, const Call& call, int other);
  void fail(Failure failure);
  void wake_all();
  void join(int rank, const Call& call, Lock& lock);
  bool work_under_lock(const Call& call) const;
  void offer(int rank, const Call& call, Lock& lock);
  void accept(const Call& call, End& other, Lock& lock);

  void work(int rank);  // rank's share of the collective that all have joined
  void sum_share(int rank, const Call& call);
  void copy_part(const Call& call, int64_t out_part, const Call& from, int64_t in_part);

  std::mutex mutex_;
  std::vector<End> ends_;  // a call is read without the lock only by those at work on it
  int arrived_ = 0;        // in the collective that is gathering
  int working_ = 0;        // ranks still at work on the one that has gathered
  uint64_t gathered_ = 0;  // collectives that all have joined
  std::optional<Failure> failure_;
};

}  // namespace collie::comm
