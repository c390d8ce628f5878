#include "actors/rank_link.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "actors/cluster.hpp"
#include "actors/directory.hpp"
#include "actors/link_end.hpp"
#include "base/error.hpp"
#include "comm/gloo_link.hpp"

namespace collie {
namespace {

constexpr auto link_patience = std::chrono::seconds(30);

// Connects this process with the processes of all earlier nodes.
void connect_with_earlier_nodes(caf::actor_system& system, const NodeSpec& spec) {
  for (int node = 0; node < spec.node; ++node) {
    const std::string& endpoint = spec.endpoints[static_cast<size_t>(node)];
    if (endpoint.empty()) continue;
    try {
      connect(system, parse_endpoint(endpoint), spec.cluster, "node", PeerKind::node,
              spec.plan->config.run.name);
    } catch (const UserError& error) {
      throw RunError("{} (asked by the node at {}; all nodes must reach each other)", error.what(),
                     spec.interface);
    }
  }
}

// A message could overtake an earlier one that took another route. So nothing is sent before all processes
// are connected with each other.
void connect_processes(caf::actor_system& system, const NodeSpec& spec, int rank, comm::KeyStore& directory) {
  const auto key = [](int node) { return fmt::format("node {} is connected", node); };
  const auto& node_of_rank = spec.node_of_rank;
  const auto first = std::find(node_of_rank.begin(), node_of_rank.end(), spec.node) - node_of_rank.begin();
  if (rank == first) {
    connect_with_earlier_nodes(system, spec);
    directory.set(key(spec.node), {});
  }
  const auto deadline = std::chrono::steady_clock::now() + link_patience;
  for (int node = 0; node < static_cast<int>(spec.endpoints.size()); ++node) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (!directory.get(key(node), std::max(left, std::chrono::milliseconds(1))))
      throw RunError("node {} did not connect with the others within {} s", node, link_patience.count());
  }
}

}  // namespace

std::shared_ptr<comm::ByteLink> connect_rank(caf::actor_system& system, const NodeSpec& spec, int rank,
                                             const Wiring& wiring) {
  const auto directory = open_directory(system, wiring.directory);
  const int size = static_cast<int>(spec.node_of_rank.size());
  if (wiring.link_ends.empty()) {
    comm::GlooOptions options;
    options.rank = rank;
    options.size = size;
    options.address = spec.interface;
    return comm::connect_gloo(options, *directory);
  }
  connect_processes(system, spec, rank, *directory);
  MessageLinkOptions options;
  options.rank = rank;
  options.size = size;
  for (const int node : spec.node_of_rank) {
    const std::string& endpoint = spec.endpoints[static_cast<size_t>(node)];
    options.addresses.push_back(endpoint.empty() ? "process 0" : endpoint);
  }
  return open_message_link(wiring.link_ends, std::move(options));
}

}  // namespace collie
