#include "comm/meeting.hpp"

#include <algorithm>
#include <cstring>

#include "base/error.hpp"
#include "comm/rank_order_sum.hpp"

namespace collie::comm {
namespace {

void copy(std::byte* to, const std::byte* from, size_t bytes) {
  if (bytes > 0 && to != from) std::memcpy(to, from, bytes);
}

}  // namespace

Meeting::Meeting(int size) : ends_(static_cast<size_t>(size)) {}

void Meeting::throw_if_failed() const {
  if (failure_) failure_->raise();
}

void Meeting::wake_all() {
  for (End& end : ends_) end.woken.notify_one();
}

void Meeting::fail(Failure failure) {
  if (!failure_) failure_ = std::move(failure);
  wake_all();
}

void Meeting::refuse(int rank, const Call& call, int other) {
  fail({false, disagreement(rank, call, other, ends_[static_cast<size_t>(other)].call)});
  throw RunError(failure_->message);
}

void Meeting::abort(const std::string& cause) {
  const Lock lock(mutex_);
  fail({true, cause});
}

// Small operations cost less than waking everybody twice: the last rank to arrive does everybody's share.
bool Meeting::work_under_lock(const Call& call) const {
  constexpr size_t small_bytes = 32 * 1024;
  return call.operation == Operation::barrier || call.part_bytes() * ends_.size() <= small_bytes;
}

void Meeting::collective(int rank, const Call& call) {
  check_on_host(call);
  Lock lock(mutex_);
  throw_if_failed();
  for (size_t other = 0; other < ends_.size(); ++other)
    if (ends_[other].state == State::offering && ends_[other].call.peer == rank)
      refuse(rank, call, static_cast<int>(other));
  join(rank, call, lock);
  if (work_under_lock(call)) return;
  // Everybody has joined, and nobody leaves before all shares are done: from here on nothing waits for a rank
  // that may be stuck, so that abort() need not be looked at.
  lock.unlock();
  work(rank);
  lock.lock();
  if (--working_ == 0)
    wake_all();
  else
    ends_[static_cast<size_t>(rank)].woken.wait(lock, [&] { return working_ == 0; });
}

// Returns when all have joined, with the small operations done.
void Meeting::join(int rank, const Call& call, Lock& lock) {
  End& end = ends_[static_cast<size_t>(rank)];
  for (size_t other = 0; other < ends_.size(); ++other)
    if (ends_[other].state == State::gathering && !agree(ends_[other].call, call))
      refuse(rank, call, static_cast<int>(other));
  end.call = call;
  if (++arrived_ < size()) {
    end.state = State::gathering;
    const uint64_t before = gathered_;
    end.woken.wait(lock, [&] { return gathered_ != before || failure_; });
    if (gathered_ == before) throw_if_failed();
    return;
  }
  arrived_ = 0;
  ++gathered_;
  for (End& other : ends_) other.state = State::away;
  if (work_under_lock(call))
    for (int other = 0; other < size(); ++other) work(other);
  else
    working_ = size();
  wake_all();
}

void Meeting::work(int rank) {
  const Call& call = ends_[static_cast<size_t>(rank)].call;
  switch (call.operation) {
    case Operation::all_reduce_sum:
    case Operation::reduce_scatter_sum:
      return sum_share(rank, call);
    case Operation::all_gather:
      for (int other = 0; other < size(); ++other)
        copy_part(call, other, ends_[static_cast<size_t>(other)].call, 0);
      return;
    case Operation::broadcast:
      return copy_part(call, 0, ends_[static_cast<size_t>(call.peer)].call, 0);
    case Operation::all_to_all:
      for (int other = 0; other < size(); ++other)
        copy_part(call, other, ends_[static_cast<size_t>(other)].call, rank);
      return;
    default:
      return;
  }
}

void Meeting::copy_part(const Call& call, int64_t out_part, const Call& from, int64_t in_part) {
  const size_t bytes = call.part_bytes();
  copy(call.out + static_cast<size_t>(out_part) * bytes, from.in + static_cast<size_t>(in_part) * bytes,
       bytes);
}

// An all-reduce is cut into one slice a rank, which that rank sums and writes to everybody; a reduce-scatter
// is cut by its nature.
void Meeting::sum_share(int rank, const Call& call) {
  const bool scatters = call.operation == Operation::reduce_scatter_sum;
  const size_t offset = scatters ? static_cast<size_t>(rank) * call.part_bytes() : 0;
  std::vector<const std::byte*> in;
  std::vector<std::byte*> out;
  for (const End& end : ends_) {
    in.push_back(end.call.in + offset);
    if (!scatters) out.push_back(end.call.out);
  }
  if (scatters) {
    out.push_back(call.out);
    sum_in_rank_order(call.dtype, in, out, 0, call.part);
    return;
  }
  constexpr int64_t line = 16;  // elements, so that no two ranks write to one cache line
  const int64_t slice = (call.part / size() + line) / line * line;
  const int64_t begin = std::min(call.part, rank * slice);
  sum_in_rank_order(call.dtype, in, out, begin, std::min(call.part, begin + slice));
}

void Meeting::transfer(int rank, const Call& call) {
  check_on_host(call);
  Lock lock(mutex_);
  throw_if_failed();
  End& other = ends_[static_cast<size_t>(call.peer)];
  const bool other_waits_for_us =
      other.state == State::gathering || (other.state == State::offering && other.call.peer == rank);
  if (!other_waits_for_us) return offer(rank, call, lock);
  if (!opposite(call, other.call)) refuse(rank, call, call.peer);
  accept(call, other, lock);
}

void Meeting::offer(int rank, const Call& call, Lock& lock) {
  End& end = ends_[static_cast<size_t>(rank)];
  end.call = call;
  end.state = State::offering;
  end.woken.wait(lock,
                 [&] { return end.state == State::away || (failure_ && end.state == State::offering); });
  if (end.state == State::away) return;
  throw_if_failed();
}

void Meeting::accept(const Call& call, End& other, Lock& lock) {
  other.state = State::copying;
  const bool sends = call.operation == Operation::send;
  std::byte* const to = sends ? other.call.out : call.out;
  const std::byte* const from = sends ? call.in : other.call.in;
  lock.unlock();
  copy(to, from, call.part_bytes());
  lock.lock();
  other.state = State::away;
  other.woken.notify_one();
}

}  // namespace collie::comm
