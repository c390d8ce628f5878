#include "comm/collective_queue.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <utility>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace collie {
namespace {

constexpr size_t most_spans = 65536;

}  // namespace

struct CollectiveQueue::Task {
  explicit Task(const DeviceOrder& the_order) : order(the_order) {}
  // The memory of what the operation owned goes back in the order of the rank's queue.
  ~Task() {
    try {
      order_rank_behind();
    } catch (const std::exception&) {  // the device has failed: nothing is at work on it
    }
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  void order_rank_behind() const {
    if (after) order.compute->wait(*after);
  }

  const DeviceOrder order;
  std::string label;
  int64_t bytes = 0;
  Operation operation;
  bool done = false;  // it succeeded; a failure is stored in the queue
  // On a device: the events behind what the rank had queued at the submission, and behind the operation's
  // work.
  std::shared_ptr<const DeviceEvent> before, after;
};

struct CollectiveQueue::State {
  using Lock = std::unique_lock<std::mutex>;

  State(std::shared_ptr<ProcessGroup> the_group, int most, std::function<void()> callback, DeviceOrder queues,
        bool defer)
      : group(std::move(the_group)),
        max_in_flight(static_cast<size_t>(most)),
        on_submit(std::move(callback)),
        order(std::move(queues)),
        deferred(defer) {}

  size_t in_flight() const { return queued.size() + (running ? 1 : 0); }

  template <class Condition>
  void wait(Lock& lock, const Condition& condition) {
    if (condition()) return;
    const double start = steady_seconds();
    changed.wait(lock, condition);
    blocked_s += steady_seconds() - start;
  }

  bool run_next();
  void run(Task& task);

  // Ends all that is queued. Returns the operations, so that the caller frees what they own without the lock.
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
  const DeviceOrder order;
  const bool deferred;

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Task>> queued;
  bool running = false;
  int64_t advanced = 0;  // for queues without a driver: bytes of the oldest operation
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
  const Operation owned = std::exchange(task_->operation, nullptr);
  lock.unlock();
  task_->order_rank_behind();
}

bool CollectiveQueue::Pending::done() const {
  if (!task_) return true;
  const State::Lock lock(state_->mutex);
  return task_->done || state_->failure;
}

CollectiveQueue::CollectiveQueue(std::shared_ptr<ProcessGroup> group, int max_in_flight,
                                 std::function<void()> on_submit, DeviceOrder order) {
  COLLIE_ASSERT(group != nullptr, "a queue needs a group");
  COLLIE_ASSERT(max_in_flight > 0, "a queue needs at least one operation in flight, found {}", max_in_flight);
  state_ =
      std::make_shared<State>(std::move(group), max_in_flight, std::move(on_submit), std::move(order), false);
}

CollectiveQueue::CollectiveQueue(std::shared_ptr<ProcessGroup> group, int max_in_flight, Undriven)
    : CollectiveQueue(group, max_in_flight) {
  state_ = std::make_shared<State>(std::move(group), max_in_flight, nullptr, DeviceOrder{}, true);
}

CollectiveQueue::~CollectiveQueue() {
  abort("the queue of collectives is gone");
}

CollectiveQueue::Pending CollectiveQueue::submit(std::string label, Operation operation, int64_t bytes) {
  const auto task = std::make_shared<Task>(state_->order);
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
    if (state.order.compute) task->before = state.order.compute->record();
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
  OperationSpan span{task->label, steady_seconds(), 0, task->bytes};
  state.advanced = std::max<int64_t>(0, state.advanced - task->bytes);
  std::exception_ptr thrown;
  try {
    state.run(*task);
  } catch (...) {
    thrown = std::current_exception();
  }
  span.end_s = steady_seconds();

  std::vector<Operation> ended;  // destroyed after the lock is released
  const State::Lock lock(state.mutex);
  state.running = false;
  if (state.spans.size() < most_spans) state.spans.push_back(std::move(span));
  if (thrown) ended = state.fail(thrown);
  task->done = !state.failure;
  state.changed.notify_all();
  return true;
}

// On a device the operation's tensors are still in use when it returns or throws, so what it owns stays with
// the task.
void CollectiveQueue::State::run(Task& task) {
  if (!order.communication) {
    const Operation owned = std::exchange(task.operation, nullptr);
    return owned(*group);
  }
  order.communication->wait(*task.before);
  try {
    task.operation(*group);
  } catch (...) {
    task.after = order.communication->record();
    throw;
  }
  task.after = order.communication->record();
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
  std::vector<Operation> ended;  // destroyed after the lock is released
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
