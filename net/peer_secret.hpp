// The secret that authenticates the processes of a cluster without certificates.
#pragma once

#include <string>

#include "io/config.hpp"
#include "net/peer_handshake.hpp"

namespace collie {

// Reads the secret from cluster.secret_file, else from COLLIE_ENGINE_SECRET, else from a file of the user's
// own: $XDG_STATE_HOME/collie-engine/secret, or .local/state/collie-engine/secret in the home folder. The
// user's file is made when it is first needed. White space around the secret does not count. Throws UserError
// if the file cannot be read, is empty, is no regular file, is larger than 4 KiB, or can be read by others,
// or if the user has no folder for it.
PeerKey cluster_secret(const ClusterSection& cluster);

// Throws UserError if others than the owner may read or write `file`. `what` names the file in the message.
void check_private(const std::string& file, const std::string& what);

}  // namespace collie
