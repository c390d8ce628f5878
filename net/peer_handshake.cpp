#include "net/peer_handshake.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "base/version.hpp"

namespace collie {
namespace {

// The last byte is the protocol's version.
constexpr std::array<uint8_t, 8> magic = {'C', 'O', 'L', 'L', 'I', 'E', 0, 1};
constexpr size_t nonce_size = 32, mac_size = 32, version_size = 24, text_size = 64, reason_size = 216;
constexpr size_t greeting_size = magic.size() + nonce_size + version_size;  // size of hello and challenge
constexpr size_t request_size = 1 + 8 + 16 + 2 * text_size;
constexpr size_t proof_size = request_size + mac_size;
constexpr size_t verdict_size = 1 + reason_size + mac_size;
static_assert(verdict_size <= largest_peer_frame && proof_size <= largest_peer_frame);

constexpr std::string_view client_label = "collie-engine: who connects",
                           server_label = "collie-engine: who listens";

void append_text(PeerBytes& frame, const std::string& text, size_t size) {
  const size_t length = std::min(text.size(), size);
  frame.insert(frame.end(), text.begin(), text.begin() + static_cast<std::ptrdiff_t>(length));
  frame.resize(frame.size() + size - length);
}

// Returns the text in a form that is safe for a log or a terminal, whoever wrote it.
std::string text_of(std::span<const uint8_t> bytes) {
  std::string text(bytes.begin(), std::find(bytes.begin(), bytes.end(), uint8_t{0}));
  for (char& each : text)
    if (static_cast<unsigned char>(each) < 0x20 || each == 0x7f) each = '?';
  return text;
}

PeerBytes random_bytes(size_t size) {
  PeerBytes bytes(size);
  if (::RAND_bytes(bytes.data(), static_cast<int>(size)) != 1) throw RunError("there are no random numbers");
  return bytes;
}

PeerBytes greeting_frame(const std::string& version) {
  PeerBytes frame(magic.begin(), magic.end());
  const PeerBytes nonce = random_bytes(nonce_size);
  frame.insert(frame.end(), nonce.begin(), nonce.end());
  append_text(frame, version, version_size);
  return frame;
}

bool is_greeting(std::span<const uint8_t> frame) {
  return std::equal(magic.begin(), magic.end(), frame.begin());
}

std::string version_in(std::span<const uint8_t> greeting) {
  return text_of(greeting.subspan(magic.size() + nonce_size, version_size));
}

void append(PeerBytes& all, std::span<const uint8_t> more) {
  all.insert(all.end(), more.begin(), more.end());
}

std::array<uint8_t, mac_size> mac_of(const PeerKey& key, std::string_view label, const PeerBytes& said) {
  PeerBytes text(label.begin(), label.end());
  text.push_back(0);
  append(text, said);
  std::array<uint8_t, mac_size> mac{};
  unsigned int size = 0;
  if (::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()), text.data(), text.size(), mac.data(),
             &size) == nullptr)
    throw RunError("HMAC-SHA256 failed");
  return mac;
}

bool is_mac(std::span<const uint8_t> found, const std::array<uint8_t, mac_size>& expected) {
  return ::CRYPTO_memcmp(found.data(), expected.data(), mac_size) == 0;
}

PeerBytes request_frame(const PeerRequest& request) {
  PeerBytes frame{static_cast<uint8_t>(request.kind)};
  for (int byte = 0; byte < 8; ++byte)
    frame.push_back(static_cast<uint8_t>(static_cast<uint64_t>(request.process) >> (8 * byte)));
  append(frame, request.identity);
  append_text(frame, request.host, text_size);
  append_text(frame, request.run, text_size);
  return frame;
}

PeerRequest request_in(std::span<const uint8_t> frame, std::string version) {
  PeerRequest request;
  request.kind = static_cast<PeerKind>(frame[0]);
  uint64_t process = 0;
  for (size_t byte = 0; byte < 8; ++byte) process |= uint64_t{frame[1 + byte]} << (8 * byte);
  request.process = static_cast<int64_t>(process);
  std::copy_n(frame.begin() + 9, request.identity.size(), request.identity.begin());
  request.host = text_of(frame.subspan(25, text_size));
  request.run = text_of(frame.subspan(25 + text_size, text_size));
  request.version = std::move(version);
  return request;
}

