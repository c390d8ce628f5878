// What the engine reads from outside, as functions of a file's bytes. libFuzzer searches for bytes that break
// them (scripts/fuzz.sh), test_fuzz replays the seeds of tests/fuzz/seeds, and tests/hostile mutates
// examples.
#pragma once

#include <string>
#include <vector>

namespace collie::test {

// Each hands `contents` to the engine's reader, as a file in the empty folder `folder`, and uses what it
// gives as the engine does. It throws UserError where the contents are refused. Anything else that it throws
// is a fault.
void read_chat(const std::string& folder, const std::string& contents);
void read_chat_template(const std::string& folder, const std::string& contents);
void read_config(const std::string& folder, const std::string& contents);
void read_jsonl(const std::string& folder, const std::string& contents);
void read_manifest(const std::string& folder, const std::string& contents);           // with its hash
void read_resealed_manifest(const std::string& folder, const std::string& contents);  // without its hash
void read_older_tokenizer(const std::string& folder, const std::string& contents);  // several files: parts()
void read_pickle(const std::string& folder, const std::string& contents);
void read_run_marker(const std::string& folder, const std::string& contents);  // without its hash
void read_safetensors(const std::string& folder, const std::string& contents);
void read_safetensors_header(const std::string& folder, const std::string& contents);
void read_schedule(const std::string& folder, const std::string& contents);
void read_setting(const std::string& folder, const std::string& contents);  // of --set
void read_text(const std::string& folder, const std::string& contents);
void read_tokenizer_config(const std::string& folder, const std::string& contents);
void read_tokenizer_json(const std::string& folder, const std::string& contents);
void read_tokenizer_model(const std::string& folder, const std::string& contents);
void read_tokens(const std::string& folder, const std::string& contents);
void read_torch_file(const std::string& folder, const std::string& contents);
void read_weight_index(const std::string& folder, const std::string& contents);

struct FuzzTarget {
  std::string name;  // its seeds are in tests/fuzz/seeds/NAME
  void (*read)(const std::string& folder, const std::string& contents);
};
const std::vector<FuzzTarget>& fuzz_targets();

}  // namespace collie::test
