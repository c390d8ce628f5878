#include "tests/cli/workbench.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace collie::test {

namespace fs = std::filesystem;

namespace {

constexpr const char* configuration = R"(run: {name: cli, seed: 7}
model:
  from_scratch: true
  config: {model_type: llama, hidden_size: 32, intermediate_size: 80, num_hidden_layers: 4, num_attention_heads: 4,
           num_key_value_heads: 2, max_position_embeddings: 64, tie_word_embeddings: true}
tokenizer: {kind: byte}
data:
  train: [{path: "texts/*.txt"}, {path: chat.jsonl, format: jsonl, prompt: question, completion: answer}]
  eval: [{path: held_out.txt}]
  sequence_length: 32
  packing: true
train: {steps: 12, micro_batch_size: 2, gradient_accumulation_steps: 3, clip_grad_norm: 0.25}
parallel: {pp_size: 2}
optimizer: {lr: 3.0e-3}
lr_scheduler: {warmup_steps: 4}
eval: {every_n_steps: 4}
checkpoint: {every_n_steps: 3}
monitor: {tensorboard: false, csv: false, console: none}
device: {threads: 2}
)";

// The same on every machine.
class Words {
 public:
  explicit Words(uint64_t seed) : state_(seed) {}
  std::string next(size_t count) {
    static const std::vector<std::string> words = {"the",   "dog",  "herds", "sheep", "over", "hills",
                                                   "café",  "in",   "rain",  "and",   "wind", "a",
                                                   "quick", "turn", "7",     "then"};
    std::string text;
    for (size_t i = 0; i < count; ++i) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      text += (i ? " " : "") + words[(state_ >> 33) % words.size()];
    }
    return text;
  }

 private:
  uint64_t state_;
};

void write_data(const Workbench& bench) {
  Words words(1);
  bench.write("texts/a.txt", words.next(60) + ".\n");
  bench.write("texts/b.txt", words.next(100) + ".\n");
  bench.write("texts/c.txt", words.next(3));
  bench.write("held_out.txt", words.next(80) + ".\n");
  std::string lines;
  for (size_t i = 0; i < 10; ++i)  // some shorter than a sequence, some longer
    lines +=
        nlohmann::json{{"question", words.next(1 + i % 4)}, {"answer", words.next(1 + (i * 5) % 9)}}.dump() +
        "\n";
  bench.write("chat.jsonl", lines);
}

// The text of a number or word of a JSON line; empty where the key is not there.
std::string value_text(const std::string& line, const std::string& key) {
  const std::string name = "\"" + key + "\":";
  const size_t begin = line.find(name);
  if (begin == std::string::npos) return "";
  return line.substr(begin + name.size(), line.find_first_of(",}", begin) - begin - name.size());
}

std::string describe(const std::map<std::string, std::string>& step) {
  std::string text;
  for (const auto& [key, value] : step) text += fmt::format(" {}={}", key, value);
  return text;
}

}  // namespace

