#include "actors/cluster.hpp"

#include <algorithm>
#include <memory>
#include <numeric>

#include <caf/io/all.hpp>

#include "actors/caf_types.hpp"
#include "actors/peer_network.hpp"
#include "net/dial.hpp"
#include "net/occupation.hpp"

namespace collie {
namespace {

// The time for CAF's own handshake, once both sides have proved themselves.
constexpr auto dial_patience = std::chrono::seconds(5);
// CAF's network thread sends the heartbeat. It computes nothing, so a process that computes on all cores
// still answers.
constexpr auto heartbeat = std::chrono::seconds(1), longest_silence = std::chrono::seconds(3);

bool has_tls(const ClusterSection& cluster) {
  return !cluster.tls.certificate.empty();
}

// Admits a trainer while no other trainer has the node, and the nodes of that trainer's run.
Gate::Admission admit_to_node(Occupation& occupation, const PeerRequest& request, int socket) {
  if (request.kind == PeerKind::node) return welcome(request, socket);
  if (request.kind != PeerKind::trainer)
    return refuse("is a node that waits for runs; the address of the job's process 0 is needed");
  auto claim = occupation.claim(request, socket);
  return {std::move(claim.verdict), std::move(claim.hold)};
}

std::vector<NodeAddress> addresses_of(const ClusterSection& cluster) {
  std::vector<NodeAddress> all;
  for (const std::string& text : cluster.nodes) {
    all.push_back(parse_node_address(text, "cluster.nodes"));
    check_data_plane(all.back(), cluster);
    const NodeAddress &first = all.front(), &last = all.back();
    if (is_v6(first) != is_v6(last) && !tensors_are_messages(cluster))
      throw UserError(
          "cluster.nodes: {} and {} are addresses of two families; tensors travel over Gloo, which needs "
          "one: give IPv4 addresses for all nodes, or IPv6 addresses",
          to_string(first), to_string(last));
  }
  return all;
}

}  // namespace

void add_cluster_support(caf::actor_system_config& config, const ClusterSection& cluster) {
  const PeerCredentials checked(cluster);
  config.load<caf::io::middleman>();
  // A machine that disappears without closing its connections is detected by its silence.
  config.set("middleman.heartbeat-interval", caf::timespan(heartbeat));
  config.set("middleman.connection-timeout", caf::timespan(longest_silence));
}

Gate::Admission welcome(const PeerRequest&, int) {
  return {{PeerAnswer::welcome, ""}, nullptr};
}

Gate::Admission refuse(const std::string& why) {
  return {{PeerAnswer::refused, why}, nullptr};
}

uint16_t publish(caf::actor_system& system, const caf::actor& actor, const NodeAddress& address,
                 const ClusterSection& cluster, const std::string& what, Gate::Policy policy) {
  if (!is_loopback(address) && !has_tls(cluster))
    throw UserError(
        "{} {}: what is said here would be neither encrypted nor safe from change; give certificates "
        "(cluster.tls, or --certificate, --key and --ca), or listen at 127.0.0.1",
        what, to_string(address));
  // The gate passes no peer on before it has its own port.
  auto port = std::make_shared<std::atomic<uint16_t>>(0);
  auto gate = std::make_shared<Gate>(
      address, cluster, what, std::move(policy),
      [&system, actor, port](std::unique_ptr<PeerChannel> channel, std::shared_ptr<void> hold) {
        port->wait(0);
        enter_listening(system, std::move(channel), std::move(hold), actor, *port);
      });
  *port = gate->port();
  port->notify_all();
  actor->attach_functor([gate] { gate->close(); });
  return *port;
}

caf::actor connect(caf::actor_system& system, const NodeAddress& address, const ClusterSection& cluster,
                   const std::string& what, PeerKind kind, const std::string& run) {
  const PeerCredentials credentials(cluster);
  PeerRequest request = own_request(kind, run);
  // A host may have several actor systems, and CAF treats each as a process.
  const size_t number = std::hash<caf::node_id>()(system.node());
  for (size_t byte = 0; byte < sizeof number; ++byte)
    request.identity[byte] ^= static_cast<uint8_t>(number >> (8 * byte));
  std::string why = "no answer";
  const caf::actor found =
      enter_connecting(system, dial(address, credentials, request, what), address.port, dial_patience, why);
  if (!found) throw UserError("{} {}: took the connection, and then: {}", what, to_string(address), why);
  return found;
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

caf::actor listen_as_node(caf::actor_system& system, const NodeAddress& address,
                          const ClusterSection& cluster) {
  const auto occupation = std::make_shared<Occupation>();
  const caf::actor host = spawn_node_host(system, {address.host, cluster, occupation});
  Gate::Policy policy;
  policy.admit = [occupation](const PeerRequest& request, int socket) {
    return admit_to_node(*occupation, request, socket);
  };
  policy.quiet = [occupation] { return occupation->is_settled(); };
  publish(system, host, address, cluster, "--listen", std::move(policy));
  return host;
}

void check_nodes(int ranks, size_t count) {
  const auto nodes = static_cast<int>(std::max<size_t>(count, 1));
  if (ranks % nodes == 0) return;
  throw UserError(
      "parallel: {} ranks (dp_size x tp_size x pp_size x cp_size) cannot be shared out evenly among {} "
      "nodes; {} or {} ranks could",
      ranks, nodes, std::max(1, ranks / nodes) * nodes, (ranks / nodes + 1) * nodes);
}

std::vector<RemoteNode> connect_nodes(caf::actor_system& system, const ClusterSection& cluster, int ranks,
                                      const std::string& run) {
  std::vector<RemoteNode> nodes(cluster.nodes.size());
  if (nodes.empty()) return nodes;
  check_nodes(ranks, nodes.size());
  const std::vector<NodeAddress> addresses = addresses_of(cluster);
  // The order does not depend on the list's. So if two trainers want the same nodes, the one that gets the
  // first of them gets all. The trainer that is refused takes none of the others.
  std::vector<size_t> order(nodes.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return to_string(addresses[a]) < to_string(addresses[b]); });
  for (const size_t i : order) {
    const caf::actor host = connect(system, addresses[i], cluster, "node", PeerKind::trainer, run);
    nodes[i] = {to_string(addresses[i]), host, endpoint_of(addresses[i])};
  }
  return nodes;
}

}  // namespace collie
