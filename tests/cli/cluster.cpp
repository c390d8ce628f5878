#include "tests/cli/cluster.hpp"

#include <arpa/inet.h>
#include <fmt/ranges.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <stdexcept>

namespace collie::test {

static bool is_free(int port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool bound = ::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  ::close(socket);
  return bound;
}

// Below the ports that the system gives to connections, of which tests open thousands. Test programs that run
// beside each other begin at places of their own, and none asks for a port twice: a port that was free may
// not have been taken yet.
int free_port() {
  constexpr int first = 10'000, count = 22'000;
  static std::atomic<int> next = static_cast<int>(::getpid()) % 200 * (count / 200);
  for (int tries = 0; tries < count; ++tries)
    if (const int port = first + next++ % count; is_free(port)) return port;
  throw std::runtime_error("no port of the loopback interface is free");
}

std::string loopback(int port) {
  return fmt::format("127.0.0.1:{}", port);
}

std::map<std::string, std::string> job_environment(const std::string& master, int rank, int size) {
  return {{"COLLIE_ENGINE_MASTER", master},
          {"COLLIE_ENGINE_RANK", std::to_string(rank)},
          {"COLLIE_ENGINE_SIZE", std::to_string(size)}};
}

std::vector<std::string> over(const Nodes& nodes, std::vector<std::string> flags) {
  flags.insert(flags.end(), {"--nodes", nodes.list()});
  return flags;
}

Nodes::Nodes(int count, CommandOptions options, const std::vector<std::string>& flags) {
  options.working_directory = "/";  // not the trainer's: paths must not depend on it
  options.timeout_s = 300;
  for (int i = 0; i < count; ++i) {
    ports_.push_back(free_port());
    std::vector<std::string> arguments = {"node", "--listen", loopback(ports_.back())};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    processes_.push_back(std::make_unique<Command>(arguments, options));
  }
  for (const auto& process : processes_)
    if (!process->wait_until([&] { return process->errors().find("listening at") != std::string::npos; }))
      throw std::runtime_error("a node does not listen: " + process->errors());
}

std::vector<std::string> Nodes::addresses() const {
  std::vector<std::string> all;
  for (const int port : ports_) all.push_back(loopback(port));
  return all;
}

std::string Nodes::list() const {
  return fmt::format("{}", fmt::join(addresses(), ","));
}

}  // namespace collie::test
