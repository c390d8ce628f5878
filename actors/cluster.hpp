// Processes that hold ranks for a trainer in another process, over CAF's network; see docs/cluster.md.
#pragma once

#include <caf/actor.hpp>
#include <caf/fwd.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "actors/spawn.hpp"
#include "base/error.hpp"
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

// The pieces of which connections are made; `what` names the other side, or the address, in messages.
//
// Makes `actor` reachable at `address`, encrypted where cluster.tls says so; a port of 0 is any free one.
// Returns the port.
uint16_t publish(caf::actor_system& system, const caf::actor& actor, const NodeAddress& address,
                 const ClusterSection& cluster, const std::string& what);
// The actor that is published there.
caf::actor connect(caf::actor_system& system, const NodeAddress& address, const ClusterSection& cluster,
                   const std::string& what);
// Connects this process with the node that listens there, and makes sure that it is one of this version: from
// then on messages to its actors take the direct way. A connection on which nothing is heard is made again.
caf::actor connect_node(caf::actor_system& system, const NodeAddress& address, const ClusterSection& cluster);

// Whether tensors between processes travel as messages (actors/message_link.hpp), encrypted, and not over
// Gloo: where there are certificates and the network is not said to be trusted.
bool tensors_are_messages(const ClusterSection& cluster);
std::string tensor_transport(const ClusterSection& cluster);  // the same, for people
// Refuses tensors that would travel unencrypted over a network that is not said to be trusted.
void check_data_plane(const NodeAddress& address, const ClusterSection& cluster);
// The numeric address of the interface over which `address` is reached.
std::string own_address_towards(const NodeAddress& address);

// Throws UserError where the ranks cannot be shared out evenly among so many nodes.
void check_nodes(int ranks, size_t count);

// Connects to cluster.nodes. Throws UserError naming the node: it cannot be reached, does not answer, is of
// another version, or refuses the certificate; or the ranks cannot be shared out evenly, or tensors would
// travel unencrypted over a network that is not said to be trusted.
std::vector<RemoteNode> connect_nodes(caf::actor_system& system, const ClusterSection& cluster, int ranks);

}  // namespace collie
