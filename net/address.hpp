// The address at which another process of a cluster is reached.
#pragma once

#include <netdb.h>

#include <cstdint>
#include <memory>
#include <string>

namespace collie {

struct NodeAddress {
  std::string host;  // a number, such as 127.0.0.1
  uint16_t port = 0;
  std::string name{};  // the host's name if it was given by name; a certificate may be for it
};

// Parses "127.0.0.1:5001", "localhost:5001" or "[::1]:5001". `where` names the option or key in messages.
// Throws UserError, also if a name does not resolve.
NodeAddress parse_node_address(const std::string& text, const std::string& where);
std::string to_string(const NodeAddress& address);  // with the number: "[::1]:5001"
bool is_loopback(const NodeAddress& address);
bool is_v6(const NodeAddress& address);

// The text form for other processes, which may resolve names differently: "NAME@NUMBER:PORT", or
// "NUMBER:PORT" without a name.
std::string endpoint_of(const NodeAddress& address);
NodeAddress parse_endpoint(const std::string& endpoint);

// Returns the socket address of `host` and `port`. Throws UserError.
using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;
AddressList resolve(const std::string& host, uint16_t port, const std::string& where);

// Returns the numeric address of the interface over which `address` is reached.
std::string own_address_towards(const NodeAddress& address);

}  // namespace collie
