// Support for processes that hold ranks for a trainer in another process, over CAF's network; see
// docs/cluster.md. net/gate.hpp and net/dial.hpp make the connections, so CAF gets only sockets whose other
// side has proved itself.
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

// Adds the network; call it before the actor system exists. Throws UserError if cluster.tls is incomplete or
// names unusable files, or if there are neither certificates nor a secret.
void add_cluster_support(caf::actor_system_config& config, const ClusterSection& cluster);

// Makes this process a node that other processes find at `address`. It serves one trainer at a time. Throws
// UserError if the address is neither loopback nor protected by certificates, or if the process cannot listen
// at it.
caf::actor listen_as_node(caf::actor_system& system, const NodeAddress& address,
                          const ClusterSection& cluster);

// The functions that make connections. In messages `what` names the other side, or the address.
//
// publish() makes `actor` reachable at `address` until it ends, for peers that `policy` admits. Port 0 means
// any free port. Returns the port.
Gate::Admission welcome(const PeerRequest& request, int socket);
Gate::Admission refuse(const std::string& why);
uint16_t publish(caf::actor_system& system, const caf::actor& actor, const NodeAddress& address,
                 const ClusterSection& cluster, const std::string& what, Gate::Policy policy = {welcome});
// Returns the actor that is published there. From then on messages to actors of its process take the direct
// connection. `kind` and `run` say what this process wants of the other. Throws UserError as dial() does.
caf::actor connect(caf::actor_system& system, const NodeAddress& address, const ClusterSection& cluster,
                   const std::string& what, PeerKind kind, const std::string& run);

// Whether tensors between processes travel as encrypted messages (runtime/message_link.hpp) and not over
// Gloo. This is so if there are certificates and the configuration does not call the network trusted.
bool tensors_are_messages(const ClusterSection& cluster);
std::string tensor_transport(const ClusterSection& cluster);  // the same, for people
// Throws UserError if tensors would travel unencrypted over a network that the configuration does not call
// trusted.
void check_data_plane(const NodeAddress& address, const ClusterSection& cluster);

// Throws UserError if the ranks cannot be divided evenly among `count` nodes.
void check_nodes(int ranks, size_t count);

// Connects to cluster.nodes for the run of that name. Throws UserError naming the node if it cannot be
// reached, does not answer, has another version, holds another run, or has another secret or authority. Also
// throws UserError if the ranks cannot be divided evenly, if addresses are of two families where tensors need
// one, or if tensors would travel unencrypted over a network that the configuration does not call trusted.
std::vector<RemoteNode> connect_nodes(caf::actor_system& system, const ClusterSection& cluster, int ranks,
                                      const std::string& run);

}  // namespace collie
