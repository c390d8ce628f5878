// Where ranks find each other before there is a link between them.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace collie::comm {

// Provided by whoever starts the ranks; one a link: the keys of two links must not meet. Used by one thread
// of each rank, while a link is made.
class KeyStore {
 public:
  virtual ~KeyStore() = default;
  // Makes the value, about a hundred bytes, readable for every rank. Each key is set once.
  virtual void set(const std::string& key, const std::vector<char>& value) = 0;
  // The value, as soon as any rank has set it; nothing where that has not happened in time.
  virtual std::optional<std::vector<char>> get(const std::string& key, std::chrono::milliseconds timeout) = 0;
};

}  // namespace collie::comm
