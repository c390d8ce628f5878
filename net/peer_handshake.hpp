// How two processes of a cluster make sure of each other before anything else reads a byte: both prove that
// they know a key, which never travels, and one says what it wants of the other.
//
//   who connects                             who listens
//   hello      magic, nonce, version    -->
//                                       <--  challenge  magic, nonce, version
//   proof      request, MAC             -->
//                                       <--  verdict    answer, reason, MAC
//
// Frames have fixed sizes, so that a stranger chooses no amount of memory. A MAC is HMAC-SHA256 under the key
// (RFC 2104) over the side's name and all that was said so far: neither side can be made to answer for the
// other, nor with what it said another time. The key is the cluster's secret, or, where the socket is
// encrypted, a value that only the two ends of that connection have (RFC 5705).
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
  member = 3    // a process of a job that comes to its meeting
};

// What who connects says of itself. Texts longer than 64 bytes are cut off.
struct PeerRequest {
  PeerKind kind = PeerKind::node;
  int64_t process = 0;
  PeerIdentity identity{};  // another one for each process
  std::string host, run;
  std::string version;  // of the engine; at most 24 bytes
};

enum class PeerAnswer : uint8_t {
  welcome = 1,
  not_now = 2,        // it may be otherwise in a moment
  refused = 3,        // known, but not wanted
  stranger = 4,       // the MAC is wrong
  other_protocol = 5  // never sent: the other side does not speak this one
};

// The reason says what is wrong with the other side: "is busy with ...". At most 216 bytes.
struct PeerVerdict {
  PeerAnswer answer = PeerAnswer::refused;
  std::string reason;
};

// This process, on this host, of this version.
PeerRequest own_request(PeerKind kind, const std::string& run);

constexpr size_t largest_peer_frame = 256;

class ServerHandshake {
 public:
  // Called once, for a peer that has proved itself.
  using Admit = std::function<PeerVerdict(const PeerRequest&)>;
  ServerHandshake(const PeerKey& key, std::string version, Admit admit);

  size_t wants() const { return wants_; }  // bytes; 0: nothing more
  // Exactly wants() bytes. What is to be sent; where nothing more is wanted, before the end.
  PeerBytes take(std::span<const uint8_t> frame);
  // Whether the peer may enter, once nothing more is wanted.
  bool welcome() const { return welcome_; }
  const std::string& failure() const { return failure_; }  // why not
  const PeerRequest& request() const { return request_; }  // of a peer that has proved itself

 private:
  PeerBytes hear_hello(std::span<const uint8_t> frame);
  PeerBytes hear_proof(std::span<const uint8_t> frame);
  PeerBytes say(const PeerVerdict& verdict);

  const PeerKey key_;
  const std::string version_;
  Admit admit_;
  PeerBytes said_;  // by both, so far
  PeerRequest request_;
  std::string failure_;
  size_t wants_;
  bool greeted_ = false, welcome_ = false;
};

class ClientHandshake {
 public:
  ClientHandshake(const PeerKey& key, PeerRequest request);

  PeerBytes hello();                       // to be sent first
  size_t wants() const { return wants_; }  // bytes; 0: verdict() is there
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
