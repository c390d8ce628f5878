#include "comm/collective_queue.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <utility>

#include "base/error.hpp"

namespace collie {
namespace {

constexpr size_t most_spans = 65536;

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

struct CollectiveQueue::Task {
  std::string label;
  int64_t bytes = 0;
  Operation operation;
  bool done = false;  // has succeeded; a failure is the queue's
};

struct CollectiveQueue::State {
  using Lock = std::unique_lock<std::mutex>;

  State(std::shared_ptr<ProcessGroup> the_group, int most, std::function<void()> callback, bool defer)
      : group(std::move(the_group)),
        max_in_flight(static_cast<size_t>(most)),
        on_submit(std::move(callback)),
        deferred(defer) {}

  size_t in_flight() const { return queued.size() + (running ? 1 : 0); }

  template <class Condition>
  void wait(Lock& lock, const Condition& condition) {
    if (condition()) return;
    const double start = now_s();
    changed.wait(lock, condition);
    blocked_s += now_s() - start;
  }

  bool run_next();

  // Ends all that is queued. The operations are handed out, so that what they own is released without the
  // lock.
  [[nodiscard]] std::vector<Operation> fail(const std::exception_ptr& why) {
    if (!failure) failure = why;
    changed.notify_all();
    std::vector<Operation> ended;
    for (const auto& task : queued) ended.push_back(std::exchange(task->operation, nullptr));
    queued.clear();
    return ended;
  }

  const std::shared_ptr<ProcessGroup> group;
  const size_t max_in_flight;
  const std::function<void()> on_submit;
  const bool deferred;

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Task>> queued;
  bool running = false;
  int64_t advanced = 0;  // deferred: bytes of the oldest
  std::exception_ptr failure;
  double blocked_s = 0;
  std::vector<OperationSpan> spans;
};

CollectiveQueue::Pending::Pending(std::shared_ptr<State> state, std::shared_ptr<Task> task)
    : state_(std::move(state)), task_(std::move(task)) {}

void CollectiveQueue::Pending::wait() const {
  if (!task_) return;
  while (state_->deferred && !done() && state_->run_next()) {
  }
  State::Lock lock(state_->mutex);
  state_->wait(lock, [&] { return task_->done || state_->failure; });
  if (!task_->done) std::rethrow_exception(state_->failure);
}

bool CollectiveQueue::Pending::done() const {
  if (!task_) return true;
  const State::Lock lock(state_->mutex);
  return task_->done || state_->failure;
}

CollectiveQueue::CollectiveQueue(std::shared_ptr<ProcessGroup> group, int max_in_flight,
                                 std::function<void()> on_submit) {
  COLLIE_ASSERT(group != nullptr, "a queue needs a group");
  COLLIE_ASSERT(max_in_flight > 0, "a queue needs at least one operation in flight, found {}", max_in_flight);
  state_ = std::make_shared<State>(std::move(group), max_in_flight, std::move(on_submit), false);
}

CollectiveQueue::CollectiveQueue(std::shared_ptr<ProcessGroup> group, int max_in_flight, Deferred)
    : CollectiveQueue(group, max_in_flight) {
  state_ = std::make_shared<State>(std::move(group), max_in_flight, nullptr, true);
}

CollectiveQueue::~CollectiveQueue() {
  abort("the queue of collectives is gone");
}

CollectiveQueue::Pending CollectiveQueue::submit(std::string label, Operation operation, int64_t bytes) {
  const auto task = std::make_shared<Task>();
  task->label = std::move(label);
  task->bytes = bytes;
  State& state = *state_;
  while (state.deferred && in_flight() >= static_cast<int>(state.max_in_flight) && state.run_next()) {
  }
  {
    State::Lock lock(state.mutex);
    state.wait(lock, [&] { return state.failure || state.in_flight() < state.max_in_flight; });
    if (state.failure) return Pending(state_, task);
    task->operation = std::move(operation);
    state.queued.push_back(task);
  }
  if (state.on_submit) state.on_submit();
  return Pending(state_, task);
}

bool CollectiveQueue::run_next() {
  return state_->run_next();
}

bool CollectiveQueue::State::run_next() {
  State& state = *this;
  std::shared_ptr<Task> task;
  {
    const State::Lock lock(state.mutex);
    COLLIE_ASSERT(!state.running, "a queue of collectives has one driver");
    if (state.queued.empty()) return false;
    task = std::move(state.queued.front());
    state.queued.pop_front();
    state.running = true;
  }
  OperationSpan span{task->label, now_s(), 0, task->bytes};
  state.advanced = std::max<int64_t>(0, state.advanced - task->bytes);
  std::exception_ptr thrown;
  try {
    task->operation(*state.group);
  } catch (...) {
    thrown = std::current_exception();
  }
  task->operation = nullptr;
  span.end_s = now_s();

  std::vector<Operation> ended;  // released after the lock
  const State::Lock lock(state.mutex);
  state.running = false;
  if (state.spans.size() < most_spans) state.spans.push_back(std::move(span));
  if (thrown) ended = state.fail(thrown);
  task->done = !state.failure;
  state.changed.notify_all();
  return true;
}

void CollectiveQueue::advance(int64_t bytes) {
  COLLIE_ASSERT(state_->deferred, "a queue that has a driver advances by itself");
  state_->advanced += bytes;
  const auto oldest_is_over = [&] {
    const State::Lock lock(state_->mutex);
    return !state_->queued.empty() && state_->queued.front()->bytes <= state_->advanced;
  };
  while (oldest_is_over()) run_next();
  if (in_flight() == 0) state_->advanced = 0;
}

void CollectiveQueue::abort(const std::string& cause) {
  std::vector<Operation> ended;  // released after the lock
  const State::Lock lock(state_->mutex);
  ended = state_->fail(std::make_exception_ptr(Aborted(cause)));
}

int CollectiveQueue::rank() const {
  return state_->group->rank();
}

int CollectiveQueue::size() const {
  return state_->group->size();
}

int CollectiveQueue::in_flight() const {
  const State::Lock lock(state_->mutex);
  return static_cast<int>(state_->in_flight());
}

double CollectiveQueue::blocked_seconds() const {
  const State::Lock lock(state_->mutex);
  return state_->blocked_s;
}

std::vector<OperationSpan> CollectiveQueue::take_spans() {
  const State::Lock lock(state_->mutex);
  return std::exchange(state_->spans, {});
}

}  // namespace collie
