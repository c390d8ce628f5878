#include "tests/cli/cluster.hpp"

#include <arpa/inet.h>
#include <fmt/ranges.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

namespace collie::test {

int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const bool found = ::bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  ::close(socket);
  if (!found) throw std::runtime_error("no port of the loopback interface is free");
  return ntohs(address.sin_port);
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
