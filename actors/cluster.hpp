// Processes that hold ranks for a trainer in another process, over CAF's network; see docs/cluster.md.
// Connections are made by net/gate.hpp and net/dial.hpp: CAF gets sockets whose other side has proved
// itself.
#pragma once

#include <caf/actor.hpp>
#include <caf/fwd.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "actors/spawn.hpp"
#include "base/error.hpp"
#include "io/config.hpp"
#include "net/address.hpp"
#include "net/gate.hpp"

namespace collie {

// Before the actor system exists: the network. Throws UserError where cluster.tls is incomplete or names
// files that cannot be used, or there are no certificates and no secret.
void add_cluster_support(caf::actor_system_config& config, const ClusterSection& cluster);

// Makes this process a node that other processes find at `address`, one trainer at a time. Throws UserError:
// the address is neither loopback nor protected by certificates, or cannot be listened at.
caf::actor listen_as_node(caf::actor_system& system, const NodeAddress& address,
                          const ClusterSection& cluster);

// The pieces of which connections are made; `what` names the other side, or the address, in messages.
//
// Makes `actor` reachable at `address` until it ends, for whom `policy` admits; a port of 0 is any free one.
// Returns the port.
Gate::Admission welcome(const PeerRequest& request, int socket);
Gate::Admission refuse(const std::string& why);
uint16_t publish(caf::actor_system& system, const caf::actor& actor, const NodeAddress& address,
                 const ClusterSection& cluster, const std::string& what, Gate::Policy policy = {welcome});
// The actor that is published there. Messages to actors of its process take the direct way from then on.
// `kind` and `run` say what this process wants of the other. UserError: see dial().
caf::actor connect(caf::actor_system& system, const NodeAddress& address, const ClusterSection& cluster,
                   const std::string& what, PeerKind kind, const std::string& run);

// Whether tensors between processes travel as messages (runtime/message_link.hpp), encrypted, and not over
// Gloo: where there are certificates and the network is not said to be trusted.
bool tensors_are_messages(const ClusterSection& cluster);
std::string tensor_transport(const ClusterSection& cluster);  // the same, for people
// Refuses tensors that would travel unencrypted over a network that is not said to be trusted.
void check_data_plane(const NodeAddress& address, const ClusterSection& cluster);

// Throws UserError where the ranks cannot be shared out evenly among so many nodes.
void check_nodes(int ranks, size_t count);

// Connects to cluster.nodes for the run of that name. Throws UserError naming the node: it cannot be reached,
// does not answer, is of another version, holds another run, has another secret or authority; or the ranks
// cannot be shared out evenly, addresses are of two families where tensors need one, or tensors would travel
// unencrypted over a network that is not said to be trusted.
std::vector<RemoteNode> connect_nodes(caf::actor_system& system, const ClusterSection& cluster, int ranks,
                                      const std::string& run);

}  // namespace collie
