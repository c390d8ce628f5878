// Processes that hold ranks for a trainer in another process, over CAF's network; see docs/cluster.md.
#pragma once

#include <caf/actor.hpp>
#include <caf/fwd.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "actors/spawn.hpp"
#include "io/config.hpp"

namespace collie {

struct NodeAddress {
  std::string host;  // a number, such as 127.0.0.1
  uint16_t port = 0;
};

// "127.0.0.1:5001", "localhost:5001", "[::1]:5001". `where` names the option or key in messages. Throws
// UserError, for a name that does not resolve, too.
NodeAddress parse_node_address(const std::string& text, const std::string& where);
std::string to_string(const NodeAddress& address);
bool is_loopback(const NodeAddress& address);

// Before the actor system exists: the network, encrypted where cluster.tls says so. Throws UserError where
// cluster.tls is incomplete or names files that cannot be read.
void add_cluster_support(caf::actor_system_config& config, const ClusterSection& cluster);

// Makes this process a node that other processes find at `address`. Throws UserError: the address is neither
// loopback nor protected by certificates, or cannot be listened at.
caf::actor listen_as_node(caf::actor_system& system, const NodeAddress& address,
                          const ClusterSection& cluster);

// Connects to cluster.nodes. Throws UserError naming the node: it cannot be reached, does not answer, is of
// another version, or refuses the certificate; or the ranks cannot be shared out evenly, or tensors would
// travel unencrypted over a network that is not said to be trusted.
std::vector<RemoteNode> connect_nodes(caf::actor_system& system, const ClusterSection& cluster, int ranks);

}  // namespace collie
