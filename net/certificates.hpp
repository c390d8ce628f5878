// The certificates by which the processes of a cluster know each other.
#pragma once

#include "io/config.hpp"

namespace collie {

// Everything that would make a handshake with another process fail, as far as this process's own files tell:
// CAF says no more than that a connection ended. Throws UserError naming the key and the file: one is missing
// or cannot be read, is no PEM, the key needs a passphrase or belongs to another certificate, the certificate
// is outside its time, is not the authority's, or may not be used on both sides of a connection; or others
// than its owner can read the key.
void check_certificates(const TlsSection& tls);

}  // namespace collie
