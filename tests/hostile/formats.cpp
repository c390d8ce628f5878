#include "tests/hostile/formats.hpp"

#include <filesystem>

#include "base/error.hpp"
#include "io/csv_file.hpp"
#include "io/dataset.hpp"
#include "io/files.hpp"
#include "io/json_lines.hpp"
#include "io/json_text.hpp"
#include "io/sealed_json.hpp"
#include "io/token_cache.hpp"
#include "models/model_config.hpp"
#include "models/stage_model.hpp"
#include "models/weights_io.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/fuzz/targets/manifest.hpp"
#include "tests/fuzz/targets/support.hpp"
#include "tests/io/torch_archive.hpp"
#include "tests/paths.hpp"

namespace collie::test {

namespace {

namespace fs = std::filesystem;

std::string golden_text(const std::string& name) {
  return read_text_file(golden_file(name));
}

std::string seed(const std::string& name) {
  return read_text_file((source_folder() / "tests/fuzz/seeds" / name).string());
}

void use_model(const ModelConfig& model) {
  must(parameter_count(model) > 0, "a model without parameters was accepted");
  must(!partition_stages(model, 1, "parameters").empty(), "a model without stages was accepted");
}

void read_model_config(const std::string& folder, const std::string& contents) {
  put(folder, "config.json", contents);
  use_model(load_model_config(folder));
}

void read_weights_of_model(const std::string& folder, const std::string& contents) {
  read_safetensors(folder, contents);
  check_weights(folder, load_model_config(golden_file("llama_tied")));
}

std::string pickle_example() {
  return pickle_of(dict_of({{"dense", pickled_tensor(pickled_storage("0", 6), 0, {2, 3}, {3, 1})},
                            {"transposed", pickled_tensor(pickled_storage("0", 6), 0, {3, 2}, {1, 3})},
                            {"other", pickled_tensor(pickled_storage("1", 6), 1, {5}, {1})}}));
}

// What a manifest says, without its hash: damage that is older than the hash.
std::string manifest_without_hash() {
  const std::string file = some_checkpoint() + "/" + manifest_of_checkpoint;
  nlohmann::json manifest = unseal(read_text_file(file), file);
  manifest.erase("sha256");
  return manifest.dump(1);
}

void read_table(const std::string& folder, const std::string& contents) {
  const std::string path = put(folder, "metrics.csv", contents);
  cut_csv(path, "step", 2);
  CsvFile(path).append({{"step", "3"}, {"eval_loss", "2.5"}});
}

void read_metrics(const std::string& folder, const std::string& contents) {
  truncate_after_step(put(folder, "metrics.jsonl", contents), 2);
}

std::string token_cache_example() {
  const std::string file = some_checkpoint() + "-cache";
  TokenCacheWriter writer(file, std::string(64, 'a'));
  writer.add(std::vector<int32_t>{1, 2, 3}, std::vector<TokenSpan>{{0, 1}, {2, 3}});
  writer.add(std::vector<int32_t>{4, 5}, std::vector<TokenSpan>{{1, 2}});
  writer.finish();
  std::string text = read_text_file(file);
  fs::remove(file);
  return text;
}

void read_token_cache(const std::string& folder, const std::string& contents) {
  std::string reason;
  if (!open_token_cache(put(folder, "x.tokens", contents), std::string(64, 'a'), 10, reason))
    throw UserError(reason);
}

}  // namespace

const std::vector<FileFormat>& file_formats() {
  static const std::vector<FileFormat> all = {
      {"config.yaml", seed("config/good_run.yaml"), read_config},
      {"--set", seed("setting/good_model"), read_setting},
      {"config.json", golden_text("llama_untied/config.json"), read_model_config},
      {"tokenizer.json", golden_text("tokenizer_tiny/tokenizer.json"), read_tokenizer_json},
      {"tokenizer.json, bytes", golden_text("byte_tokenizer/tokenizer.json"), read_tokenizer_json},
      {"tokenizer.json, unigram", seed("tokenizer_json/good_unigram_charsmap.json"), read_tokenizer_json},
      {"tokenizer.json, words", seed("tokenizer_json/good_bert.json"), read_tokenizer_json},
      {"tokenizer.json, regular expression", seed("tokenizer_json/good_gpt4.json"), read_tokenizer_json},
      {"tokenizer.json, suffixes", seed("tokenizer_json/good_clip.json"), read_tokenizer_json},
      {"tokenizer.model", seed("tokenizer_model/good_bpe.model"), read_tokenizer_model},
      {"older tokenizer", seed("older_tokenizer/good_merges"), read_older_tokenizer},
      {"tokenizer_config.json", seed("tokenizer_config/good_bytes.json"), read_tokenizer_config},
      {"safetensors", golden_text("llama_tied/model.safetensors"), read_weights_of_model},
      {"safetensors, header", seed("safetensors_header/good_two.json"), read_safetensors_header},
      {"pytorch_model.bin", seed("torch_file/good_tensors.bin"), read_torch_file},
      {"pytorch_model.bin, pickle", pickle_example(), read_pickle},
      {"index of weights", seed("weight_index/good_two.json"), read_weight_index},
      {"jsonl", seed("jsonl/good_two.jsonl"), read_jsonl},
      {"chat", seed("chat/good_turns.jsonl"), read_chat},
      {"chat template", seed("chat_template/good_generation.jinja"), read_chat_template},
      {"tokens", seed("tokens/good_two.jsonl"), read_tokens},
      {"text", seed("text/good_lines.txt"), read_text},
      {"schedule", seed("schedule/good_dualpipe_v_2_4.csv"), read_schedule},
      {"schedule, lists", seed("schedule/good_engine_1f1b_4_6_split_communication.csv"), read_schedule},
      {"checkpoint manifest", read_text_file(some_checkpoint() + "/" + manifest_of_checkpoint),
       read_manifest},
      {"checkpoint manifest, sealed anew", manifest_without_hash(), read_resealed_manifest},
      {"marker of a run", seed("run_marker/good_files.json"), read_run_marker},
      {"metrics.jsonl", "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":null}\n{\"step\":3}\n",
       read_metrics},
      {"metrics.csv", "step,loss,note\n1,2.5,\"a, \"\"b\"\"\n\"\n2,,\n3,2.5,\n", read_table},
      {"token cache", token_cache_example(), read_token_cache},
  };
  return all;
}

}  // namespace collie::test
