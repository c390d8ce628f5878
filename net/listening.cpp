#include "net/listening.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/error.hpp"
#include "net/port_owner.hpp"

namespace collie {

namespace {

// Returns a closed descriptor, with errno, if it cannot listen there.
Descriptor listening_socket(const NodeAddress& address, const std::string& what, int backlog) {
  const AddressList found = resolve(address.host, address.port, what);
  Descriptor socket(::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int yes = 1;
  // SO_REUSEADDR lets it listen while connections of an earlier process are not quite over.
  const bool listens =
      socket.is_open() && ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
      ::bind(socket.get(), found->ai_addr, found->ai_addrlen) == 0 && ::listen(socket.get(), backlog) == 0;
  if (listens) return socket;
  const int error = errno;
  socket.close();
  errno = error;
  return socket;
}

// " (5003 is free)", or "" if none of the next ports is.
std::string next_free_port(NodeAddress address, const std::string& what) {
  constexpr int most_tries = 100;
  for (int tries = 0; tries < most_tries && address.port < 65535; ++tries) {
    ++address.port;
    if (listening_socket(address, what, 1).is_open()) return fmt::format(" ({} is free)", address.port);
  }
  return "";
}

std::string why_not_listening(int error, const NodeAddress& address, const std::string& what) {
  switch (error) {
    case EADDRINUSE:
      return fmt::format("port {} is in use{}; choose another one{}, or end what listens there", address.port,
                         port_owner(address.port), next_free_port(address, what));
    case EADDRNOTAVAIL:
      return fmt::format("this machine has no address {}; an address of its own is needed", address.host);
    case EACCES:
      return fmt::format("port {} needs privileges; choose one above 1023", address.port);
    default:
      return std::strerror(error);
  }
}

}  // namespace

Descriptor listen_at(const NodeAddress& address, const std::string& what, int backlog) {
  Descriptor socket = listening_socket(address, what, backlog);
  if (socket.is_open()) return socket;
  throw UserError("{} {}: cannot be listened at: {}", what, to_string(address),
                  why_not_listening(errno, address, what));
}

}  // namespace collie
