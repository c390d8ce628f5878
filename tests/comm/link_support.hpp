// What tests of byte links share.
#pragma once

#include <chrono>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <thread>

#include "comm/byte_link.hpp"
#include "tests/comm/support.hpp"

namespace collie::test {

inline std::shared_ptr<Bytes> message(std::initializer_list<int> bytes) {
  auto message = std::make_shared<Bytes>();
  for (const int byte : bytes) message->push_back(static_cast<std::byte>(byte));
  return message;
}

inline std::unique_ptr<comm::Transfer> send(comm::ByteLink& link, int peer, uint64_t tag,
                                            const std::shared_ptr<Bytes>& bytes) {
  return link.send(peer, tag, *bytes, bytes);
}

inline std::unique_ptr<comm::Transfer> receive(comm::ByteLink& link, int peer, uint64_t tag,
                                               const std::shared_ptr<Bytes>& bytes) {
  return link.receive(peer, tag, *bytes, bytes);
}

inline std::string said_by(const std::function<void()>& work) {
  return said(run_ranks(1, [&](int) { work(); })[0]);
}

}  // namespace collie::test
