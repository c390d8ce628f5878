#include "tests/cli/hosts.hpp"

#include "tests/catch.hpp"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace collie::test {
namespace {

// What the command says where it fails.
std::string complaint_of(const std::string& command) {
  std::FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return "popen failed";
  std::string said;
  char block[256];
  while (std::fgets(block, sizeof block, pipe) != nullptr) said += block;
  return ::pclose(pipe) == 0 ? "" : command + ": " + said;
}

void ip(const std::string& arguments) {
  const std::string complaint = complaint_of("ip " + arguments);
  INFO(complaint);
  REQUIRE(complaint.empty());
}

// "0100530A:1389", as the kernel writes 10.83.0.1:5001
std::string readable(const std::string& text) {
  const auto host = static_cast<uint32_t>(std::stoul(text.substr(0, 8), nullptr, 16));
  return fmt::format("{}.{}.{}.{}:{}", host & 255, host >> 8 & 255, host >> 16 & 255, host >> 24,
                     std::stoul(text.substr(9), nullptr, 16));
}

}  // namespace

std::string Hosts::why_not() {
  const std::string name = fmt::format("collie-try-{}", ::getpid());
  const std::string complaint = complaint_of("ip netns add " + name);
  if (!complaint.empty()) return complaint;
  const std::string cable =
      complaint_of(fmt::format("ip -n {0} link add cable type veth peer name other netns {0}", name));
  complaint_of("ip netns del " + name);
  return cable;
}

Hosts::Hosts() {
  for (int host = 0; host < 2; ++host) {
    names_[host] = fmt::format("collie-{}-{}", ::getpid(), host);
    ip("netns add " + names_[host]);
  }
  ip(fmt::format("-n {} link add cable type veth peer name cable netns {}", names_[0], names_[1]));
  for (int host = 0; host < 2; ++host) {
    ip(fmt::format("-n {} addr add 10.83.0.{}/24 dev cable", names_[host], host + 1));
    ip(fmt::format("-n {} link set cable up", names_[host]));
    ip(fmt::format("-n {} link set lo up", names_[host]));
  }
}

Hosts::~Hosts() {
  for (const auto& name : names_) complaint_of("ip netns del " + name);
}

void Hosts::cut_cable() const {
  ip(fmt::format("-n {} link set cable down", names_[1]));
}

std::set<Connection> connections_of(const Command& process) {
  constexpr int established = 1;
  std::istringstream table(text_of(fmt::format("/proc/{}/net/tcp", process.process())));
  std::string line;
  std::getline(table, line);  // the columns' names
  std::set<Connection> found;
  while (std::getline(table, line)) {
    std::string number, from, to, state;
    std::istringstream(line) >> number >> from >> to >> state;
    const Connection connection{readable(from), readable(to)};
    const bool leaves =
        connection.from.rfind("10.83.", 0) == 0 && connection.from.substr(0, connection.from.find(':')) !=
                                                       connection.to.substr(0, connection.to.find(':'));
    if (std::stoi(state, nullptr, 16) == established && leaves) found.insert(connection);
  }
  return found;
}

}  // namespace collie::test
