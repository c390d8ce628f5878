#include "comm/rendezvous.hpp"

#include <algorithm>
#include <cstring>

#include "base/error.hpp"
#include "comm/rank_order_sum.hpp"

namespace collie::comm {
namespace {

void copy(std::byte* to, const std::byte* from, size_t bytes, DeviceQueue* queue) {
  if (bytes == 0 || to == from) return;
  if (queue != nullptr)
    queue->copy(from, to, bytes);
  else
    std::memcpy(to, from, bytes);
}

void copy_part(const Call& call, int64_t out_part, const Call& from, int64_t in_part, DeviceQueue* queue) {
  const size_t bytes = call.part_bytes();
  copy(call.out + static_cast<size_t>(out_part) * bytes, from.in + static_cast<size_t>(in_part) * bytes,
       bytes, queue);
}

}  // namespace

Rendezvous::Rendezvous(int size) : ends_(static_cast<size_t>(size)) {}

void Rendezvous::throw_if_failed() const {
  if (failure_) failure_->raise();
}

void Rendezvous::wake_all() {
  for (End& end : ends_) end.woken.notify_one();
}

void Rendezvous::fail(GroupFailure failure) {
  if (!failure_) failure_ = std::move(failure);
  wake_all();
}

void Rendezvous::refuse(int rank, const Call& call, int other) {
  fail({false, disagreement(rank, call, other, ends_[static_cast<size_t>(other)].call)});
  throw RunError(failure_->message);
}

void Rendezvous::abort(const std::string& cause) {
  const Lock lock(mutex_);
  fail({true, cause});
}

void Rendezvous::check() {
  const Lock lock(mutex_);
  throw_if_failed();
}

// Small operations cost less than waking every rank twice, so the last rank to arrive does every rank's
// share. The same holds for operations that the host only queues.
bool Rendezvous::work_under_lock(const Call& call) const {
  constexpr size_t small_bytes = 32 * 1024;
  return !call.on_host || call.operation == Operation::barrier ||
         call.part_bytes() * ends_.size() <= small_bytes;
}

void Rendezvous::collective(int rank, const Call& call, DeviceQueue* queue) {
  Lock lock(mutex_);
  throw_if_failed();
  for (size_t other = 0; other < ends_.size(); ++other)
    if (ends_[other].state == State::offering && ends_[other].call.peer == rank)
      refuse(rank, call, static_cast<int>(other));
  join(rank, call, queue, lock);
  go_on_behind(ends_[static_cast<size_t>(rank)], queue);
  if (work_under_lock(call)) return;
  // All ranks have joined, and none leaves before all shares are done. From here on nothing waits for a rank
  // that may be stuck, so abort() need not be looked at.
  lock.unlock();
  work(rank, nullptr);
  lock.lock();
  if (--working_ == 0)
    wake_all();
  else
    ends_[static_cast<size_t>(rank)].woken.wait(lock, [&] { return working_ == 0; });
}

// Returns when all have joined and the small operations are done.
void Rendezvous::join(int rank, const Call& call, DeviceQueue* queue, Lock& lock) {
  End& end = ends_[static_cast<size_t>(rank)];
  for (size_t other = 0; other < ends_.size(); ++other)
    if (ends_[other].state == State::gathering && !agree(ends_[other].call, call))
      refuse(rank, call, static_cast<int>(other));
  end.call = call;
  if (queue != nullptr) end.before = queue->record();
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
    work_of_all(queue);
  else
    working_ = size();
  wake_all();
}

void Rendezvous::work_of_all(DeviceQueue* queue) {
  const auto work_of_each = [&] {
    for (int rank = 0; rank < size(); ++rank) work(rank, queue);
  };
  if (queue == nullptr) return work_of_each();
  const auto after = put(*queue, [&] {
    for (const End& end : ends_) queue->wait(*end.before);
    work_of_each();
  });
  for (End& end : ends_) end.after = after;
}

// Returns the event behind the work, or null if the device has failed, and with it the group.
std::shared_ptr<const DeviceEvent> Rendezvous::put(DeviceQueue& queue, const std::function<void()>& work) {
  try {
    work();
    return queue.record();
  } catch (const std::exception& error) {
    fail({false, error.what()});
    return nullptr;
  }
}

void Rendezvous::go_on_behind(const End& end, DeviceQueue* queue) const {
  if (queue == nullptr) return;
  if (!end.after) throw_if_failed();
  queue->wait(*end.after);
}

void Rendezvous::work(int rank, DeviceQueue* queue) {
  const Call& call = ends_[static_cast<size_t>(rank)].call;
  switch (call.operation) {
    case Operation::all_reduce_sum:
    case Operation::reduce_scatter_sum:
      return sum_share(rank, call, queue);
    case Operation::all_gather:
      for (int other = 0; other < size(); ++other)
        copy_part(call, other, ends_[static_cast<size_t>(other)].call, 0, queue);
      return;
    case Operation::broadcast:
      return copy_part(call, 0, ends_[static_cast<size_t>(call.peer)].call, 0, queue);
    case Operation::all_to_all:
      for (int other = 0; other < size(); ++other)
        copy_part(call, other, ends_[static_cast<size_t>(other)].call, rank, queue);
      return;
    default:
      return;
  }
}

// An all-reduce is cut into one slice per rank. That rank sums its slice and writes it to every rank. A
// reduce-scatter is already cut by rank. On a device an all-reduce is one sum, which is rank 0's share.
void Rendezvous::sum_share(int rank, const Call& call, DeviceQueue* queue) {
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
    if (queue != nullptr) return queue->sum_in_rank_order(call.dtype, in, out, call.part);
    return sum_in_rank_order(call.dtype, in, out, 0, call.part);
  }
  if (queue != nullptr) {
    if (rank == 0) queue->sum_in_rank_order(call.dtype, in, out, call.part);
    return;
  }
  constexpr int64_t line = 16;  // elements, so that no two ranks write to one cache line
  const int64_t slice = (call.part / size() + line) / line * line;
  const int64_t begin = std::min(call.part, rank * slice);
  sum_in_rank_order(call.dtype, in, out, begin, std::min(call.part, begin + slice));
}

