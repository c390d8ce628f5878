#include "base/control_groups.hpp"

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

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

// One hierarchy of control groups as it is mounted. In a container it is only `part` of the hierarchy.
struct Hierarchy {
  bool second = false;
  std::string part, mount;  // a part of the hierarchy, and its mount point
};

// Reads lines such as "36 35 0:30 /docker/1f /sys/fs/cgroup/cpu rw shared:1 - cgroup cgroup rw,cpu,cpuacct";
// see proc_pid_mountinfo(5).
std::vector<Hierarchy> mounted_hierarchies(std::string_view controller, const std::string& root) {
  std::vector<Hierarchy> found;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words = split(line, ' ');
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 6 || words.end() - dash < 4) continue;
    const bool second = dash[1] == "cgroup2";
    if (second || (dash[1] == "cgroup" && holds(dash[3], controller)))
      found.push_back({second, words[3], words[4]});
  }
  return found;
}

// The group of this process, from lines such as "0::/user.slice" and "4:cpu,cpuacct:/docker/1f".
std::optional<std::string> own_group(std::string_view controller, const std::string& root, bool second) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), next = line.find(':', first + 1);
    if (first == std::string::npos || next == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, next - first - 1);
    if (second ? controllers.empty() : holds(controllers, controller)) return line.substr(next + 1);
  }
  return std::nullopt;
}

// `group` as seen from the mount, or the mount itself if the group lies outside it.
std::string below_mount(std::string group, const std::string& part) {
  if (part != "/") {
    const bool inside = group == part || group.rfind(part + "/", 0) == 0;
    group = inside ? group.substr(part.size()) : "";
  }
  return group.find("/..") == std::string::npos ? group : "";
}

}  // namespace

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::vector<GroupFolder> group_folders(std::string_view controller, const std::string& root) {
  std::vector<GroupFolder> found;
  for (const Hierarchy& hierarchy : mounted_hierarchies(controller, root)) {
    const auto group = own_group(controller, root, hierarchy.second);
    if (!group) continue;
    std::string folder = below_mount(*group, hierarchy.part);
    while (true) {
      found.push_back({hierarchy.second, root + hierarchy.mount + folder});
      const size_t slash = folder.rfind('/');
      if (slash == std::string::npos) break;
      folder.resize(slash);
    }
  }
  return found;
}

}  // namespace collie
