#include "io/tokenizers/models/byte_trie.hpp"

#include <algorithm>
#include <deque>

namespace collie {

// The strings [begin, end) share the bytes that lead to `node`, which are `depth`.
struct ByteTrie::Span {
  uint32_t node;
  size_t begin, end, depth;
};

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, int32_t>> strings) : nodes_(1), of_root_(256, 0) {
  std::stable_sort(strings.begin(), strings.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::deque<Span> open = {{0, 0, strings.size(), 0}};  // breadth first, so that siblings stand together
  for (; !open.empty(); open.pop_front()) {
    Span span = open.front();
    for (; span.begin < span.end && strings[span.begin].first.size() == span.depth; ++span.begin)
      if (span.depth > 0) nodes_[span.node].value = strings[span.begin].second;
    nodes_[span.node].first_child = static_cast<uint32_t>(nodes_.size());
    for (size_t from = span.begin, to = from; from < span.end; from = to) {
      const char byte = strings[from].first[span.depth];
      while (to < span.end && strings[to].first[span.depth] == byte) ++to;
      const auto node = static_cast<uint32_t>(nodes_.size());
      nodes_.push_back({0, 0, static_cast<uint8_t>(byte), -1});
      ++nodes_[span.node].children;
      if (span.node == 0) of_root_[static_cast<uint8_t>(byte)] = node;
      open.push_back({node, from, to, span.depth + 1});
    }
  }
}

}  // namespace collie
