// The certificates that authenticate the processes of a cluster to each other.
#pragma once

#include "io/config.hpp"

namespace collie {

// Checks this process's own files for every error that would make a handshake with another process fail,
// because CAF only reports that a connection ended. Throws UserError naming the key and the file. A file may
// be missing, unreadable or no PEM. The private key may need a passphrase, belong to another certificate, or
// be readable by others than its owner. The certificate may be outside its time, not be the authority's, or
// not be allowed on both sides of a connection.
void check_certificates(const TlsSection& tls);

}  // namespace collie
