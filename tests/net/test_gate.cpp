// Gates with sockets: who gets in, and what strangers can do.
#include "net/gate.hpp"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <functional>
#include <mutex>
#include <thread>

#include "net/dial.hpp"
#include "net/occupation.hpp"
#include "tests/catch.hpp"
#include "tests/certificates.hpp"
#include "tests/io/temporary_folder.hpp"

using namespace collie;
using namespace collie::test;
using namespace std::chrono_literals;

namespace {

using Bytes = std::vector<uint8_t>;

NodeAddress loopback(uint16_t port) {
  return {"127.0.0.1", port};
}

// Clusters that know each other by a secret or by certificates.
class Clusters {
 public:
  Clusters() : authority_(folder_.path(), "ca"), others_(folder_.path(), "others") {
    std::filesystem::permissions(folder_.write("secret", "one"), std::filesystem::perms::owner_read);
    std::filesystem::permissions(folder_.write("other", "two"), std::filesystem::perms::owner_read);
  }
  ClusterSection plain(const std::string& secret = "secret") const {
    ClusterSection cluster;
    cluster.secret_file = (folder_ / secret).string();
    return cluster;
  }
  ClusterSection tls(const std::string& names = Authority::usual_names) const {
    return of(authority_.issue("own", -1, 1, names), authority_);
  }
  ClusterSection other_tls() const { return of(others_.issue("rogue"), others_); }
  std::vector<ClusterSection> both() const { return {plain(), tls()}; }

 private:
  static ClusterSection of(const CertificateFiles& files, const Authority& authority) {
    ClusterSection cluster;
    cluster.tls = {files.certificate, files.key, authority.file()};
    return cluster;
  }
  TemporaryFolder folder_;
  Authority authority_, others_;
};

// A gate that counts who gets in, and keeps them.
struct Counted {
  explicit Counted(const ClusterSection& cluster, GateLimits limits = {}, Gate::Policy policy = {admit_all})
      : gate(
            loopback(0), cluster, "test", std::move(policy),
            [this](std::unique_ptr<PeerChannel> channel, std::shared_ptr<void> hold) {
              const std::lock_guard lock(mutex);
              inside.emplace_back(std::move(channel), std::move(hold));
              ++entered;
            },
            limits) {}
  static Gate::Admission admit_all(const PeerRequest&, int) { return {{PeerAnswer::welcome, ""}, nullptr}; }

  std::mutex mutex;
  std::vector<std::pair<std::unique_ptr<PeerChannel>, std::shared_ptr<void>>> inside;
  std::atomic<int> entered{0};
  Gate gate;
};

std::unique_ptr<PeerChannel> enter(const Counted& counted, const ClusterSection& cluster,
                                   PeerKind kind = PeerKind::node) {
  return dial(loopback(counted.gate.port()), PeerCredentials(cluster), own_request(kind, "quickstart"),
              "node");
}

std::string said(const std::function<void()>& act) {
  try {
    act();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

void check_says(const std::string& text, const std::vector<std::string>& parts) {
  INFO("said: " << text);
  for (const auto& part : parts) {
    INFO("wanted: " << part);
    CHECK(text.find(part) != std::string::npos);
  }
}

// Who has no key: a socket.
class Stranger {
 public:
  explicit Stranger(uint16_t port) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(port);
    connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  }
  ~Stranger() { ::close(socket_); }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;

  bool connected() const { return connected_; }
  void say(const Bytes& bytes) const {
    ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  // Whether the gate has ended the connection by then.
  bool is_thrown_out(std::chrono::milliseconds patience) const {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < deadline) {
      pollfd poll{socket_, POLLIN, 0};
      if (::poll(&poll, 1, 10) <= 0) continue;
      char bytes[512];
      if (::recv(socket_, bytes, sizeof bytes, MSG_DONTWAIT) <= 0) return true;
    }
    return false;
  }

 private:
  int socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool connected_ = false;
};

Bytes repeated(size_t count, uint8_t byte) {
  return Bytes(count, byte);
}

size_t open_descriptors() {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                                           std::filesystem::directory_iterator()));
}

double process_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

