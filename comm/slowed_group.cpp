#include "comm/slowed_group.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "base/error.hpp"
#include "comm/group_decorator.hpp"
#include "comm/volume.hpp"

namespace collie {
namespace {

// A sleep that can be ended for all sleepers, now and later.
class Sleep {
 public:
  void sleep(double seconds) {
    std::unique_lock lock(mutex_);
    ended_changed_.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return ended_; });
  }
  void end() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    ended_changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_changed_;
  bool ended_ = false;
};

class SlowedGroup : public comm::GroupDecorator {
 public:
  SlowedGroup(std::shared_ptr<ProcessGroup> inner, const LinkSpeed& speed, std::shared_ptr<Sleep> sleep)
      : GroupDecorator(std::move(inner)), speed_(speed), sleep_(std::move(sleep)) {}

  // The group comes first, so that a woken thread finds it aborted.
  void abort(const std::string& cause) override {
    GroupDecorator::abort(cause);
    sleep_->end();
  }

 private:
  void around(const comm::Call& call, const std::function<void()>& forward) override {
    if (size() > 1) sleep_->sleep(seconds(call));
    forward();
  }

  double seconds(const comm::Call& call) const {
    if (speed_.bytes_per_second == 0) return speed_.latency_s;
    const comm::Volume volume = comm::volume_of(call, size(), rank());
    return speed_.latency_s +
           static_cast<double>(std::max(volume.sent, volume.received)) / speed_.bytes_per_second;
  }

  LinkSpeed speed_;
  std::shared_ptr<Sleep> sleep_;
};

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace

LinkSpeed parse_link_speed(std::string_view spec) {
  const auto refuse = [&](std::string_view item, const char* should) {
    throw UserError("link speed '{}': '{}' {}; write latency_us=50,gbps=0.5", spec, item, should);
  };
  LinkSpeed speed;
  for (size_t begin = 0; begin <= spec.size();) {
    const size_t end = std::min(spec.find(',', begin), spec.size());
    const std::string_view item = spec.substr(begin, end - begin);
    begin = end + 1;
    const size_t equals = std::min(item.find('='), item.size());
    const std::string_view key = item.substr(0, equals);
    if (key != "latency_us" && key != "gbps") refuse(item, "is neither latency_us=... nor gbps=...");
    const std::optional<double> value = number(item.substr(std::min(equals + 1, item.size())));
    if (!value) refuse(item, "has no number");
    if (key == "latency_us" && *value < 0) refuse(item, "must not be negative");
    if (key == "gbps" && *value <= 0) refuse(item, "must be positive");
    (key == "gbps" ? speed.bytes_per_second : speed.latency_s) = *value * (key == "gbps" ? 1e9 / 8 : 1e-6);
  }
  return speed;
}

std::vector<std::shared_ptr<ProcessGroup>> slow_down(const std::vector<std::shared_ptr<ProcessGroup>>& ends,
                                                     const LinkSpeed& speed) {
  const auto sleep = std::make_shared<Sleep>();
  std::vector<std::shared_ptr<ProcessGroup>> slowed;
  for (const auto& end : ends) slowed.push_back(std::make_shared<SlowedGroup>(end, speed, sleep));
  return slowed;
}

}  // namespace collie
