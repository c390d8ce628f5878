#include "net/port_owner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace collie {
namespace {

namespace fs = std::filesystem;

// Returns the inode of the socket that listens at the port, from the kernel's tables (proc(5),
// /proc/net/tcp); "" if there is none.
std::string listening_inode(const char* table, uint16_t port) {
  std::ifstream file(table);
  const std::string wanted = fmt::format(":{:04X}", port);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string number, local, remote, state, queues, timer, retransmits, user, timeout, inode;
    words >> number >> local >> remote >> state >> queues >> timer >> retransmits >> user >> timeout >> inode;
    if (state == "0A" && local.ends_with(wanted)) return inode;
  }
  return "";
}

bool holds(const fs::path& process, const std::string& socket) {
  std::error_code error;
  for (fs::directory_iterator each(process / "fd", error), end; !error && each != end;
       each.increment(error)) {
    std::error_code gone;
    if (fs::read_symlink(each->path(), gone) == socket) return true;
  }
  return false;
}

}  // namespace

std::string port_owner(uint16_t port) {
  std::string inode = listening_inode("/proc/net/tcp", port);
  if (inode.empty()) inode = listening_inode("/proc/net/tcp6", port);
  if (inode.empty()) return "";
  const std::string socket = "socket:[" + inode + "]";
  std::error_code error;
  for (fs::directory_iterator each("/proc", error), end; !error && each != end; each.increment(error)) {
    const std::string name = each->path().filename().string();
    const bool is_process =
        std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c); });
    if (!is_process || !holds(each->path(), socket)) continue;
    std::string command;
    std::ifstream(each->path() / "comm") >> command;
    return fmt::format(" by process {} ({})", name, command);
  }
  return "";
}

}  // namespace collie
