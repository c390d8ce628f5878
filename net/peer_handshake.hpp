// Two processes of a cluster authenticate each other before anything else reads a byte. Both prove that they
// know a key, which never travels, and the connecting process says what it wants of the other.
//
//   connecting side                          listening side
//   hello      magic, nonce, version    -->
//                                       <--  challenge  magic, nonce, version
//   proof      request, MAC             -->
//                                       <--  verdict    answer, reason, MAC
//
// Frames have fixed sizes, so a stranger cannot choose an amount of memory. A MAC is HMAC-SHA256 under the
// key (RFC 2104) over the side's name and all bytes exchanged so far. So nobody can reflect a side's MAC as
// the other side's, or replay it in another connection. The key is the cluster's secret. If the socket is
// encrypted, the key is a value that only the two ends of that connection have (RFC 5705).
//
// Both sides are state machines over bytes; net/gate.hpp and net/dial.hpp have the sockets.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace collie {

using PeerKey = std::array<uint8_t, 32>;
using PeerIdentity = std::array<uint8_t, 16>;
using PeerBytes = std::vector<uint8_t>;

enum class PeerKind : uint8_t {
  trainer = 1,  // wants a node to hold ranks of its run
  node = 2,     // holds ranks of the same run
  member = 3    // a process of a job that joins its rendezvous
};

// The connecting side's description of itself. Texts longer than 64 bytes are truncated.
struct PeerRequest {
  PeerKind kind = PeerKind::node;
  int64_t process = 0;
  PeerIdentity identity{};  // different for each process
  std::string host, run;
  std::string version;  // version of the engine; at most 24 bytes
};

enum class PeerAnswer : uint8_t {
  welcome = 1,
  not_now = 2,        // the answer may change in a moment
  refused = 3,        // known, but not wanted
  stranger = 4,       // the MAC is wrong
  other_protocol = 5  // never sent: the other side has a different protocol
};

// The reason says what is wrong with the other side: "is busy with ...". At most 216 bytes.
struct PeerVerdict {
  PeerAnswer answer = PeerAnswer::refused;
  std::string reason;
};

// Describes this process, on this host, with this version.
PeerRequest own_request(PeerKind kind, const std::string& run);

constexpr size_t largest_peer_frame = 256;

class ServerHandshake {
 public:
  // Called once, for a peer that has proved itself.
  using Admit = std::function<PeerVerdict(const PeerRequest&)>;
  ServerHandshake(const PeerKey& key, std::string version, Admit admit);

  size_t wants() const { return wants_; }  // bytes; 0: no more
  // Takes exactly wants() bytes and returns the bytes to send. If nothing more is wanted, the caller sends
  // them before it ends the connection.
  PeerBytes take(std::span<const uint8_t> frame);
  // Whether the peer may enter; valid once nothing more is wanted.
  bool welcome() const { return welcome_; }
  const std::string& failure() const { return failure_; }  // why the peer may not enter
  const PeerRequest& request() const { return request_; }  // request of a peer that has proved itself

 private:
  PeerBytes hear_hello(std::span<const uint8_t> frame);
  PeerBytes hear_proof(std::span<const uint8_t> frame);
  PeerBytes say(const PeerVerdict& verdict);

  const PeerKey key_;
  const std::string version_;
  Admit admit_;
  PeerBytes said_;  // bytes of both sides so far
  PeerRequest request_;
  std::string failure_;
  size_t wants_;
  bool greeted_ = false, welcome_ = false;
};

class ClientHandshake {
 public:
  ClientHandshake(const PeerKey& key, PeerRequest request);

  PeerBytes hello();                       // is sent first
  size_t wants() const { return wants_; }  // bytes; 0: verdict() is valid
  PeerBytes take(std::span<const uint8_t> frame);
  const PeerVerdict& verdict() const { return verdict_; }

 private:
  PeerBytes hear_challenge(std::span<const uint8_t> frame);
  void hear_verdict(std::span<const uint8_t> frame);
  PeerBytes end(PeerAnswer answer, const std::string& reason);

  const PeerKey key_;
  const PeerRequest request_;
  PeerBytes said_;
  PeerVerdict verdict_;
  size_t wants_ = 0;
  bool challenged_ = false;
};

}  // namespace collie
