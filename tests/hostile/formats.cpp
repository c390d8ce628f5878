#include "tests/hostile/formats.hpp"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "base/error.hpp"
#include "io/base64.hpp"
#include "io/checkpoint.hpp"
#include "io/config.hpp"
#include "io/csv_file.hpp"
#include "io/dataset.hpp"
#include "io/files.hpp"
#include "io/json_lines.hpp"
#include "io/json_text.hpp"
#include "io/safetensors.hpp"
#include "io/sealed_json.hpp"
#include "io/token_cache.hpp"
#include "io/tokenizer.hpp"
#include "models/model_config.hpp"
#include "models/stage_model.hpp"
#include "models/weights_io.hpp"
#include "schedule/schedules.hpp"
#include "tests/io/torch_archive.hpp"
#include "tests/paths.hpp"

namespace collie::test {

namespace {

namespace fs = std::filesystem;

std::string put(const std::string& folder, const std::string& name, const std::string& contents) {
  const std::string path = folder + "/" + name;
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << contents;
  return path;
}

std::string golden_text(const std::string& name) {
  return read_text_file(golden_file(name));
}

void must(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

constexpr const char* config_example = R"(# a run
run: {name: tiny, dir: runs/tiny, seed: 7, stall_timeout_s: 60.5}
model:
  path: null
  from_scratch: true
  config: &model
    model_type: llama
    hidden_size: 64
    intermediate_size: 172
    num_hidden_layers: 4
    num_attention_heads: 8
    vocab_size: 512
    rope_parameters: {rope_theta: 1.0e+4, rope_type: default}
tokenizer: {kind: byte}
data:
  train:
    - {path: "texts/*.txt"}
    - {path: chat.jsonl, format: jsonl, prompt: question, completion: answer}
  sequence_length: 64
  packing: true
train:
  steps: 10
  micro_batch_size: 2
  gradient_accumulation_steps: 4
parallel:
  pp_size: 2
  partition: [1, 3]
optimizer: {lr: 3.0e-4, betas: [0.9, 0.95], weight_decay: 0.1}
checkpoint:
  every_n_steps: 5
  keep_last: 2
cluster: {nodes: ["127.0.0.1:5001", 'localhost:5002']}
device:
  threads: 2
)";

void read_config(const std::string& folder, const std::string& contents) {
  std::vector<std::string> warnings;
  const Config config = load_config(put(folder, "c.yaml", contents), {}, warnings);
  must(parse_config(to_yaml(config)) == config, "the configuration that was accepted is written as another");
}

void read_setting(const std::string&, const std::string& contents) {
  std::vector<std::string> warnings;
  load_config("", {contents}, warnings);
}

void use_model(const ModelConfig& model) {
  must(parameter_count(model) > 0, "a model without parameters was accepted");
  must(!partition_stages(model, 1, "parameters").empty(), "a model without stages was accepted");
}

void read_model_config(const std::string& folder, const std::string& contents) {
  put(folder, "config.json", contents);
  use_model(load_model_config(folder));
}

void use_tokenizer(const std::string& folder) {
  const auto tokenizer = load_tokenizer(folder, "auto");
  const std::vector<int32_t> ids = tokenizer->encode("A small text, caf\xc3\xa9 <s> and  spaces.\n", true);
  for (const int32_t id : ids) must(id >= 0 && id < tokenizer->vocab_size(), "an id outside the vocabulary");
  tokenizer->decode(ids);
  tokenizer->fingerprint();
}

void read_tokenizer(const std::string& folder, const std::string& contents) {
  put(folder, "tokenizer.json", contents);
  use_tokenizer(folder);
}

// A small tokenizer of tests/golden/make_tokenizer_components.py.
std::string component(const std::string& name) {
  static const nlohmann::json all =
      parse_json_object(golden_text("tokenizer_components.json"), "tokenizer_components.json");
  return all.at("tokenizers").at(name).at("tokenizer").dump();
}

std::string sentencepiece_model() {
  const nlohmann::json all =
      parse_json_object(golden_text("tokenizer_components.json"), "tokenizer_components.json");
  return decode_base64(all.at("sentencepiece").at("bpe").at("model").get<std::string>()).value();
}

void read_tokenizer_model(const std::string& folder, const std::string& contents) {
  put(folder, "tokenizer.model", contents);
  use_tokenizer(folder);
}

void read_tokenizer_config(const std::string& folder, const std::string& contents) {
  put(folder, "tokenizer.json", golden_text("byte_tokenizer/tokenizer.json"));
  put(folder, "tokenizer_config.json", contents);
  use_tokenizer(folder);
}

void read_safetensors(const std::string& folder, const std::string& contents) {
  const std::string path = put(folder, "model.safetensors", contents);
  const SafetensorsFile file(path);
  for (const StoredTensor& entry : file.tensors()) {
    must(entry.bytes() <= contents.size(), "a tensor is longer than its file");
    std::vector<float> values(static_cast<size_t>(entry.elements));
    if (entry.dtype == "F32" || entry.dtype == "BF16" || entry.dtype == "F16")
      file.to_float(entry.name, values);
  }
  check_weights(folder, load_model_config(golden_file("llama_tied")));
}

// The contents are the header; its length and the data are put around it.
void read_safetensors_header(const std::string& folder, const std::string& contents) {
  const uint64_t length = contents.size();
  read_safetensors(folder, std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + contents +
                               std::string(64, 'd'));
}

// Values are read as far as a tiny model could ask for them.
void use_weights(const WeightFolder& weights) {
  for (const auto& [name, place] : weights.tensors()) {
    constexpr int64_t most = 1 << 16;
    const StoredTensor& tensor = *place.tensor;
    if (tensor.elements > most || !is_real_dtype(tensor.dtype)) continue;
    std::vector<float> values(static_cast<size_t>(tensor.elements));
    TensorReader(*place.file, tensor).read(0, values);
  }
}

void read_torch_file(const std::string& folder, const std::string& contents) {
  put(folder, "pytorch_model.bin", contents);
  use_weights(WeightFolder(folder));
}

// The contents are the pickle; the archive and two storages of six numbers are put around it.
void read_pickle(const std::string& folder, const std::string& contents) {
  const std::string six = floats({0, 1, 2, 3, 4, 5});
  read_torch_file(folder, torch_file(contents, {six, six}));
}

std::string pickle_example() {
  return pickle_of(dict_of({{"dense", pickled_tensor(pickled_storage("0", 6), 0, {2, 3}, {3, 1})},
                            {"transposed", pickled_tensor(pickled_storage("0", 6), 0, {3, 2}, {1, 3})},
                            {"other", pickled_tensor(pickled_storage("1", 6), 1, {5}, {1})}}));
}

// The contents are the index of two files.
void read_weight_index(const std::string& folder, const std::string& contents) {
  put(folder, "model.safetensors.index.json", contents);
  for (const char* name : {"a", "b"}) {
    const float value = 1;
    const std::vector<SafetensorsItem> items = {
        {name, "F32", {1}, [&] { return std::as_bytes(std::span(&value, 1)); }}};
    write_safetensors(fs::path(folder) / (std::string(name) + ".safetensors"), items);
  }
  use_weights(WeightFolder(folder));
}

constexpr const char* header_example =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]},)"
    R"("b":{"dtype":"BF16","shape":[16],"data_offsets":[32,64]}})";