Settings operator+(Settings all, const Settings& more) {
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::string first_difference(const Training& expected, const Training& found) {
  for (size_t i = 0; i < std::min(expected.steps.size(), found.steps.size()); ++i)
    if (expected.steps[i] != found.steps[i])
      return fmt::format("line {} of metrics.jsonl:\n  expected{}\n  found   {}", i + 1,
                         describe(expected.steps[i]), describe(found.steps[i]));
  if (expected.steps.size() != found.steps.size())
    return fmt::format("{} lines in metrics.jsonl, expected {}", found.steps.size(), expected.steps.size());
  if (expected.weights.size() != found.weights.size())
    return fmt::format("final/model.safetensors has {} bytes, expected {}", found.weights.size(),
                       expected.weights.size());
  const auto [at, other] =
      std::mismatch(expected.weights.begin(), expected.weights.end(), found.weights.begin());
  if (at == expected.weights.end()) return "";
  return fmt::format("byte {} of {} of final/model.safetensors", at - expected.weights.begin(),
                     expected.weights.size());
}

Workbench::Workbench() {
  const std::string memory = "/dev/shm";
  const std::string parent =
      ::access(memory.c_str(), W_OK) == 0 ? memory : fs::temp_directory_path().string();
  folder_ = parent + "/collie-cli-XXXXXX";
  if (::mkdtemp(folder_.data()) == nullptr) throw std::runtime_error("mkdtemp failed for " + folder_);
  write("config.yaml", configuration);
  write_data(*this);
}

Workbench::~Workbench() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

std::string Workbench::write(const std::string& name, const std::string& text) const {
  const fs::path file = *this / name;
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
  return file.string();
}

std::vector<std::string> Workbench::run_arguments(const std::string& dir, const Settings& settings,
                                                  const std::vector<std::string>& flags) const {
  std::vector<std::string> arguments = {"run", "config.yaml", "--set", "run.dir=" + dir};
  for (const auto& setting : settings) {
    arguments.push_back("--set");
    arguments.push_back(setting);
  }
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return arguments;
}

CommandOptions Workbench::options(const std::string& failpoint) const {
  CommandOptions options;
  options.working_directory = folder_;
  if (!failpoint.empty()) options.environment["COLLIE_ENGINE_FAILPOINT"] = failpoint;
  return options;
}

Outcome Workbench::run(const std::string& dir, const Settings& settings,
                       const std::vector<std::string>& flags, const std::string& failpoint) const {
  return run_command(run_arguments(dir, settings, flags), options(failpoint));
}

Training Workbench::training(const std::string& dir) const {
  Training training;
  std::istringstream lines(text_of(*this / (dir + "/metrics.jsonl")));
  for (std::string line; std::getline(lines, line);) {
    auto& step = training.steps.emplace_back();
    for (const char* key : {"step", "epoch", "loss", "lr", "grad_norm", "tokens", "eval_loss"})
      if (const std::string value = value_text(line, key); !value.empty()) step[key] = value;
  }
  training.weights = text_of(*this / (dir + "/final/model.safetensors"));
  return training;
}

Training Workbench::train(const std::string& dir, const Settings& settings) const {
  const Outcome outcome = run(dir, settings);
  REQUIRE_CODE(outcome, 0);
  Training left = training(dir);
  REQUIRE_FALSE(left.steps.empty());
  REQUIRE_FALSE(left.weights.empty());
  return left;
}

int64_t Workbench::steps_done(const std::string& dir) const {
  const std::string text = text_of(*this / (dir + "/metrics.jsonl"));
  return std::count(text.begin(), text.end(), '\n');
}

std::vector<std::string> Workbench::checkpoints(const std::string& dir) const {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(*this / (dir + "/checkpoints"), ignored))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::map<std::string, std::string> Workbench::everything(const std::string& dir) const {
  std::map<std::string, std::string> all;
  for (const auto& entry : fs::recursive_directory_iterator(*this / dir))
    all[entry.path().string()] = fmt::format("{} ", entry.last_write_time().time_since_epoch().count()) +
                                 (entry.is_regular_file() ? text_of(entry.path().string()) : "");
  return all;
}

void Workbench::copy(const std::string& from, const std::string& to) const {
  fs::copy(*this / from, *this / to, fs::copy_options::recursive);
}

std::string first_change(const std::map<std::string, std::string>& before,
                         const std::map<std::string, std::string>& now) {
  for (const auto& [file, contents] : before)
    if (now.count(file) == 0 || now.at(file) != contents)
      return file + (now.count(file) ? " was changed" : " is gone");
  for (const auto& [file, contents] : now)
    if (before.count(file) == 0) return file + " is new";
  return "";
}

void check_refused(const Outcome& outcome, int code, const std::vector<std::string>& parts) {
  INFO(outcome.report());
  CHECK(outcome.code == code);
  CHECK(outcome.output.empty());
  CHECK_FALSE(outcome.left_processes);
  const std::string mark = "error: ";
  const size_t first = outcome.errors.find(mark);
  REQUIRE(first != std::string::npos);
  CHECK(outcome.errors.find(mark, first + 1) == std::string::npos);
  const std::string message = outcome.errors.substr(first);
  for (const auto& part : parts) {
    INFO("the message lacks: " << part);
    CHECK(has(message, part));
  }
}

}  // namespace collie::test
