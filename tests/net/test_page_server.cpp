// The server of one page, against clients that do what they should and clients that do not.
#include "net/page_server.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <thread>

#include "base/descriptor.hpp"
#include "base/error.hpp"
#include "net/listening.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"

namespace collie::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// A port of the loopback that was free a moment ago.
uint16_t port_that_is_free() {
  const AddressList any = resolve("127.0.0.1", 0, "test");
  const Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(socket.get(), any->ai_addr, any->ai_addrlen) == 0);
  sockaddr_in own{};
  socklen_t size = sizeof own;
  REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0);
  return ntohs(own.sin_port);
}

struct Served {
  explicit Served(PageServerLimits limits = {}, std::function<std::string()> make = nullptr)
      : address{"127.0.0.1", port_that_is_free()},
        server(address, "F: page", {"/metrics", "text/x", make ? make : [this] { return body; }}, limits) {}
  std::string body = "the page\n";
  NodeAddress address;
  PageServer server;
};

Descriptor connected(const NodeAddress& address) {
  const AddressList found = resolve(address.host, address.port, "test");
  Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(socket.get(), found->ai_addr, found->ai_addrlen) == 0);
  return socket;
}

bool send_text(const Descriptor& socket, const std::string& text) {
  size_t sent = 0;
  while (sent < text.size()) {
    const ssize_t count = ::send(socket.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) return false;
    sent += static_cast<size_t>(count);
  }
  return true;
}

// All that comes until the server closes.
std::string answer_on(const Descriptor& socket) {
  std::string text;
  char bytes[4096];
  for (ssize_t count = 0; (count = ::recv(socket.get(), bytes, sizeof bytes, 0)) > 0;)
    text.append(bytes, static_cast<size_t>(count));
  return text;
}

std::string answer_to_request(const NodeAddress& address, const std::string& request) {
  const Descriptor socket = connected(address);
  send_text(socket, request);
  return answer_on(socket);
}

}  // namespace

TEST_CASE("page server: the page is served to GET and HEAD, and nothing else is", "[net]") {
  Served served;
  const auto answer = [&](const std::string& request) { return answer_to_request(served.address, request); };
  const std::string page = answer("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK_THAT(page, contains("HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nContent-Length: 9\r\n") &&
                       contains("Connection: close\r\n\r\nthe page\n"));
  CHECK_THAT(answer("GET /metrics?x=1 HTTP/1.0\r\n\r\n"), contains(" 200 ") && contains("the page"));
  CHECK_THAT(answer("GET /metrics HTTP/1.1\n\n"), contains(" 200 "));
  const std::string head = answer("HEAD /metrics HTTP/1.1\r\n\r\n");
  CHECK_THAT(head, contains(" 200 ") && contains("Content-Length: 9\r\n"));
  CHECK(head.ends_with("\r\n\r\n"));
  for (const char* path : {"/", "/metric", "/metrics/", "/../etc/passwd", "/metrics%00"})
    CHECK_THAT(answer(std::string("GET ") + path + " HTTP/1.1\r\n\r\n"), contains(" 404 "));
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "get"}) {
    const std::string refused =
        answer(std::string(method) + " /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    CHECK_THAT(refused, contains(" 405 ") && contains("Allow: GET, HEAD\r\n"));
  }
  for (const char* wrong : {"\r\n\r\n", "GET /metrics\r\n\r\n", "GET metrics HTTP/1.1\r\n\r\n",
                            "GET /metrics HTTP/2\r\n\r\n", "\x16\x03\x01\r\n\r\n"})
    CHECK_THAT(answer(wrong), contains(" 400 "));
}

TEST_CASE("page server: a page that cannot be made is an answer, and a new one is made each time", "[net]") {
  int made = 0;
  Served served({}, [&]() -> std::string {
    if (++made == 2) throw std::runtime_error("not now");
    return std::to_string(made);
  });
  const std::string request = "GET /metrics HTTP/1.1\r\n\r\n";
  CHECK(answer_to_request(served.address, request).ends_with("\r\n1"));
  CHECK_THAT(answer_to_request(served.address, request), contains(" 500 ") && contains("not now"));
  CHECK(answer_to_request(served.address, request).ends_with("\r\n3"));
}

TEST_CASE("page server: requests without an end are cut off, large pages arrive whole", "[net]") {
  Served served;
  served.body.assign(20'000'000, 'x');
  CHECK_THAT(answer_to_request(served.address, "GET /metrics HTTP/1.1\r\nX: " + std::string(9'000, 'y')),
             contains(" 431 "));
  const std::string page = answer_to_request(served.address, "GET /metrics HTTP/1.1\r\n\r\n");
  CHECK(page.size() > served.body.size());
  CHECK(page.ends_with(served.body));
  // Whoever sends without an end is left.
  const Descriptor socket = connected(served.address);
  bool sends = true;
  for (int i = 0; i < 10'000 && sends; ++i) sends = send_text(socket, std::string(4'096, 'z'));
  CHECK_FALSE(sends);
}

TEST_CASE("page server: slow clients lose their places, however they are slow", "[net]") {
  PageServerLimits limits;
  limits.most_connections = 3;
  limits.patience = 1s;
  Served served(limits);
  served.body.assign(1'000'000, 'x');
  const auto begin = Clock::now();
  const Descriptor silent = connected(served.address), dripping = connected(served.address),
                   never_reads = connected(served.address);
  send_text(never_reads, "GET /metrics HTTP/1.1\r\n\r\n");
  std::jthread drips([&](const std::stop_token& stop) {
    while (!stop.stop_requested() && send_text(dripping, "G")) std::this_thread::sleep_for(20ms);
  });
  // All places are taken, so this one waits for them.
  const std::string page = answer_to_request(served.address, "GET /metrics HTTP/1.1\r\n\r\n");
  const auto waited = Clock::now() - begin;
  CHECK(page.ends_with(served.body));
  CHECK(waited >= 900ms);
  CHECK(waited < 10s);
  CHECK(answer_on(silent).empty());
}

TEST_CASE("page server: it ends at once, whoever is connected", "[net]") {
  auto served = std::make_unique<Served>();
  const Descriptor silent = connected(served->address);
  const auto begin = Clock::now();
  served.reset();
  CHECK(Clock::now() - begin < 2s);
  CHECK(answer_on(silent).empty());
}

TEST_CASE("page server: a port in use is refused with the next one that is free", "[net]") {
  const Served first;
  std::string message;
  try {
    PageServer(first.address, "F:3: monitor.prometheus", {"/", "", [] { return ""; }});
  } catch (const UserError& error) {
    message = error.what();
  }
  const std::string port = std::to_string(first.address.port);
  CHECK_THAT(message, contains("F:3: monitor.prometheus 127.0.0.1:" + port +
                               ": cannot be listened at: port " + port + " is in use by process "));
  const size_t at = message.find("choose another one (");
  REQUIRE(at != std::string::npos);
  const int free = std::stoi(message.substr(at + std::string("choose another one (").size()));
  CHECK(free > first.address.port);
  CHECK_NOTHROW(listen_at({"127.0.0.1", static_cast<uint16_t>(free)}, "the next", 1));
}

}  // namespace collie::test
