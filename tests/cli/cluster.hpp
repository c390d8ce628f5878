// Nodes as processes of their own, for tests of runs over several of them.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/cli/workbench.hpp"

namespace collie::test {

// What a job manager tells process `rank` of `size`.
std::map<std::string, std::string> job_environment(const std::string& master, int rank, int size);

// A TCP port of the loopback interface that nobody listened at a moment ago.
int free_port();

// "127.0.0.1:PORT"
std::string loopback(int port);

// `collie-engine node` processes; killed at the end.
class Nodes {
 public:
  Nodes(const Workbench& bench, int count, const std::map<std::string, std::string>& environment = {},
        const std::vector<std::string>& flags = {});

  std::string addresses() const;  // for --nodes
  Command& node(size_t index) { return *processes_.at(index); }
  std::string address(size_t index) const { return loopback(ports_.at(index)); }

 private:
  std::vector<int> ports_;
  std::vector<std::unique_ptr<Command>> processes_;
};

// The flags of a run over them: run(dir, settings, over(nodes)).
std::vector<std::string> over(const Nodes& nodes, std::vector<std::string> flags = {});

}  // namespace collie::test
