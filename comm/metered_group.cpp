#include "comm/metered_group.hpp"

#include <chrono>

#include "comm/volume.hpp"

namespace collie {

Traffic& Traffic::operator+=(const Traffic& other) {
  seconds += other.seconds;
  bytes += other.bytes;
  received_bytes += other.received_bytes;
  calls += other.calls;
  return *this;
}

void MeteredGroup::around(const comm::Call& call, const std::function<void()>& forward) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  try {
    forward();
  } catch (...) {
    count(call, {seconds(), 0, 0, 0});
    throw;
  }
  const comm::Volume volume = comm::volume_of(call, size(), rank());
  count(call, {seconds(), volume.sent, volume.received, 1});
}

void MeteredGroup::count(const comm::Call& call, const Traffic& traffic) {
  const std::lock_guard lock(mutex_);
  traffic_[std::string(comm::name_of(call.operation))] += traffic;
}

std::map<std::string, Traffic> MeteredGroup::traffic() const {
  const std::lock_guard lock(mutex_);
  return traffic_;
}

Traffic MeteredGroup::total() const {
  const std::lock_guard lock(mutex_);
  Traffic sum;
  for (const auto& [operation, traffic] : traffic_) sum += traffic;
  return sum;
}

}  // namespace collie
