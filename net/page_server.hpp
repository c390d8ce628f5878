// Serves one page over HTTP/1.1 (RFC 9112), for programs that fetch it now and then, such as Prometheus.
//
// It is written for a process that has more important things to do. One thread of the lowest priority serves
// a few connections at a time and keeps none open. A request has a bounded size, and a connection has to be
// over after a bounded time, however slowly its client sends or reads. The libraries that were considered
// (cpp-httplib, libmicrohttpd) bound the time between two bytes only, so that a client that sends a byte now
// and then keeps its place.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "net/address.hpp"

namespace collie {

struct PageServerLimits {
  size_t most_connections = 16;  // more wait in the kernel, up to 16, or are refused there
  size_t most_request_bytes = 8192;
  std::chrono::milliseconds patience{5000};  // of a whole connection
  std::chrono::milliseconds between_connections{2};
};

struct ServedPage {
  std::string path;          // "/metrics"
  std::string content_type;  // of its Content-Type line
  // Makes the page, on the server's thread. What it throws is answered with 500.
  std::function<std::string()> make;
};

class PageServer {
 public:
  // Listens at the address. GET and HEAD of the page's path, with any query, are answered with the page,
  // other paths with 404, other methods with 405, what is no HTTP with 400 and what is too long with 431.
  // `what` names the address in messages. Throws UserError as listen_at() does.
  PageServer(const NodeAddress& address, const std::string& what, ServedPage page,
             PageServerLimits limits = {});
  // Closes all connections.
  ~PageServer();
  PageServer(const PageServer&) = delete;
  PageServer& operator=(const PageServer&) = delete;

 private:
  class Work;
  std::unique_ptr<Work> work_;
  std::thread thread_;
};

}  // namespace collie
