// The control groups that limit this process.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace collie {

// The folder of a group's files.
struct GroupFolder {
  bool second = false;  // true: the group is of version 2
  std::string path;
};

// This process's groups and all groups around them, as far as they can be seen, innermost first. They are of
// version 2, and of version 1 if `controller` ("cpu", "memory", "pids") is mounted.
// https://docs.kernel.org/admin-guide/cgroup-v2.html. `root` stands for / in tests. What is missing or cannot
// be understood is left out.
std::vector<GroupFolder> group_folders(std::string_view controller, const std::string& root = "");

// The first line of a file; empty if there is none.
std::string first_line(const std::string& path);

}  // namespace collie
