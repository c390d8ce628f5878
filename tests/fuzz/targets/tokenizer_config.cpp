#include "io/files.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/fuzz/targets/support.hpp"
#include "tests/paths.hpp"

namespace collie::test {

void read_tokenizer_config(const std::string& folder, const std::string& contents) {
  static const std::string tokenizer = read_text_file(golden_file("byte_tokenizer/tokenizer.json"));
  put(folder, "tokenizer.json", tokenizer);
  put(folder, "tokenizer_config.json", contents);
  use_tokenizer(folder);
}

}  // namespace collie::test
