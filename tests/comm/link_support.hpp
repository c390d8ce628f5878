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

inline size_t at(int rank) {
  return static_cast<size_t>(rank);
}

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

inline double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline void sleep_ms(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

}  // namespace collie::test
