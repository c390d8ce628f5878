// A model folder that is exported again has the tensors that PyTorch wrote
// (tests/golden/make_model_golden.py).
#include "plan/model_export.hpp"

#include <filesystem>
#include <fstream>

#include "base/error.hpp"
#include "io/safetensors.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/paths.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;

std::vector<float> floats_of(const SafetensorsFile& file, const std::string& name) {
  std::vector<float> values(static_cast<size_t>(file.find(name).elements));
  file.to_float(name, values);
  return values;
}

// The golden models have 96 tokens or so, and the byte tokenizer more; theirs has the ids of a few letters.
std::string write_small_tokenizer(const TemporaryFolder& folder) {
  fs::create_directory(folder / "letters");
  std::ofstream(folder / "letters" / "tokenizer.json")
      << R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,)"
         R"( "pre_tokenizer": null, "post_processor": null, "decoder": null, "model": {"type": "BPE",)"
         R"( "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,)"
         R"( "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,)"
         R"( "vocab": {"a": 0, "b": 1, "c": 2}, "merges": []}})";
  return (folder / "letters").string();
}

}  // namespace

TEST_CASE("an exported model folder of any family has the tensors that PyTorch wrote", "[export]") {
  for (const std::string name : {"llama_tied",
                                 "llama_untied",
                                 "gpt2",
                                 "gpt2_untied",
                                 "gpt_neox",
                                 "gemma",
                                 "gemma2",
                                 "gemma3_text",
                                 "glm",
                                 "glm4",
                                 "chatglm",
                                 "gptj",
                                 "codegen",
                                 "qwen2",
                                 "qwen3",
                                 "mistral",
                                 "phi3",
                                 "phi3_longrope",
                                 "internlm",
                                 "internlm2",
                                 "internlm2_bias",
                                 "falcon",
                                 "falcon_40b",
                                 "falcon_11b",
                                 "falcon_serial",
                                 "chatglm_6b",
                                 "starcoder2",
                                 "starcoder2_plain",
                                 "starcoder2_untied",
                                 "starcoder2_window"}) {
    CAPTURE(name);
    const TemporaryFolder folder;
    Config config;
    config.model.path = golden_file(name);
    config.tokenizer.path = write_small_tokenizer(folder);
    const std::string out = (folder / "deep" / "exported").string();
    check_export_folder(out, config);
    export_model(plan_export(config, CheckpointChoice::base()), out);
    const SafetensorsFile golden(fs::path(golden_file(name)) / "model.safetensors"),
        exported(fs::path(out) / "model.safetensors");
    CHECK(exported.tensors().size() > 10);
    for (const StoredTensor& tensor : exported.tensors()) {
      CAPTURE(tensor.name);
      const std::string short_name = tensor.name.substr(tensor.name.find('.') + 1);
      const std::string in_golden = golden.contains(tensor.name) ? tensor.name : short_name;
      CHECK(tensor.shape == golden.find(in_golden).shape);
      CHECK(floats_of(exported, tensor.name) == floats_of(golden, in_golden));
    }
    for (const StoredTensor& tensor : golden.tensors()) {
      CAPTURE(tensor.name);
      const bool is_mask = tensor.name.ends_with("attn.bias") || tensor.name.ends_with("masked_bias") ||
                           tensor.name.ends_with("inv_freq") || tensor.name.ends_with("attention.bias");
      const bool is_there = exported.contains(tensor.name) || exported.contains("transformer." + tensor.name);
      CHECK((is_mask || is_there || tensor.name == "lm_head.weight"));
    }
    CHECK_THROWS_WITH(check_export_folder(out, config), contains("already exists"));
    CHECK_THROWS_WITH(check_export_folder(out + "/", config), contains("already exists"));
  }
}

TEST_CASE("an export that fails leaves nothing", "[export]") {
  const TemporaryFolder folder;
  Config config;
  config.model.path = golden_file("llama_tied");
  config.tokenizer.path = write_small_tokenizer(folder);
  const RunPlan plan = plan_export(config, CheckpointChoice::base());
  std::ofstream(folder / "file") << "not a folder";
  CHECK_THROWS_AS(export_model(plan, (folder / "file" / "below" / "out").string()), UserError);
  size_t left = 0;
  for (const auto& entry : fs::directory_iterator(folder.path())) left += entry.exists();
  CHECK(left == 2);  // the tokenizer and the file
}

TEST_CASE("a folder in which a run keeps its own files is not exported to", "[export]") {
  const TemporaryFolder folder;
  Config config;
  config.run.dir = (folder / "run").string();
  for (const char* own : {"run/final", "run/checkpoints", "run/final/../final", "run/checkpoints/x"})
    CHECK_THROWS_WITH(check_export_folder((folder / own).string(), config), contains("keeps its own files"));
  check_export_folder((folder / "run/exported").string(), config);
  CHECK_THROWS_WITH(check_export_folder("", config), contains("--out: is empty"));
}

}  // namespace collie::test
