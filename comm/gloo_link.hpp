// A byte link over Gloo's TCP transport. Nothing is encrypted or authenticated, and one forged packet ends
// the process: for the loopback interface and trusted networks only.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "comm/byte_link.hpp"
#include "comm/key_store.hpp"

namespace collie::comm {

struct GlooOptions {
  int rank = 0, size = 1;
  std::string address = "127.0.0.1";  // of this host's interface, as a number; not 0.0.0.0 or ::
  std::chrono::milliseconds connect_timeout{30'000};
  // For a peer that is at work on a transfer (Patience::limited) and falls silent without its connection
  // ending.
  std::chrono::milliseconds transfer_timeout{30'000};
  size_t most_bytes = 1 << 20;  // a message; the same on all ranks
};

// Meets the other ranks in `store` and connects with each; blocks until all are connected. The end has one
// thread for all its traffic and one a peer, which sleeps until the peer fails, leaves or dies; and one
// socket a peer. Death is noticed within milliseconds, also in the middle of a transfer and by those who wait
// for somebody else. From here on the process ignores SIGPIPE, where it has not chosen otherwise.
//
// UserError: the address is not one to listen at. RunError: a rank did not come in time, could not be
// reached, or has another most_bytes.
std::shared_ptr<ByteLink> connect_gloo(const GlooOptions& options, KeyStore& store);

}  // namespace collie::comm
