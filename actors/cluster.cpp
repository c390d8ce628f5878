#include "actors/cluster.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>

#include <caf/io/all.hpp>
#include <caf/openssl/all.hpp>

#include "actors/caf_types.hpp"
#include "actors/certificates.hpp"
#include "actors/tls_errors.hpp"
#include "actors/version.hpp"
#include "base/log.hpp"

namespace collie {
namespace {

constexpr auto patience = std::chrono::seconds(5);
// Of CAF's network thread, which computes nothing: a process that computes on all cores answers nevertheless.
// More often than once a second costs connections: of 25 runs at new nodes, whose connections are made within
// such a second, 5 lost one with 500 ms and none with a second.
constexpr auto heartbeat = std::chrono::seconds(1), longest_silence = std::chrono::seconds(3);
constexpr auto until_forgotten = std::chrono::milliseconds(1'000);

bool has_tls(const ClusterSection& cluster) {
  return !cluster.tls.certificate.empty();
}

using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

AddressList resolve(const std::string& host, uint16_t port, const std::string& where) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0)
    throw UserError("{}: '{}' cannot be resolved: {}; a host name or an address is needed", where, host,
                    ::gai_strerror(error));
  return {found, &::freeaddrinfo};
}

std::string numeric(const addrinfo& address) {
  char text[NI_MAXHOST] = {};
  ::getnameinfo(address.ai_addr, address.ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  return text;
}

// "" where something listens there; else why not, which CAF does not say. Only asked after CAF has failed: a
// node that must get over the end of a connection at that moment may lose the next one (CAF 0.17 knows them
// by their descriptors, and hears of an end late).
std::string why_unreachable(const NodeAddress& address) {
  const AddressList found = resolve(address.host, address.port, "cluster.nodes");
  const int socket = ::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket < 0) return std::strerror(errno);
  int error = ::connect(socket, found->ai_addr, found->ai_addrlen) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    pollfd poll{socket, POLLOUT, 0};
    socklen_t size = sizeof error;
    if (::poll(&poll, 1, static_cast<int>(std::chrono::milliseconds(patience).count())) == 0)
      error = ETIMEDOUT;
    else
      ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size);
  }
  ::close(socket);
  return error == 0 ? "" : std::strerror(error);
}

struct Attempt {
  caf::actor host;
  caf::error error;
};

Attempt try_to_connect(caf::actor_system& system, const NodeAddress& address, bool encrypted) {
  caf::scoped_actor self(system);
  const auto connector = caf::actor_cast<caf::actor>(encrypted ? system.openssl_manager().actor_handle()
                                                               : system.middleman().actor_handle());
  Attempt attempt;
  self->request(connector, patience, caf::connect_atom::value, address.host, address.port)
      .receive(
          [&](const caf::node_id&, caf::strong_actor_ptr& actor, const std::set<std::string>&) {
            if (actor) attempt.host = caf::actor_cast<caf::actor>(actor);
          },
          [&](const caf::error& error) { attempt.error = error; });
  return attempt;
}

// CAF 0.17 takes a connection that it makes for one that has been silent for ever: where its clock ticks
// before the first answer, it closes it. The other side, which may have taken it for made, must have
// forgotten it before the next one.
Attempt connect_in_time(caf::actor_system& system, const NodeAddress& address, bool encrypted) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (true) {
    Attempt attempt = try_to_connect(system, address, encrypted);
    if (attempt.error != caf::sec::connection_timeout || std::chrono::steady_clock::now() > deadline)
      return attempt;
    std::this_thread::sleep_for(until_forgotten);
  }
}

// Nothing where the node did not answer in time.
std::optional<NodeGreeting> greeting_of(caf::actor_system& system, const caf::actor& host) {
  caf::scoped_actor self(system);
  std::optional<NodeGreeting> greeting;
  self->request(host, patience, greet_atom::value)
      .receive([&](const NodeGreeting& said) { greeting = said; }, [](const caf::error&) {});
  return greeting;
}

}  // namespace

NodeAddress parse_node_address(const std::string& text, const std::string& where) {
  const size_t colon = text.rfind(':');
  NodeAddress address;
  int port = 0;
  const char *begin = text.data() + (colon == std::string::npos ? text.size() : colon + 1),
             *end = text.data() + text.size();
  const auto parsed = std::from_chars(begin, end, port);
  if (colon == std::string::npos || colon == 0 || parsed.ec != std::errc() || parsed.ptr != end || port < 1 ||
      port > 65535)
    throw UserError("{}: '{}' is no address; HOST:PORT is needed, such as 127.0.0.1:5001", where, text);
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  address.port = static_cast<uint16_t>(port);
  address.host = numeric(*resolve(host, address.port, where));
  return address;
}

std::string to_string(const NodeAddress& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", address.host, address.port)
            : fmt::format("{}:{}", address.host, address.port);
}

bool is_loopback(const NodeAddress& address) {
  return address.host.rfind("127.", 0) == 0 || address.host == "::1";
}

void add_cluster_support(caf::actor_system_config& config, const ClusterSection& cluster) {
  config.load<caf::io::middleman>();
  // A machine that disappears without closing its connections is noticed by its silence.
  config.set("middleman.heartbeat-interval", caf::timespan(heartbeat));
  config.set("middleman.connection-timeout", caf::timespan(longest_silence));
  if (!has_tls(cluster)) {
    if (!cluster.tls.key.empty() || !cluster.tls.ca.empty())
      throw UserError("cluster.tls: certificate is missing; certificate, key and ca are needed together");
    return;
  }
  check_certificates(cluster.tls);
  keep_tls_connections_apart();
  config.load<caf::openssl::manager>();
  config.openssl_certificate = cluster.tls.certificate;
  config.openssl_key = cluster.tls.key;
  config.openssl_cafile = cluster.tls.ca;
}