void Rendezvous::transfer(int rank, const Call& call, DeviceQueue* queue) {
  Lock lock(mutex_);
  throw_if_failed();
  End& other = ends_[static_cast<size_t>(call.peer)];
  const bool other_waits_for_us =
      other.state == State::gathering || (other.state == State::offering && other.call.peer == rank);
  if (!other_waits_for_us) return offer(rank, call, queue, lock);
  if (!opposite(call, other.call)) refuse(rank, call, call.peer);
  ends_[static_cast<size_t>(rank)].call = call;
  accept(rank, queue, other, lock);
}

void Rendezvous::offer(int rank, const Call& call, DeviceQueue* queue, Lock& lock) {
  End& end = ends_[static_cast<size_t>(rank)];
  end.call = call;
  if (queue != nullptr) end.before = queue->record();
  end.state = State::offering;
  end.woken.wait(lock,
                 [&] { return end.state == State::away || (failure_ && end.state == State::offering); });
  if (end.state != State::away) throw_if_failed();
  go_on_behind(end, queue);
}

void Rendezvous::accept(int rank, DeviceQueue* queue, End& other, Lock& lock) {
  End& end = ends_[static_cast<size_t>(rank)];
  const bool sends = end.call.operation == Operation::send;
  const End &from = sends ? end : other, &to = sends ? other : end;
  const auto move = [&] { copy(to.call.out, from.call.in, from.call.part_bytes(), queue); };
  if (queue != nullptr) {
    end.after = other.after = put(*queue, [&] {
      queue->wait(*other.before);
      move();
    });
  } else {
    other.state = State::copying;
    lock.unlock();
    move();
    lock.lock();
  }
  other.state = State::away;
  other.woken.notify_one();
  go_on_behind(end, queue);
}

}  // namespace collie::comm
