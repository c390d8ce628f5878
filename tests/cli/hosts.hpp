// Two hosts with a cable between them, made of Linux network namespaces.
#pragma once

#include <set>
#include <string>

#include "tests/cli/cluster.hpp"

namespace collie::test {

class Hosts {
 public:
  // Why there can be none, such as that this user may not make them; empty where there can.
  static std::string why_not();

  Hosts();
  ~Hosts();
  Hosts(const Hosts&) = delete;
  Hosts& operator=(const Hosts&) = delete;

  const std::string& name(int host) const { return names_[host]; }  // for CommandOptions::network
  static std::string address(int host, int port) { return fmt::format("10.83.0.{}:{}", host + 1, port); }

  void cut_cable() const;

 private:
  std::string names_[2];
};

// A pair of ports of an established connection.
struct Connection {
  std::string from, to;  // "10.83.0.1:5001"
  auto operator<=>(const Connection&) const = default;
};
// Those to other hosts from the network of a process.
std::set<Connection> connections_of(const Command& process);

}  // namespace collie::test
