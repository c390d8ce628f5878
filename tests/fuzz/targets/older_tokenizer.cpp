#include "tests/fuzz/targets.hpp"
#include "tests/fuzz/targets/support.hpp"

namespace collie::test {

void read_older_tokenizer(const std::string& folder, const std::string& contents) {
  for (const auto& [name, text] : parts(contents))
    for (const char* known :
         {"vocab.json", "merges.txt", "vocab.txt", "gpt2.tiktoken", "qwen.tiktoken", "tokenizer.model",
          "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "generation_config.json"})
      if (name == known) put(folder, name, text);
  use_tokenizer(folder);
}

}  // namespace collie::test
