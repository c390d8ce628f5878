// A set of strings that finds all its members at the start of a text.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace collie {

class ByteTrie {
 public:
  // The strings and their values (>= 0). Of equal strings the last counts. The empty string is never found.
  explicit ByteTrie(std::vector<std::pair<std::string_view, int32_t>> strings);

  // Calls visit(bytes, value) for each string that `text` starts with, the shortest first.
  template <class Visit>
  void find_prefixes(std::string_view text, const Visit& visit) const {
    uint32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      node = child(node, static_cast<unsigned char>(text[i]));
      if (node == 0) return;
      if (nodes_[node].value >= 0) visit(i + 1, nodes_[node].value);
    }
  }

 private:
  struct Node {
    uint32_t first_child = 0;  // children stand together, in order of their bytes
    uint16_t children = 0;
    uint8_t byte = 0;  // that leads here
    int32_t value = -1;
  };
  struct Span;

  uint32_t child(uint32_t node, uint8_t byte) const {  // 0: none
    if (node == 0) return of_root_[byte];
    uint32_t low = nodes_[node].first_child, high = low + nodes_[node].children;
    while (low < high) {
      const uint32_t middle = (low + high) / 2;
      if (nodes_[middle].byte == byte) return middle;
      (nodes_[middle].byte < byte ? low : high) = nodes_[middle].byte < byte ? middle + 1 : middle;
    }
    return 0;
  }

  std::vector<Node> nodes_;
  std::vector<uint32_t> of_root_;  // [256]
};

}  // namespace collie
