#include "comm/nccl/communicator.hpp"

#include <fmt/format.h>

#include <chrono>

#include "base/error.hpp"

namespace collie::nccl {

namespace {

using std::chrono::milliseconds;
constexpr std::chrono::microseconds between_questions{50};  // while a call is in progress
constexpr milliseconds between_looks{100};                  // while nobody calls
constexpr milliseconds farewell{2000};

}  // namespace

Communicator::Communicator(const Api& api, std::string who, int rank, int size, std::function<void()> others)
    : api_(api), who_(std::move(who)), rank_(rank), size_(size), others_(std::move(others)) {}

// Destroying the communicator waits for the other ranks, which may be gone.
Communicator::~Communicator() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (watch_.joinable()) watch_.join();
  if (comm_ == nullptr) return;
  const auto deadline = std::chrono::steady_clock::now() + farewell;
  Result result = api_.comm_finalize(comm_);
  while (result == Result::in_progress && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(between_questions);
    if (api_.comm_get_async_error(comm_, &result) != Result::success) break;
  }
  if (result == Result::success)
    api_.comm_destroy(comm_);
  else
    api_.comm_abort(comm_);
}

void Communicator::connect(const UniqueId& id) {
  Lock lock(mutex_);
  throw_if_failed();
  Config config;
  const Result result = api_.comm_init_rank_config(&comm_, size_, id, rank_, &config);
  // The watcher starts before this thread waits for the other ranks, because NCCL does not tell if one of
  // them gives up meanwhile.
  if (result == Result::success || result == Result::in_progress) watch_ = std::thread([this] { watch(); });
  wait(result, lock);
}

void Communicator::run(const std::function<Result(ncclComm*)>& calls) {
  Lock lock(mutex_);
  throw_if_failed();
  wait(calls(comm_), lock);
}

// Until the call is complete, nothing else may be asked of the communicator.
void Communicator::wait(Result result, Lock& lock) {
  while (result == Result::in_progress) {
    changed_.wait_for(lock, between_questions);
    throw_if_failed();
    const Result asked = api_.comm_get_async_error(comm_, &result);
    if (asked != Result::success) result = asked;
  }
  if (result == Result::success) return;
  fail(result);
  throw_if_failed();
}

void Communicator::watch() {
  Lock lock(mutex_);
  while (!ending_ && !failure_) {
    look();
    changed_.wait_for(lock, between_looks);
  }
}

void Communicator::look() {
  Result state = Result::success;
  const Result asked = api_.comm_get_async_error(comm_, &state);
  if (asked != Result::success) state = asked;
  if (state != Result::success && state != Result::in_progress) return fail(state);
  try {
    others_();
  } catch (...) {
    fail(std::current_exception());
  }
}

void Communicator::throw_if_failed() const {
  if (failure_) std::rethrow_exception(failure_);
}

void Communicator::check() const {
  const std::lock_guard lock(mutex_);
  throw_if_failed();
}

void Communicator::fail(Result result) {
  std::string reason = api_.get_error_string(result);
  const char* const detail = api_.get_last_error(comm_);
  if (detail != nullptr && *detail != '\0') reason += fmt::format(" ({})", detail);
  fail(std::make_exception_ptr(RunError("{}: NCCL: {}", who_, reason)));
}

// Streams that wait for other ranks go on when the communicator is aborted.
void Communicator::fail(std::exception_ptr failure) {
  if (failure_) return;
  failure_ = std::move(failure);
  if (comm_ != nullptr) api_.comm_abort(comm_);
  comm_ = nullptr;
  changed_.notify_all();
}

void Communicator::abort(const std::string& cause) {
  const std::lock_guard lock(mutex_);
  fail(std::make_exception_ptr(Aborted(cause)));
}

}  // namespace collie::nccl
