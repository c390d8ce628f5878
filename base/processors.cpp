#include "base/processors.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string_view>
#include <thread>
#include <vector>

namespace collie {

namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

bool holds(const std::string& list, std::string_view name) {
  const std::vector<std::string> names = split(list, ',');
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<double> positive_number(const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number <= 0) return std::nullopt;
  return static_cast<double>(number);
}

std::optional<double> quotient(const std::optional<double>& quota, const std::optional<double>& period) {
  return quota && period ? std::optional(*quota / *period) : std::nullopt;
}

// One hierarchy of control groups as it is mounted: in a container, `part` of it.
struct Hierarchy {
  bool second = false;      // version 2
  std::string part, mount;  // of the hierarchy, and where that is

  std::optional<double> quota_in(const std::string& folder) const {
    if (!second)
      return quotient(positive_number(first_line(folder + "/cpu.cfs_quota_us")),
                      positive_number(first_line(folder + "/cpu.cfs_period_us")));
    const std::vector<std::string> words = split(first_line(folder + "/cpu.max"), ' ');  // "max 100000"
    return words.size() == 2 ? quotient(positive_number(words[0]), positive_number(words[1])) : std::nullopt;
  }
};

// Lines such as "36 35 0:30 /docker/1f /sys/fs/cgroup/cpu rw shared:1 - cgroup cgroup rw,cpu,cpuacct"; see
// proc_pid_mountinfo(5).
std::vector<Hierarchy> mounted_hierarchies(const std::string& root) {
  std::vector<Hierarchy> found;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words = split(line, ' ');
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 6 || words.end() - dash < 4) continue;
    const bool second = dash[1] == "cgroup2";
    if (second || (dash[1] == "cgroup" && holds(dash[3], "cpu")))
      found.push_back({second, words[3], words[4]});
  }
  return found;
}

// The group that this process is in, from lines such as "0::/user.slice" and "4:cpu,cpuacct:/docker/1f".
std::optional<std::string> own_group(const std::string& root, bool second) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), next = line.find(':', first + 1);
    if (first == std::string::npos || next == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, next - first - 1);
    if (second ? controllers.empty() : holds(controllers, "cpu")) return line.substr(next + 1);
  }
  return std::nullopt;
}

// `group` as seen from the mount; the mount itself where the group lies outside of it.
std::string below_mount(std::string group, const std::string& part) {
  if (part != "/") {
    const bool inside = group == part || group.rfind(part + "/", 0) == 0;
    group = inside ? group.substr(part.size()) : "";
  }
  return group.find("/..") == std::string::npos ? group : "";
}

}  // namespace

std::optional<double> processor_quota(const std::string& root) {
  std::optional<double> least;
  for (const Hierarchy& hierarchy : mounted_hierarchies(root)) {
    const auto group = own_group(root, hierarchy.second);
    if (!group) continue;
    std::string folder = below_mount(*group, hierarchy.part);
    while (true) {
      const auto quota = hierarchy.quota_in(root + hierarchy.mount + folder);
      if (quota && (!least || *quota < *least)) least = quota;
      const size_t slash = folder.rfind('/');
      if (slash == std::string::npos) break;
      folder.resize(slash);
    }
  }
  return least;
}

int usable_processors() {
  int count = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  std::array<cpu_set_t, 16> sets{};  // of 1,024 processors each
  if (::sched_getaffinity(0, sizeof(sets), sets.data()) == 0)
    count = std::clamp(CPU_COUNT_S(sizeof(sets), sets.data()), 1, count);
  if (const auto quota = processor_quota())
    count = static_cast<int>(std::clamp(std::ceil(*quota), 1.0, static_cast<double>(count)));
  return count;
}

}  // namespace collie
