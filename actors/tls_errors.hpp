// CAF 0.17 asks OpenSSL what became of an operation (SSL_get_error) without clearing the thread's queue of
// errors before it. What a refused connection left there is then taken for the end of the next healthy one
// that just has nothing to read: anybody who knocks at a TLS port would end runs. This file stands between
// the two.
#pragma once

namespace collie {

// To be called by who loads CAF's OpenSSL module: it makes sure that the linker takes this file. From the
// start of the process SSL_accept, SSL_connect, SSL_read and SSL_write clear the queue first.
void keep_tls_connections_apart();

}  // namespace collie