TEST_CASE("who has the secret, or a certificate of the authority, gets in, and is heard") {
  const Clusters clusters;
  for (const ClusterSection& cluster : clusters.both()) {
    Counted counted(cluster);
    const auto mine = enter(counted, cluster);
    REQUIRE(mine);
    for (int i = 0; i < 200 && counted.entered == 0; ++i) std::this_thread::sleep_for(10ms);
    REQUIRE(counted.entered == 1);
    PeerChannel& theirs = *counted.inside[0].first;
    const Bytes words = {1, 2, 3};
    size_t count = 0;
    REQUIRE(mine->write(words, count) == PeerChannel::State::done);
    Bytes heard(3);
    auto state = PeerChannel::State::wait_to_read;
    for (int i = 0; i < 500 && state == PeerChannel::State::wait_to_read; ++i) {
      state = theirs.read(heard, count);
      if (state == PeerChannel::State::wait_to_read) std::this_thread::sleep_for(10ms);
    }
    CHECK(state == PeerChannel::State::done);
    CHECK(heard == words);
  }
}

TEST_CASE("who has another secret, another authority or none is refused at once and told what both need") {
  const Clusters clusters;
  Counted plain(clusters.plain()), tls(clusters.tls());
  const auto began = std::chrono::steady_clock::now();
  check_says(
      said([&] { enter(plain, clusters.plain("other")); }),
      {"node 127.0.0.1:" + std::to_string(plain.gate.port()), "another secret", "cluster.secret_file"});
  check_says(said([&] { enter(plain, clusters.tls()); }), {"certificates of the same authority"});
  check_says(said([&] { enter(tls, clusters.plain()); }), {"certificates of the same authority"});
  check_says(said([&] { enter(tls, clusters.other_tls()); }), {"certificates of the same authority"});
  CHECK(std::chrono::steady_clock::now() - began < 8s);
  CHECK(plain.entered == 0);
  CHECK(tls.entered == 0);
}

TEST_CASE("a certificate must be for the address or the name by which its owner is called") {
  const Clusters clusters;
  const ClusterSection mine = clusters.tls();
  const auto call = [&](const std::string& names, const std::string& name) {
    Counted counted(clusters.tls(names));
    NodeAddress address = loopback(counted.gate.port());
    address.name = name;
    return said([&] { dial(address, PeerCredentials(mine), own_request(PeerKind::node, ""), "node"); });
  };
  CHECK(call("IP:127.0.0.1", "") == "");
  CHECK(call("DNS:node1.cluster", "node1.cluster") == "");
  CHECK(call("IP:127.0.0.1", "node1.cluster") == "");
  CHECK(call("DNS:*.cluster.local", "node1.cluster.local") == "");
  check_says(call("DNS:node2.cluster,IP:10.0.0.2", "node1.cluster"),
             {"its certificate is for node2.cluster, 10.0.0.2", "not for 'node1.cluster'", "subjectAltName"});
  check_says(call("DNS:node1.cluster", ""), {"not for '127.0.0.1'"});
  check_says(call("", ""), {"its certificate is for no name"});
}

TEST_CASE("a node is one trainer's until that one has left, and the second is told whose") {
  const Clusters clusters;
  for (const ClusterSection& cluster : clusters.both()) {
    Occupation occupation;
    Counted counted(cluster, {}, {[&](const PeerRequest& request, int socket) {
                      auto claim = occupation.claim(request, socket);
                      return Gate::Admission{std::move(claim.verdict), std::move(claim.hold)};
                    }});
    PeerRequest first = own_request(PeerKind::trainer, "first"),
                second = own_request(PeerKind::trainer, "second");
    second.identity[0] ^= 1;
    const auto call = [&](const PeerRequest& request) {
      return dial(loopback(counted.gate.port()), PeerCredentials(cluster), request, "node");
    };
    auto channel = call(first);
    CHECK(said([&] { call(first); }) == "");  // itself may come again
    check_says(said([&] { call(second); }),
               {"is busy with the run 'first' of process " + std::to_string(::getpid()), first.host});
    // Its ranks have not ended when it has left: who comes then waits.
    auto ranks = occupation.current();
    channel.reset();
    {
      const std::lock_guard lock(counted.mutex);
      counted.inside.clear();
    }
    std::thread ends([&] {
      std::this_thread::sleep_for(500ms);
      ranks.reset();
    });
    const auto began = std::chrono::steady_clock::now();
    CHECK(said([&] { call(second); }) == "");
    CHECK(std::chrono::steady_clock::now() - began > 400ms);
    ends.join();
  }
}

