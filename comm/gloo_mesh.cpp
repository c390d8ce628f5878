#include "comm/gloo_mesh.hpp"

#include <arpa/inet.h>
#include <gloo/transport/tcp/device.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/error.hpp"

namespace collie::comm {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

milliseconds until(Clock::time_point deadline) {
  return std::max(milliseconds(0), std::chrono::duration_cast<milliseconds>(deadline - Clock::now()));
}

void ignore_broken_pipes() {
  struct sigaction chosen {};
  if (sigaction(SIGPIPE, nullptr, &chosen) == 0 && chosen.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
}

// Gloo's behaviour with names that cannot be resolved is undefined.
void check_address(const std::string& address) {
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  const bool is_v4 = inet_pton(AF_INET, address.c_str(), &v4.sin_addr) == 1;
  if (!is_v4 && inet_pton(AF_INET6, address.c_str(), &v6.sin6_addr) != 1)
    throw UserError("address '{}' is not a number such as 10.0.0.3", address);
  if (is_v4 ? v4.sin_addr.s_addr == INADDR_ANY : IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr))
    throw UserError("address {} is that of no interface; give the one that other ranks reach", address);
  v4.sin_family = AF_INET;
  v6.sin6_family = AF_INET6;
  const int probe = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM, 0);
  const int bound = is_v4 ? bind(probe, reinterpret_cast<const sockaddr*>(&v4), sizeof(v4))
                          : bind(probe, reinterpret_cast<const sockaddr*>(&v6), sizeof(v6));
  const int error = bound == 0 ? 0 : errno;
  close(probe);
  if (error != 0)
    throw UserError("address {} cannot be listened at on this host: {}", address, std::strerror(error));
}

// The store in the form that Gloo wants, with one deadline for all calls.
class GlooStore : public gloo::rendezvous::Store {
 public:
  GlooStore(KeyStore& store, Clock::time_point deadline) : store_(store), deadline_(deadline) {}

  void set(const std::string& key, const std::vector<char>& value) override { store_.set(key, value); }
  std::vector<char> get(const std::string& key) override {
    if (auto value = store_.get(key, until(deadline_))) return *std::move(value);
    throw RunError("rank {} did not come to connect in time", key);
  }
  void wait(const std::vector<std::string>& keys) override {
    for (const std::string& key : keys) get(key);
  }
  void wait(const std::vector<std::string>& keys, const milliseconds&) override { wait(keys); }

 private:
  KeyStore& store_;
  Clock::time_point deadline_;
};

// Exchanges what Gloo's own rendezvous does not: the address for messages, and a check that the ends fit each
// other.
std::vector<std::string> introduce(const GlooOptions& options, KeyStore& store, Clock::time_point deadline) {
  std::vector<std::string> addresses;
  const std::string self = fmt::format("1 {} {}", options.most_bytes, options.address);
  store.set(fmt::format("end {}", options.rank), {self.begin(), self.end()});
  for (int peer = 0; peer < options.size; ++peer) {
    const auto value = store.get(fmt::format("end {}", peer), until(deadline));
    if (!value)
      throw RunError("rank {} did not come to connect within {} s", peer,
                     static_cast<double>(options.connect_timeout.count()) / 1000);
    const std::string text(value->begin(), value->end());
    const std::string ours = fmt::format("1 {} ", options.most_bytes);
    if (text.compare(0, ours.size(), ours) != 0)
      throw RunError("rank {} speaks another version or has another size of messages: '{}', not '{}'", peer,
                     text, self);
    addresses.push_back(text.substr(ours.size()));
  }
  return addresses;
}

GlooMesh connect(const GlooOptions& options, KeyStore& store, Clock::time_point deadline,
                 std::vector<std::string> addresses) {
  gloo::transport::tcp::attr attributes(options.address.c_str());
  auto device = gloo::transport::tcp::CreateDevice(attributes);
  auto context = std::make_shared<gloo::rendezvous::Context>(options.rank, options.size);
  // Gloo waits five times this long for each connection.
  context->setTimeout(std::max(milliseconds(1), options.connect_timeout / 5));
  GlooStore gloo_store(store, deadline);
  context->connectFullMesh(gloo_store, device);
  return {std::move(context), std::dynamic_pointer_cast<gloo::transport::tcp::Device>(device),
          std::move(addresses)};
}

}  // namespace

// Removes the place in Gloo's sources from "[/usr/src/pair.cc:12] Connection closed by peer
// [127.0.0.1]:4711".
std::string reason_of_gloo(const std::exception& error) {
  const std::string_view text = error.what();
  const size_t end = text.find("] ");
  return std::string(text.substr(0, 1) == "[" && end != text.npos ? text.substr(end + 2) : text);
}

GlooMesh connect_gloo_mesh(const GlooOptions& options, KeyStore& store) {
  check_address(options.address);
  ignore_broken_pipes();
  const Clock::time_point deadline = Clock::now() + options.connect_timeout;
  try {
    std::vector<std::string> addresses = introduce(options, store, deadline);
    return connect(options, store, deadline, std::move(addresses));
  } catch (const RunError&) {
    throw;
  } catch (const std::exception& error) {
    throw RunError("rank {} at {} could not connect with the others: {}", options.rank, options.address,
                   reason_of_gloo(error));
  }
}

}  // namespace collie::comm
