// Nodes as processes of their own, for tests of runs over several of them.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/cli/command.hpp"

namespace collie::test {

// What a job manager tells process `rank` of `size`.
std::map<std::string, std::string> job_environment(const std::string& master, int rank, int size);

// A TCP port of the loopback interface that nobody listened at a moment ago.
int free_port();

// "127.0.0.1:PORT"
std::string loopback(int port);

// `collie-engine node` processes, which serve one run after another; killed at the end.
class Nodes {
 public:
  // Returns when all listen; throws std::runtime_error where one does not.
  explicit Nodes(int count, CommandOptions options = {}, const std::vector<std::string>& flags = {});

  std::vector<std::string> addresses() const;
  std::string list() const;  // for --nodes
  Command& node(size_t index) const { return *processes_.at(index); }
  std::string address(size_t index) const { return loopback(ports_.at(index)); }

 private:
  std::vector<int> ports_;
  std::vector<std::unique_ptr<Command>> processes_;
};

// The flags of a run over them: run(dir, settings, over(nodes)).
std::vector<std::string> over(const Nodes& nodes, std::vector<std::string> flags = {});

}  // namespace collie::test
