#include "io/continuation.hpp"

namespace collie {

std::string continuation(const Tokenizer& tokenizer, const std::vector<int32_t>& before,
                         const std::vector<int32_t>& after) {
  std::vector<int32_t> all = before;
  all.insert(all.end(), after.begin(), after.end());
  const std::string begin = tokenizer.decode(before), text = tokenizer.decode(all);
  return text.compare(0, begin.size(), begin) == 0 ? text.substr(begin.size()) : text;
}

}  // namespace collie
