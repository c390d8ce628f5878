#include "tests/cli/cluster.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace collie::test {

int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(::bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

std::string loopback(int port) {
  return fmt::format("127.0.0.1:{}", port);
}

std::vector<std::string> over(const Nodes& nodes, std::vector<std::string> flags) {
  flags.insert(flags.end(), {"--nodes", nodes.addresses()});
  return flags;
}

std::map<std::string, std::string> job_environment(const std::string& master, int rank, int size) {
  return {{"COLLIE_ENGINE_MASTER", master},
          {"COLLIE_ENGINE_RANK", std::to_string(rank)},
          {"COLLIE_ENGINE_SIZE", std::to_string(size)}};
}

Nodes::Nodes(const Workbench& bench, int count, const std::map<std::string, std::string>& environment,
             const std::vector<std::string>& flags) {
  for (int i = 0; i < count; ++i) {
    ports_.push_back(free_port());
    CommandOptions options = bench.options();
    options.environment.insert(environment.begin(), environment.end());
    options.working_directory = "/";  // not the trainer's: paths must not depend on it
    options.timeout_s = 300;
    std::vector<std::string> arguments = {"node", "--listen", loopback(ports_.back())};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    processes_.push_back(std::make_unique<Command>(arguments, options));
  }
  for (const auto& process : processes_)
    REQUIRE(process->wait_until([&] { return has(process->errors(), "listening at"); }));
}

std::string Nodes::addresses() const {
  std::string all;
  for (const int port : ports_) all += (all.empty() ? "" : ",") + loopback(port);
  return all;
}

}  // namespace collie::test