uint16_t publish(caf::actor_system& system, const caf::actor& actor, const NodeAddress& address,
                 const ClusterSection& cluster, const std::string& what) {
  if (!is_loopback(address) && !has_tls(cluster))
    throw UserError(
        "{} {}: anybody who reaches this address could use this process; give certificates (cluster.tls, or "
        "--certificate, --key and --ca), or listen at 127.0.0.1",
        what, to_string(address));
  constexpr bool reuse = true;  // also where connections of an earlier process are not quite over
  const char* const host = address.host.c_str();
  const auto port = has_tls(cluster) ? caf::openssl::publish(actor, address.port, host, reuse)
                                     : system.middleman().publish(actor, address.port, host, reuse);
  if (!port)
    throw UserError("{} {}: cannot be listened at: {}", what, to_string(address),
                    system.render(port.error()));
  return *port;
}

caf::actor connect(caf::actor_system& system, const NodeAddress& address, const ClusterSection& cluster,
                   const std::string& what) {
  const std::string where = what + " " + to_string(address);
  const Attempt attempt = connect_in_time(system, address, has_tls(cluster));
  if (attempt.host) return attempt.host;
  if (const std::string why = why_unreachable(address); !why.empty())
    throw UserError(
        "{}: cannot be reached: {}{}", where, why,
        what == "node" ? "; start it with 'collie-engine node --listen " + to_string(address) + "'" : "");
  throw UserError(
      "{}: what listens there is no collie-engine node that this process may talk to ({}). Both must use "
      "certificates of the same authority (cluster.tls), or neither",
      where, attempt.error ? system.render(attempt.error) : "no answer");
}

bool tensors_are_messages(const ClusterSection& cluster) {
  return has_tls(cluster) && !cluster.trusted_network;
}

std::string tensor_transport(const ClusterSection& cluster) {
  return tensors_are_messages(cluster) ? "encrypted, over the connections that carry all messages"
                                       : "over Gloo, not encrypted";
}

void check_data_plane(const NodeAddress& address, const ClusterSection& cluster) {
  if (is_loopback(address) || cluster.trusted_network || has_tls(cluster)) return;
  throw UserError(
      "node {}: tensors between nodes would not be encrypted; give certificates (cluster.tls), or, where the "
      "network can be trusted, say so with cluster.trusted_network: true",
      to_string(address));
}

std::string own_address_towards(const NodeAddress& address) {
  const AddressList found = resolve(address.host, address.port, "the master's address");
  const int socket = ::socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);  // sends nothing
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  const bool known = socket >= 0 && ::connect(socket, found->ai_addr, found->ai_addrlen) == 0 &&
                     ::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &size) == 0;
  if (socket >= 0) ::close(socket);
  if (!known) throw UserError("{}: there is no way to it: {}", to_string(address), std::strerror(errno));
  addrinfo info{};
  info.ai_addr = reinterpret_cast<sockaddr*>(&own);
  info.ai_addrlen = size;
  return numeric(info);
}

// With TLS, CAF 0.17 may lose a connection that is made in the very moment in which another one ends: it
// knows them by their descriptors. Both sides then end it for its silence.
caf::actor connect_node(caf::actor_system& system, const NodeAddress& address,
                        const ClusterSection& cluster) {
  constexpr int most_attempts = 3;
  for (int attempt = 1; attempt <= most_attempts; ++attempt) {
    const caf::actor host = connect(system, address, cluster, "node");
    if (const auto greeting = greeting_of(system, host)) {
      if (greeting->version == engine_version()) return host;
      throw UserError("node {}: is collie-engine {}, this is {}; both must be the same", to_string(address),
                      greeting->version, engine_version());
    }
    log::warn("node {}: took the connection and does not answer", to_string(address));
    std::this_thread::sleep_for(until_forgotten);
  }
  throw UserError("node {}: does not answer", to_string(address));
}

caf::actor listen_as_node(caf::actor_system& system, const NodeAddress& address,
                          const ClusterSection& cluster) {
  const caf::actor host = spawn_node_host(system, address.host);
  publish(system, host, address, cluster, "--listen");
  return host;
}

void check_nodes(int ranks, size_t count) {
  const auto nodes = static_cast<int>(std::max<size_t>(count, 1));
  if (ranks % nodes == 0) return;
  throw UserError(
      "parallel: {} ranks (dp_size x tp_size x pp_size x cp_size) cannot be shared out evenly among {} "
      "nodes; "
      "{} or {} ranks could",
      ranks, nodes, std::max(1, ranks / nodes) * nodes, (ranks / nodes + 1) * nodes);
}

std::vector<RemoteNode> connect_nodes(caf::actor_system& system, const ClusterSection& cluster, int ranks) {
  std::vector<RemoteNode> nodes;
  if (cluster.nodes.empty()) return nodes;
  check_nodes(ranks, cluster.nodes.size());
  for (const std::string& text : cluster.nodes) {
    const NodeAddress address = parse_node_address(text, "cluster.nodes");
    check_data_plane(address, cluster);
    nodes.push_back({to_string(address), connect_node(system, address, cluster), to_string(address)});
  }
  return nodes;
}

}  // namespace collie