std::string version_difference(const std::string& there, const std::string& here) {
  return fmt::format("is collie-engine {}, this is {}; both must be the same", there, here);
}

PeerIdentity identity_of_process() {
  static const PeerIdentity identity = [] {
    PeerIdentity made{};
    const PeerBytes bytes = random_bytes(made.size());
    std::copy(bytes.begin(), bytes.end(), made.begin());
    return made;
  }();
  return identity;
}

}  // namespace

PeerRequest own_request(PeerKind kind, const std::string& run) {
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  return {kind, static_cast<int64_t>(::getpid()), identity_of_process(), host, run, engine_version()};
}

ServerHandshake::ServerHandshake(const PeerKey& key, std::string version, Admit admit)
    : key_(key), version_(std::move(version)), admit_(std::move(admit)), wants_(greeting_size) {}

PeerBytes ServerHandshake::take(std::span<const uint8_t> frame) {
  COLLIE_ASSERT(frame.size() == wants_, "a frame of {} bytes", wants_);
  return greeted_ ? hear_proof(frame) : hear_hello(frame);
}

// A peer with another protocol also gets the challenge, so that it can report the mismatch.
PeerBytes ServerHandshake::hear_hello(std::span<const uint8_t> frame) {
  PeerBytes challenge = greeting_frame(version_);
  if (!is_greeting(frame)) {
    wants_ = 0;
    failure_ = "said something else than hello";
    return challenge;
  }
  greeted_ = true;
  wants_ = proof_size;
  append(said_, frame);
  append(said_, challenge);
  return challenge;
}

PeerBytes ServerHandshake::hear_proof(std::span<const uint8_t> frame) {
  wants_ = 0;
  const std::string version = version_in(said_);
  append(said_, frame.first(request_size));
  const bool proved = is_mac(frame.subspan(request_size), mac_of(key_, client_label, said_));
  append(said_, frame.subspan(request_size));
  if (!proved) return say({PeerAnswer::stranger, "does not know the secret"});
  request_ = request_in(frame, version);
  if (version != version_) return say({PeerAnswer::refused, version_difference(version_, version)});
  return say(admit_(request_));
}

PeerBytes ServerHandshake::say(const PeerVerdict& verdict) {
  welcome_ = verdict.answer == PeerAnswer::welcome;
  if (!welcome_) failure_ = verdict.reason;
  PeerBytes frame{static_cast<uint8_t>(verdict.answer)};
  append_text(frame, verdict.reason, reason_size);
  append(said_, frame);
  append(frame, mac_of(key_, server_label, said_));
  return frame;
}

ClientHandshake::ClientHandshake(const PeerKey& key, PeerRequest request)
    : key_(key), request_(std::move(request)), wants_(greeting_size) {}

PeerBytes ClientHandshake::hello() {
  said_ = greeting_frame(request_.version);
  return said_;
}

PeerBytes ClientHandshake::take(std::span<const uint8_t> frame) {
  COLLIE_ASSERT(frame.size() == wants_, "a frame of {} bytes", wants_);
  if (!challenged_) return hear_challenge(frame);
  hear_verdict(frame);
  return {};
}

PeerBytes ClientHandshake::end(PeerAnswer answer, const std::string& reason) {
  wants_ = 0;
  verdict_ = {answer, reason};
  return {};
}

PeerBytes ClientHandshake::hear_challenge(std::span<const uint8_t> frame) {
  if (!is_greeting(frame)) return end(PeerAnswer::other_protocol, "is no process of collie-engine");
  challenged_ = true;
  wants_ = verdict_size;
  append(said_, frame);
  PeerBytes proof = request_frame(request_);
  append(said_, proof);
  append(proof, mac_of(key_, client_label, said_));
  append(said_, std::span(proof).subspan(request_size));
  return proof;
}

void ClientHandshake::hear_verdict(std::span<const uint8_t> frame) {
  const std::string version = version_in(std::span(said_).subspan(greeting_size));
  append(said_, frame.first(1 + reason_size));
  const bool proved = is_mac(frame.subspan(1 + reason_size), mac_of(key_, server_label, said_));
  const auto answer = static_cast<PeerAnswer>(frame[0]);
  if (!proved || answer == PeerAnswer::stranger)
    end(PeerAnswer::stranger,
        version == request_.version ? "" : version_difference(version, request_.version));
  else
    end(answer, text_of(frame.subspan(1, reason_size)));
}

}  // namespace collie