TEST_CASE("strangers that say nothing, too little or nonsense are thrown out, and others get in meanwhile",
          "[slow]") {
  const Clusters clusters;
  for (const ClusterSection& cluster : clusters.both()) {
    GateLimits limits;
    limits.handshake_timeout = 500ms;
    Counted counted(cluster, limits);
    const uint16_t port = counted.gate.port();
    const Stranger silent(port), half(port), slow(port), caf(port), long_header(port), random(port),
        tls(port);
    half.say({'C', 'O', 'L'});
    caf.say(repeated(8, 0));
    caf.say(repeated(24, 'A'));
    long_header.say(repeated(64, 0xff));
    Bytes noise(3'000);
    for (auto& byte : noise) byte = static_cast<uint8_t>(std::rand());
    random.say(noise);
    tls.say({0x16, 0x03, 0x01, 0xff, 0xff, 0x01, 0x00, 0xff, 0xff, 0x03, 0x03});
    std::atomic<bool> stop = false;
    std::thread drops([&] {
      while (!stop) {
        slow.say({'C'});
        std::this_thread::sleep_for(20ms);
      }
    });
    CHECK(enter(counted, cluster));
    for (const Stranger* each : {&silent, &half, &slow, &caf, &long_header, &random, &tls})
      CHECK(each->is_thrown_out(5s));
    stop = true;
    drops.join();
    CHECK(counted.entered == 1);
  }
}

TEST_CASE("thousands of strangers take a bounded number of descriptors and a bounded share of a processor",
          "[slow]") {
  const Clusters clusters;
  for (const ClusterSection& cluster : clusters.both()) {
    Gate::Policy policy{Counted::admit_all};
    std::atomic<bool> quiet = true;
    policy.quiet = [&] { return quiet.load(); };
    Counted counted(cluster, {}, policy);
    const size_t before = open_descriptors();
    const pid_t attacker = ::fork();
    REQUIRE(attacker >= 0);
    if (attacker == 0) {
      // Only what is safe after a fork of many threads.
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      to.sin_port = htons(counted.gate.port());
      while (true) {
        const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (socket < 0)
          for (int each = 900; each > 100; --each) ::close(each);
        else if (::connect(socket, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0)
          ::send(socket, "\x16\x03\x01 nonsense", 12, MSG_NOSIGNAL);
      }
    }
    const double used = process_seconds();
    const auto began = std::chrono::steady_clock::now();
    size_t most = 0;
    while (std::chrono::steady_clock::now() - began < 3s) {
      most = std::max(most, open_descriptors());
      std::this_thread::sleep_for(50ms);
    }
    const double share = (process_seconds() - used) / 3;
    quiet = false;
    CHECK(said([&] { enter(counted, cluster); }) == "");
    ::kill(attacker, SIGKILL);
    ::waitpid(attacker, nullptr, 0);
    CHECK(most <= before + 128 + 2);
    INFO("share of a processor: " << share);
    CHECK(share < 0.2);
  }
}

TEST_CASE("an address that cannot be listened at is refused with what is wrong") {
  const Clusters clusters;
  const Counted first(clusters.plain());
  const auto listen = [&](const NodeAddress& address) {
    return said(
        [&] { Gate(address, clusters.plain(), "--listen", {Counted::admit_all}, [](auto, auto) {}); });
  };
  const std::string port = std::to_string(first.gate.port());
  check_says(
      listen(loopback(first.gate.port())),
      {"--listen 127.0.0.1:" + port, "port " + port + " is in use by process " + std::to_string(::getpid())});
  check_says(listen({"192.0.2.1", 5001}), {"this machine has no address 192.0.2.1"});
  // The port is free again as soon as the gate is closed.
  uint16_t again = 0;
  {
    Counted second(clusters.plain());
    again = second.gate.port();
  }
  CHECK(listen(loopback(again)) == "");
}
