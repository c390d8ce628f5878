// Where processes of a cluster find each other.
#pragma once

#include <netdb.h>

#include <cstdint>
#include <memory>
#include <string>

namespace collie {

struct NodeAddress {
  std::string host;  // a number, such as 127.0.0.1
  uint16_t port = 0;
  std::string name{};  // the host's name where it was given by name: what a certificate may be for
};

// "127.0.0.1:5001", "localhost:5001", "[::1]:5001". `where` names the option or key in messages. Throws
// UserError, for a name that does not resolve, too.
NodeAddress parse_node_address(const std::string& text, const std::string& where);
std::string to_string(const NodeAddress& address);  // of the number: "[::1]:5001"
bool is_loopback(const NodeAddress& address);
bool is_v6(const NodeAddress& address);

// For other processes, which may resolve names otherwise: "NAME@NUMBER:PORT", or "NUMBER:PORT" without a
// name.
std::string endpoint_of(const NodeAddress& address);
NodeAddress parse_endpoint(const std::string& endpoint);

// The socket's address of `address`. Throws UserError.
using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;
AddressList resolve(const std::string& host, uint16_t port, const std::string& where);

// The numeric address of the interface over which `address` is reached.
std::string own_address_towards(const NodeAddress& address);

}  // namespace collie
