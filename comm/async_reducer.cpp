#include "comm/async_reducer.hpp"

#include "base/error.hpp"
#include "comm/rank_order_sum.hpp"

namespace collie {

AsyncReducer::AsyncReducer(int size, int max_in_flight) : size_(size) {
  COLLIE_ASSERT(size > 0, "a reducer needs at least one rank, found {}", size);
  COLLIE_ASSERT(max_in_flight > 0, "a reducer needs at least one sum in flight, found {}", max_in_flight);
  slots_.resize(static_cast<size_t>(max_in_flight));
  for (size_t i = 0; i < slots_.size(); ++i) {
    slots_[i].sequence = i;
    slots_[i].tensors.resize(static_cast<size_t>(size));
    slots_[i].on_done.resize(static_cast<size_t>(size));
  }
  next_.resize(static_cast<size_t>(size), 0);
}

AsyncReducer::~AsyncReducer() {
  abort("the reducer is gone");
}

void AsyncReducer::submit(int rank, uint64_t sequence, const Tensor& x, OnDone on_done) {
  COLLIE_ASSERT(rank >= 0 && rank < size_, "rank {} of a reducer of {}", rank, size_);
  COLLIE_ASSERT(x.defined() && x.device() == DeviceKind::cpu && x.contiguous(),
                "a reducer takes contiguous tensors on the host");
  COLLIE_ASSERT(x.dtype() == DType::f32 || x.dtype() == DType::f64, "sums are of float32 or float64, not {}",
                name(x.dtype()));
  const auto r = static_cast<size_t>(rank);
  std::unique_lock lock(mutex_);
  COLLIE_ASSERT(sequence == next_[r], "rank {} submits number {}, but its next is {}", rank, sequence,
                next_[r]);
  Slot& slot = slot_of(sequence);
  slot_freed_.wait(lock, [&] { return failure_ || slot.sequence == sequence; });
  if (failure_) std::rethrow_exception(failure_);
  check_agreement(slot, rank, x);
  if (failure_) {
    const std::exception_ptr failure = failure_;
    fail(failure, lock);
    std::rethrow_exception(failure);
  }
  ++next_[r];
  slot.tensors[r] = x;
  slot.on_done[r] = std::move(on_done);
  if (++slot.arrived < size_) return;

  // The slot is this thread's until its sequence is advanced: everybody has submitted this number, and
  // abort() passes over it.
  lock.unlock();
  reduce(slot);
  std::vector<OnDone> done(static_cast<size_t>(size_));
  lock.lock();
  done.swap(slot.on_done);
  for (Tensor& tensor : slot.tensors) tensor = {};
  slot.arrived = 0;
  slot.sequence += slots_.size();
  lock.unlock();
  slot_freed_.notify_all();
  for (const OnDone& call : done) call(nullptr);
}

void AsyncReducer::check_agreement(const Slot& slot, int rank, const Tensor& x) {
  for (size_t other = 0; other < slot.tensors.size(); ++other) {
    const Tensor& y = slot.tensors[other];
    if (!y.defined() || (y.dtype() == x.dtype() && y.shape() == x.shape())) continue;
    failure_ = std::make_exception_ptr(
        RunError("reducer: number {} of rank {} is {} {}, but that of rank {} is {} {}", slot.sequence, rank,
                 name(x.dtype()), x.shape().to_string(), other, name(y.dtype()), y.shape().to_string()));
    return;
  }
}

void AsyncReducer::reduce(const Slot& slot) const {
  std::vector<const std::byte*> in;
  std::vector<std::byte*> out;
  for (const Tensor& tensor : slot.tensors) {
    in.push_back(static_cast<const std::byte*>(tensor.raw()));
    out.push_back(static_cast<std::byte*>(tensor.raw()));
  }
  comm::sum_in_rank_order(slot.tensors[0].dtype(), in, out, 0, slot.tensors[0].numel());
}

int AsyncReducer::in_flight(int rank) const {
  COLLIE_ASSERT(rank >= 0 && rank < size_, "rank {} of a reducer of {}", rank, size_);
  const std::lock_guard lock(mutex_);
  int count = 0;
  // A slot's number is not done while the slot still has it.
  for (const Slot& slot : slots_) count += slot.sequence < next_[static_cast<size_t>(rank)];
  return count;
}

void AsyncReducer::abort(const std::string& cause) {
  std::unique_lock lock(mutex_);
  if (!failure_) fail(std::make_exception_ptr(Aborted(cause)), lock);
}

// Ends everything that not all ranks have submitted. Leaves `lock` unlocked, as on_done may post to anyone.
void AsyncReducer::fail(std::exception_ptr failure, std::unique_lock<std::mutex>& lock) {
  failure_ = failure;
  std::vector<OnDone> done;
  for (Slot& slot : slots_) {
    if (slot.arrived == size_) continue;
    for (OnDone& call : slot.on_done)
      if (call) done.push_back(std::move(call));
    for (OnDone& call : slot.on_done) call = nullptr;
    for (Tensor& tensor : slot.tensors) tensor = {};
  }
  lock.unlock();
  slot_freed_.notify_all();
  for (const OnDone& call : done) call(failure);
}

}  // namespace collie
