#include "base/processors.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <thread>

#include "base/control_groups.hpp"

namespace collie {

namespace {

std::optional<double> positive_number(const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number <= 0) return std::nullopt;
  return static_cast<double>(number);
}

std::optional<double> quotient(const std::optional<double>& quota, const std::optional<double>& period) {
  return quota && period ? std::optional(*quota / *period) : std::nullopt;
}

std::optional<double> quota_in(const GroupFolder& group) {
  if (!group.second)
    return quotient(positive_number(first_line(group.path + "/cpu.cfs_quota_us")),
                    positive_number(first_line(group.path + "/cpu.cfs_period_us")));
  const std::string line = first_line(group.path + "/cpu.max");  // "max 100000"
  const size_t space = line.find(' ');
  return space == std::string::npos
             ? std::nullopt
             : quotient(positive_number(line.substr(0, space)), positive_number(line.substr(space + 1)));
}

}  // namespace

std::optional<double> processor_quota(const std::string& root) {
  std::optional<double> least;
  for (const GroupFolder& group : group_folders("cpu", root)) {
    const auto quota = quota_in(group);
    if (quota && (!least || *quota < *least)) least = quota;
  }
  return least;
}

int usable_processors() {
  int count = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  std::array<cpu_set_t, 16> sets{};  // for 1,024 processors each
  if (::sched_getaffinity(0, sizeof(sets), sets.data()) == 0)
    count = std::clamp(CPU_COUNT_S(sizeof(sets), sets.data()), 1, count);
  if (const auto quota = processor_quota())
    count = static_cast<int>(std::clamp(std::ceil(*quota), 1.0, static_cast<double>(count)));
  return count;
}

}  // namespace collie
