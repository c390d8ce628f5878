// The rendezvous of ranks before there is a link between them.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace collie::comm {

// Whoever starts the ranks provides one store per link: the keys of two links must not collide. One thread of
// each rank uses it while a link is made.
class KeyStore {
 public:
  virtual ~KeyStore() = default;
  // Makes the value, about a hundred bytes, readable for every rank. Each key is set once.
  virtual void set(const std::string& key, const std::vector<char>& value) = 0;
  // Returns the value as soon as any rank has set it, or nothing if no rank sets it in time.
  virtual std::optional<std::vector<char>> get(const std::string& key, std::chrono::milliseconds timeout) = 0;
};

}  // namespace collie::comm
