#include "net/address.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/error.hpp"

namespace collie {
namespace {

std::string numeric(const addrinfo& address) {
  char text[NI_MAXHOST] = {};
  ::getnameinfo(address.ai_addr, address.ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  return text;
}

}  // namespace

AddressList resolve(const std::string& host, uint16_t port, const std::string& where) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0)
    throw UserError("{}: '{}' cannot be resolved: {}; a host name or an address is needed", where, host,
                    ::gai_strerror(error));
  return {found, &::freeaddrinfo};
}

NodeAddress parse_node_address(const std::string& text, const std::string& where) {
  const size_t colon = text.rfind(':');
  NodeAddress address;
  int port = 0;
  const char *begin = text.data() + (colon == std::string::npos ? text.size() : colon + 1),
             *end = text.data() + text.size();
  const auto parsed = std::from_chars(begin, end, port);
  if (colon == std::string::npos || colon == 0 || parsed.ec != std::errc() || parsed.ptr != end || port < 1 ||
      port > 65535)
    throw UserError("{}: '{}' is no address; HOST:PORT is needed, such as 127.0.0.1:5001", where, text);
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  address.port = static_cast<uint16_t>(port);
  address.host = numeric(*resolve(host, address.port, where));
  if (host != address.host) address.name = host;
  return address;
}

std::string to_string(const NodeAddress& address) {
  return is_v6(address) ? fmt::format("[{}]:{}", address.host, address.port)
                        : fmt::format("{}:{}", address.host, address.port);
}

bool is_loopback(const NodeAddress& address) {
  return address.host.rfind("127.", 0) == 0 || address.host == "::1";
}

bool is_v6(const NodeAddress& address) {
  return address.host.find(':') != std::string::npos;
}

std::string endpoint_of(const NodeAddress& address) {
  return address.name.empty() ? to_string(address) : address.name + "@" + to_string(address);
}

NodeAddress parse_endpoint(const std::string& endpoint) {
  const size_t at = endpoint.find('@');
  NodeAddress address = parse_node_address(at == std::string::npos ? endpoint : endpoint.substr(at + 1),
                                           "the address of a node");
  address.name = at == std::string::npos ? "" : endpoint.substr(0, at);
  return address;
}

std::string own_address_towards(const NodeAddress& address) {
  const AddressList found = resolve(address.host, address.port, "the master's address");
  const int socket = ::socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);  // this socket sends nothing
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  const bool known = socket >= 0 && ::connect(socket, found->ai_addr, found->ai_addrlen) == 0 &&
                     ::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &size) == 0;
  const int error = errno;
  if (socket >= 0) ::close(socket);
  if (!known) throw UserError("{}: there is no way to it: {}", to_string(address), std::strerror(error));
  addrinfo info{};
  info.ai_addr = reinterpret_cast<sockaddr*>(&own);
  info.ai_addrlen = size;
  return numeric(info);
}

}  // namespace collie
