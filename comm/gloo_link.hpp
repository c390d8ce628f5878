// A byte link over Gloo's TCP transport. Nothing is encrypted or authenticated, and one forged packet ends
// the process, so it is for the loopback interface and trusted networks only.
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
  // The limit for a peer that is at work on a transfer (Patience::limited) and falls silent without its
  // connection ending.
  std::chrono::milliseconds transfer_timeout{30'000};
  size_t most_bytes = 1 << 20;  // per message; the same on all ranks
};

// Finds the other ranks through `store` and connects with each; blocks until all are connected. The end has
// one thread for all its traffic. Per peer it has one socket and one thread, which sleeps until the peer
// fails, leaves or dies. A death is noticed within milliseconds, even in the middle of a transfer and by
// ranks that wait for some other rank. From here on the process ignores SIGPIPE, unless it has chosen
// otherwise.
//
// UserError: the address is not one to listen at. RunError: a rank did not come in time, could not be
// reached, or has another most_bytes.
std::shared_ptr<ByteLink> connect_gloo(const GlooOptions& options, KeyStore& store);

}  // namespace collie::comm
