#include "tests/fuzz/targets.hpp"
#include "tests/fuzz/targets/support.hpp"

namespace collie::test {

void read_tokenizer_model(const std::string& folder, const std::string& contents) {
  put(folder, "tokenizer.model", contents);
  use_tokenizer(folder);
}

}  // namespace collie::test
