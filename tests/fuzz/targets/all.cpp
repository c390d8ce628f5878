#include "tests/fuzz/targets.hpp"

namespace collie::test {

const std::vector<FuzzTarget>& fuzz_targets() {
  static const std::vector<FuzzTarget> all = {
      {"chat", read_chat},
      {"chat_template", read_chat_template},
      {"config", read_config},
      {"jsonl", read_jsonl},
      {"manifest", read_manifest},
      {"older_tokenizer", read_older_tokenizer},
      {"pickle", read_pickle},
      {"resealed_manifest", read_resealed_manifest},
      {"run_marker", read_run_marker},
      {"safetensors", read_safetensors},
      {"safetensors_header", read_safetensors_header},
      {"schedule", read_schedule},
      {"setting", read_setting},
      {"text", read_text},
      {"tokenizer_config", read_tokenizer_config},
      {"tokenizer_json", read_tokenizer_json},
      {"tokenizer_model", read_tokenizer_model},
      {"tokens", read_tokens},
      {"torch_file", read_torch_file},
      {"weight_index", read_weight_index},
  };
  return all;
}

}  // namespace collie::test
