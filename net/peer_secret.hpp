// The secret by which the processes of a cluster without certificates know each other.
#pragma once

#include <string>

#include "io/config.hpp"
#include "net/peer_handshake.hpp"

namespace collie {

// From cluster.secret_file, else from COLLIE_ENGINE_SECRET, else from a file of the user's own, which is made
// when it is first needed: $XDG_STATE_HOME/collie-engine/secret, or .local/state/collie-engine/secret in the
// home folder. White space around it does not count. Throws UserError: the file cannot be read, is empty, is
// no regular file or larger than 4 KiB, or others can read it; or the user has no folder for one.
PeerKey cluster_secret(const ClusterSection& cluster);

// Throws UserError where others than the owner may read or write `file`, which `what` names.
void check_private(const std::string& file, const std::string& what);

}  // namespace collie