constexpr const char* chat_template_example =
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content | trim }}{% "
    "endgeneration %}"
    "{% else %}<{{ m.role }}>{{ m['content'][:5] ~ loop.index }}{% endif %}{% endfor %}";
constexpr const char* chat_example =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}, {\"role\": \"assistant\", \"content\": "
    "\"Yes.\", \"weight\": 1}], \"tools\": [{\"name\": \"f\"}]}\n";

void read_data(const std::string& folder, const std::string& file, const std::string& contents,
               DataSource source) {
  source.path = put(folder, file, contents);
  const auto dataset = open_dataset({source}, *byte_tokenizer(), folder + "/cache", {"data.train"});
  must(dataset->token_count() >= dataset->pair_count(), "more pairs than tokens");
}

void read_chat(const std::string& folder, const std::string& contents) {
  DataSource source;
  source.format = "chat";
  source.chat_template = put(folder, "t.jinja", chat_template_example);
  read_data(folder, "talk.jsonl", contents, source);
}

void read_chat_template(const std::string& folder, const std::string& contents) {
  DataSource source;
  source.format = "chat";
  source.chat_template = put(folder, "t.jinja", contents);
  read_data(folder, "talk.jsonl", chat_example, source);
}

void read_tokens(const std::string& folder, const std::string& contents) {
  DataSource source;
  source.format = "tokens";
  source.labels = "labels";
  read_data(folder, "ids.jsonl", contents, source);
}

void read_jsonl(const std::string& folder, const std::string& contents) {
  DataSource source;
  source.format = "jsonl";
  source.prompt = "question";
  source.completion = "answer";
  read_data(folder, "chat.jsonl", contents, source);
}

void read_text(const std::string& folder, const std::string& contents) {
  read_data(folder, "a.txt", contents, {});
}

void read_schedule(const std::string& folder, const std::string& contents) {
  const schedule::Schedule made = schedule::read_schedule_file(put(folder, "s.csv", contents));
  must(made.ranks > 0 && made.stages > 0, "a schedule of nothing was accepted");
}

// One checkpoint, kept for all that damage it.
const std::string& some_checkpoint() {
  static const std::string folder = [] {
    std::string name = (fs::temp_directory_path() / "collie-hostile-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    std::atexit([] { fs::remove_all(some_checkpoint()); });
    const auto account = std::make_shared<MemoryAccount>();
    Tensor data = Tensor::host({4, 6}, DType::f32, account, Category::workspace);
    std::iota(data.data<float>(), data.data<float>() + 24, 0.0f);
    CheckpointFolderSink sink({name, std::string(32, 'a')});
    write_checkpoint(sink, 3, {{"position", 12}, {"maths", {{"run", {{"seed", 42}}}}}},
                     {{{"w", "weight", {8, 6}, {0, 0}, data}}, {{"w", "weight", {8, 6}, {4, 0}, data}}});
    return name;
  }();
  return folder;
}

const std::string manifest_file = "step-00000003/manifest.json";

void read_manifest_of_checkpoint(const std::string& folder, const std::string& contents) {
  fs::copy(some_checkpoint(), folder, fs::copy_options::recursive);
  put(folder, manifest_file, contents);
  const auto checkpoint = latest_checkpoint(folder);
  if (!checkpoint) throw UserError("there is no checkpoint");
}

// What a manifest says, without its hash: damage that is older than the hash.
std::string manifest_without_hash() {
  const std::string file = some_checkpoint() + "/" + manifest_file;
  nlohmann::json manifest = unseal(read_text_file(file), file);
  manifest.erase("sha256");
  return manifest.dump(1);
}

void read_manifest_sealed_anew(const std::string& folder, const std::string& contents) {
  const nlohmann::json manifest = parse_json_object(contents, "the manifest");
  if (manifest.empty() || manifest.contains("sha256"))
    throw UserError("this is no manifest without its hash");
  read_manifest_of_checkpoint(folder, seal(manifest));
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
      {"config.yaml", config_example, read_config},
      {"--set", "model.config={hidden_size: 64, rope_parameters: {rope_theta: 1.0e+4}, layer_types: [a, b]}",
       read_setting},
      {"config.json", golden_text("llama_untied/config.json"), read_model_config},
      {"tokenizer.json", golden_text("tokenizer_tiny/tokenizer.json"), read_tokenizer},
      {"tokenizer.json, bytes", golden_text("byte_tokenizer/tokenizer.json"), read_tokenizer},
      {"tokenizer.json, unigram", component("unigram_charsmap"), read_tokenizer},
      {"tokenizer.json, words", component("bert"), read_tokenizer},
      {"tokenizer.json, regular expression", component("gpt4"), read_tokenizer},
      {"tokenizer.json, suffixes", component("clip"), read_tokenizer},
      {"tokenizer.model", sentencepiece_model(), read_tokenizer_model},
      {"tokenizer_config.json", golden_text("byte_tokenizer/tokenizer_config.json"), read_tokenizer_config},
      {"safetensors", golden_text("llama_tied/model.safetensors"), read_safetensors},
      {"safetensors, header", header_example, read_safetensors_header},
      {"pytorch_model.bin", golden_text("weights/tensors.bin"), read_torch_file},
      {"pytorch_model.bin, pickle", pickle_example(), read_pickle},
      {"index of weights",
       R"({"metadata": {"total_size": 8}, "weight_map": {"a": "a.safetensors", "b": "b.safetensors"}})",
       read_weight_index},
      {"jsonl",
       "{\"question\": \"What?\", \"answer\": \"That: \\u00e9.\"}\n\n{\"answer\": \"4\", \"question\": "
       "\"2\", "
       "\"n\": [1, {}]}\n",
       read_jsonl},
      {"chat", chat_example, read_chat},
      {"chat template", chat_template_example, read_chat_template},
      {"tokens",
       "{\"tokens\": [1, 2, 257], \"labels\": [-100, 2, 257]}\n{\"tokens\": [3], \"labels\": [3]}\n",
       read_tokens},
      {"text", "A text.\nWith two lines and caf\xc3\xa9.\n", read_text},
      {"schedule", golden_text("schedule_dualpipe_v_2_4.csv"), read_schedule},
      {"schedule, lists", golden_text("schedule_engine_1f1b_4_6_split_communication.csv"), read_schedule},
      {"checkpoint manifest", read_text_file(some_checkpoint() + "/" + manifest_file),
       read_manifest_of_checkpoint},
      {"checkpoint manifest, sealed anew", manifest_without_hash(), read_manifest_sealed_anew},
      {"metrics.jsonl", "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":null}\n{\"step\":3}\n",
       read_metrics},
      {"metrics.csv", "step,loss,note\n1,2.5,\"a, \"\"b\"\"\n\"\n2,,\n3,2.5,\n", read_table},
      {"token cache", token_cache_example(), read_token_cache},
  };
  return all;
}

}  // namespace collie::test
