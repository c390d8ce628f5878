// What the user got wrong is refused with exit code 2, one message that says what and where, and nothing on
// standard output; nothing is left that would be in the way of the corrected command.
#include <fmt/format.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/cli/workbench.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

using Parts = std::vector<std::string>;

void check_usage(const Outcome& outcome, const Parts& parts) {
  INFO(outcome.report());
  CHECK(outcome.code == 2);
  CHECK(outcome.output.empty());
  for (const auto& part : parts) CHECK(has(outcome.errors, part));
}

void check_run_refused(const Workbench& bench, const Settings& settings, const Parts& parts) {
  INFO("settings " << fmt::format("{}", settings.empty() ? "none" : settings.front()));
  check_refused(bench.run("run", settings), 2, parts);
  CHECK_FALSE(fs::exists(bench / "run/config.resolved.yaml"));  // or the corrected command would be refused
}

// A model as a user has one: the result of a run of one step.
const Workbench& with_model() {
  static const Workbench bench;
  static const bool trained = (bench.train("made", {"train.steps=1"}), true);
  static_cast<void>(trained);
  return bench;
}

// A copy of that model whose `file` is what `change` makes of it; the message must have `parts`, from
// whatever command.
template <class Change>
void check_model_refused(const std::string& file, Change change, const Parts& parts) {
  const Workbench& bench = with_model();
  fs::remove_all(bench / "model");
  bench.copy("made/final", "model");
  bench.write("model/" + file, change(text_of(bench / ("model/" + file))));
  check_refused(bench.command({"generate", "--model", "model", "--prompt", "a"}), 2, parts);
  check_run_refused(bench, from_model("model"), parts);
}

// The header of a safetensors file, changed; the data stay.
template <class Change>
std::string with_header(const std::string& file, Change change) {
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  json header = json::parse(file.substr(8, length));
  change(header);
  const std::string text = header.dump();
  const uint64_t new_length = text.size();
  return std::string(reinterpret_cast<const char*>(&new_length), 8) + text + file.substr(8 + length);
}

template <class Change>
std::string with_json(const std::string& text, Change change) {
  json object = json::parse(text);
  change(object);
  return object.dump();
}

constexpr const char* some_norm = "model.layers.1.input_layernorm.weight";

}  // namespace

TEST_CASE("a command line that cannot be understood is refused") {
  const Workbench bench;
  check_usage(bench.command({}), {"subcommand", "--help"});
  check_usage(bench.command({"train", "config.yaml"}), {"unknown sub-command 'train'", "run"});
  check_usage(bench.command({"run"}), {"config"});
  check_usage(bench.command({"run", "config.yaml", "--steps", "3"}), {"--steps"});
  check_usage(bench.command({"run", "config.yaml", "--resume", "--overwrite"}), {"--resume", "--overwrite"});
  check_usage(bench.command({"run", "config.yaml", "--overwrite=all"}),
              {"--overwrite=all", "--overwrite=delete"});
  check_usage(bench.command({"run", "config.yaml", "--resume", "10"}), {"--resume 10", "--resume=10"});
  check_usage(bench.command({"run", "--resume", "best", "config.yaml"}), {"--resume best", "--resume=best"});
  check_usage(bench.command({"run", "config.yaml", "--overwrite", "delete"}), {"--overwrite=delete"});
  check_usage(bench.command({"run", "config.yaml", "other.yaml"}), {"other.yaml", "one file"});
  check_usage(bench.command({"generate", "--prompt", "a"}), {"--model"});
  check_usage(bench.command({"generate", "--model", "m", "--prompt", "a", "--top-k", "many"}),
              {"--top-k", "many"});
}

TEST_CASE("a --set that is no setting is refused") {
  const Workbench bench;
  check_refused(bench.run("run", {"train.steps"}), 2, {"train.steps", "="});
  check_refused(bench.run("run", {"=3"}), 2, {"=3"});
  check_refused(bench.run("run", {"train.steps=[1"}), 2, {"train.steps"});
}

TEST_CASE("a configuration that cannot be read is refused with file and line") {
  const Workbench bench;
  const auto run = [&](const std::string& text) {
    bench.write("bad.yaml", text);
    return bench.command({"run", "bad.yaml"});
  };
  check_refused(bench.command({"run", "nowhere.yaml"}), 2, {"nowhere.yaml", "No such file"});
  check_refused(run("train:\n  stepz: 4\n"), 2,
                {"bad.yaml:2", "train.stepz", "nearest valid key is train.steps"});
  check_refused(run("train: {steps: 3}\noptimiser: {lr: 1}\n"), 2, {"bad.yaml:2", "optimiser", "optimizer"});
  check_refused(run("train:\n  steps: soon\n"), 2, {"bad.yaml:2", "train.steps", "soon"});
  check_refused(run("train:\n  steps: 4.5\n"), 2, {"bad.yaml:2", "train.steps", "4.5"});
  check_refused(run("train: {steps: 3\n"), 2, {"bad.yaml"});
  check_refused(run("run: {dir: r}\n"), 2, {"bad.yaml", "run.name"});
}

TEST_CASE(
    "a GPU that is not there is refused with what was looked for, and auto says that it takes the CPU") {
  const Workbench bench;
  CommandOptions options = bench.options();
  options.environment["CUDA_VISIBLE_DEVICES"] = "";
  const auto run = [&](const std::string& kind) {
    const Settings settings = {"train.steps=1", "device.kind=" + kind};
    return Command(bench.run_arguments("on_" + kind, settings), options).wait();
  };
  check_refused(run("cuda"), 2, {"device.kind", "no GPU can be used", "'cpu' is right here"});
  const Outcome automatic = run("auto");
  REQUIRE_CODE(automatic, 0);
  INFO(automatic.report());
  CHECK(has(automatic.errors, "computes on the CPU, as no GPU can be used"));
}

TEST_CASE("a way of multiplying in bfloat16 that there is not is refused") {
  const Workbench bench;
  CommandOptions options = bench.options();
  options.environment["COLLIE_ENGINE_BFLOAT16_PRODUCTS"] = "fast";
  const Settings settings = {"train.steps=1", "device.kind=cpu", "model.dtype=bfloat16"};
  check_refused(Command(bench.run_arguments("run", settings), options).wait(), 2,
                {"COLLIE_ENGINE_BFLOAT16_PRODUCTS", "fast", "native", "from_floats"});
}

TEST_CASE("settings that cannot work are refused before anything is written") {
  const Workbench bench;
  check_run_refused(bench, {"data.train=[{path: 'texts/*.md'}]"}, {"texts/*.md", "no file matches"});
  check_run_refused(bench, {"data.eval=[{path: nowhere.txt}]"}, {"nowhere.txt"});
  check_run_refused(bench, {"data.sequence_length=65"}, {"data.sequence_length", "65", "64"});
  check_run_refused(bench, {"parallel.pp_size=5"}, {"parallel.pp_size", "5 stages", "4 blocks"});
  check_run_refused(bench, {"parallel.partition=[1, 2]"}, {"parallel.partition", "3", "4"});
  check_run_refused(bench, {"optimizer.name=sgdd"}, {"optimizer.name", "sgdd", "adamw"});
  check_run_refused(bench, {"optimizer.grad_dtype=bfloat16"},
                    {"optimizer.grad_dtype", "model.dtype", "float32"});
  check_run_refused(
      bench, {"optimizer.rounding=stochastic"},
      {"optimizer.rounding", "stochastic", "model.dtype", "optimizer.master", "optimizer.state_dtype"});
  check_run_refused(bench, {"optimizer.state_dtype=float16"},
                    {"optimizer.state_dtype", "float16", "bfloat16"});
  check_run_refused(bench, {"optimizer.name=adamw_schedule_free", "optimizer.betas=[0, 0.9]"},
                    {"optimizer.betas", "0", "above 0"});
  check_run_refused(bench, {"train.loss=mse"}, {"mse", "cross_entropy"});
  check_run_refused(bench, {"callbacks=[confetti]"}, {"callback", "confetti"});
  check_run_refused(bench, {"lr_scheduler.name=staircase"}, {"lr_scheduler.name", "staircase", "cosine"});
  check_run_refused(bench, {"lr_scheduler.power=2.0"},
                    {"--set lr_scheduler.power", "cosine", "warmup_steps, warmup_ratio, min_lr_ratio"});
  check_run_refused(bench, {"lr_scheduler.warmup_ratio=0.1"},
                    {"lr_scheduler.warmup_ratio", "beside warmup_steps"});
  check_run_refused(bench, {"optimizer.groups=[{match: [model.norm.wieght], weight_decay: 0.0}]"},
                    {"--set optimizer.groups", "model.norm.wieght", "model.norm.weight"});
  check_run_refused(bench, {"parallel.schedule=2f2b"}, {"parallel.schedule", "2f2b", "1f1b"});
  check_run_refused(bench, {"parallel.schedule=nowhere.csv"}, {"nowhere.csv"});
  check_run_refused(bench, {"model.config.vocab_size=100"}, {"vocab_size", "100", "258"});
  check_run_refused(bench, {"model.config.sliding_window=16"}, {"sliding_window", "16"});
  check_run_refused(bench, {"model.config.model_type=mamba"}, {"model_type", "mamba"});
  check_run_refused(bench, {"model.config.hiden_size=32"},
                    {"--set model.config.hiden_size", "nearest key", "hidden_size"});
  check_run_refused(bench, {"tokenizer.kind=auto"}, {"tokenizer"});
}

TEST_CASE("sizes that nothing could be are refused by their key before anything is made of them") {
  const Workbench bench;
  check_run_refused(bench, {"model.config.num_hidden_layers=1000000000"},
                    {"--set model.config.num_hidden_layers", "1000000000", "16384"});
  check_run_refused(bench, {"model.config.vocab_size=1000000000000"}, {"vocab_size", "16777216"});
  check_run_refused(bench, {"parallel.dp_size=1000000000"}, {"parallel.dp_size", "16384"});
  check_run_refused(bench, {"train.gradient_accumulation_steps=2147483648"},
                    {"train.gradient_accumulation_steps", "1048576"});
  check_run_refused(bench, {"data.sequence_length=1099511627776"}, {"data.sequence_length", "2147483647"});
  check_run_refused(bench, {"run.stall_timeout_s=1e300"}, {"run.stall_timeout_s", "1000000000"});
  check_usage(bench.command({"schedule", "--stages", "1000000000", "--microbatches", "4"}),
              {"--stages", "1000000000", "16384"});
  check_usage(bench.command({"schedule", "--stages", "16384", "--microbatches", "1048576"}), {"too large"});
}

TEST_CASE("data that cannot be read are refused with file and line") {
  const Workbench bench;
  const auto lines = [&](const std::string& text, const Parts& parts) {
    bench.write("chat.jsonl", text);
    check_run_refused(bench, {}, parts);
  };
  lines("{\"question\": \"a\", \"answer\": \"b\"}\n{\"question\": \"a\", \"answer\"\n", {"chat.jsonl:2"});
  lines("{\"question\": \"a\", \"reply\": \"b\"}\n", {"chat.jsonl:1", "answer", "reply"});
  lines("{\"question\": \"a\", \"answer\": 4}\n", {"chat.jsonl:1", "answer", "number"});
  lines("[1, 2]\n", {"chat.jsonl:1"});
  bench.write("empty.txt", "");
  bench.write("nothing.jsonl", "\n\n");
  check_run_refused(bench, {"data.train=[{path: nothing.jsonl, format: jsonl, text: t}]"},
                    {"data.train", "nothing to learn"});
  bench.write("bytes.txt", "caf\xe9");
  check_run_refused(bench, {"data.train=[{path: bytes.txt}]"}, {"bytes.txt", "UTF-8", "byte 3"});
}

TEST_CASE("a folder that already holds a run is refused, and left as it is") {
  const Workbench& bench = with_model();
  const auto before = bench.everything("made");
  check_refused(bench.run("made", {"train.steps=1"}), 2,
                {"'made' already holds a run", "--resume", "--overwrite"});
  CHECK_UNCHANGED(before, bench.everything("made"));
}

TEST_CASE("a model folder that is not there, or not whole, is refused") {
  const Workbench& bench = with_model();
  check_refused(bench.command({"generate", "--model", "nowhere", "--prompt", "a"}), 2, {"nowhere"});
  check_run_refused(bench, from_model("nowhere"), {"nowhere"});
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.json"}) {
    CAPTURE(file);
    fs::remove_all(bench / "model");
    bench.copy("made/final", "model");
    fs::remove(bench / (std::string("model/") + file));
    check_refused(bench.command({"generate", "--model", "model", "--prompt", "a"}), 2, {file});
    check_run_refused(bench, from_model("model"), {file});
  }
}

TEST_CASE("a damaged model.safetensors is refused with the file and the tensor") {
  const std::string name = "model.safetensors";
  const auto cut = [](const std::string& file) { return file.substr(0, file.size() - 100); };
  check_model_refused(name, cut, {name});
  check_model_refused(name, [](const std::string&) { return std::string("{}"); }, {name});
  check_model_refused(name, [](const std::string& file) { return std::string(8, '\x7f') + file.substr(8); },
                      {name, "header"});
  const auto lie = [](const std::string& file) {
    return with_header(file, [](json& header) { header[some_norm]["data_offsets"] = {0, 4'000'000'000}; });
  };
  check_model_refused(name, lie, {name, some_norm});
  const auto drop = [](const std::string& file) {
    return with_header(file, [](json& header) {
      header["unused"] = header[some_norm];
      header.erase(some_norm);
    });
  };
  check_model_refused(name, drop, {name, some_norm, "missing"});
  const auto reshape = [](const std::string& file) {
    return with_header(file, [](json& header) { header[some_norm]["shape"] = {4, 8}; });
  };
  check_model_refused(name, reshape, {name, some_norm, "[4, 8]", "32"});
  const auto integers = [](const std::string& file) {
    return with_header(file, [](json& header) { header[some_norm]["dtype"] = "I32"; });
  };
  check_model_refused(name, integers, {name, some_norm, "I32"});
}

TEST_CASE("a config.json that the engine cannot follow is refused by the key") {
  const auto with = [](const char* key, const json& value) {
    return
        [=](const std::string& text) { return with_json(text, [&](json& config) { config[key] = value; }); };
  };
  check_model_refused("config.json", with("sliding_window", 4096), {"config.json", "sliding_window", "4096"});
  check_model_refused("config.json", with("rope_scaling", {{"rope_type", "ntk"}, {"factor", 4.0}}),
                      {"config.json", "ntk", "yarn"});
  check_model_refused("config.json", with("hidden_act", "tanh"), {"config.json", "hidden_act", "tanh"});
  check_model_refused("config.json", with("model_type", "mixtral"), {"config.json", "mixtral"});
  check_model_refused("config.json", with("num_hidden_layers", -1),
                      {"config.json", "num_hidden_layers", "-1"});
  check_model_refused("config.json", with("vocab_size", 100), {"config.json", "vocab_size", "100", "258"});
  const auto broken = [](const std::string& text) { return text.substr(0, text.size() / 2); };
  check_model_refused("config.json", broken, {"config.json"});
}

TEST_CASE("nesting without end in a model's files is refused") {
  const auto deep = [](std::string text) {
    const std::string brackets = std::string(100000, '[') + std::string(100000, ']');
    return text.insert(1, "\"deep\": " + brackets + ", ");
  };
  for (const char* file : {"config.json", "tokenizer.json", "generation_config.json"})
    check_model_refused(file, deep, {file, "more than 100 lists"});
  const auto header = [](const std::string&) {
    const std::string text = "{\"a\": {\"dtype\": \"F32\", \"shape\": " + std::string(200000, '[') + "}}";
    const uint64_t length = text.size();
    return std::string(reinterpret_cast<const char*>(&length), 8) + text;
  };
  check_model_refused("model.safetensors", header, {"model.safetensors", "more than 100 lists"});
}

TEST_CASE("a broken tokenizer.json is refused") {
  const auto broken = [](const std::string& text) { return text.substr(0, text.size() / 2); };
  check_model_refused("tokenizer.json", broken, {"tokenizer.json"});
  const auto other = [](const std::string& text) {
    return with_json(text, [](json& tokenizer) { tokenizer["model"]["type"] = "Teapot"; });
  };
  check_model_refused("tokenizer.json", other, {"tokenizer.json", "Teapot"});
  const auto empty = [](const std::string&) { return std::string("{}"); };
  check_model_refused("tokenizer.json", empty, {"tokenizer.json"});
}

TEST_CASE("options of generate that cannot work are refused") {
  const Workbench& bench = with_model();
  const auto refused = [&](const std::vector<std::string>& more, const Parts& parts) {
    std::vector<std::string> arguments = {"generate", "--model", "made/final", "--prompt", "a"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    check_refused(bench.command(arguments), 2, parts);
  };
  refused({"--max-new-tokens", "0"}, {"--max-new-tokens", "0"});
  refused({"--temperature", "-1"}, {"--temperature", "-1"});
  refused({"--top-p", "1.5"}, {"--top-p", "1.5"});
  refused({"--top-k", "-2"}, {"--top-k", "-2"});
  refused({"--top-k", "99999999999999999999"}, {"--top-k", "16777216"});
  refused({"--max-new-tokens", "1000000000000"}, {"--max-new-tokens", "16777216"});
  refused({"--max-new-tokens", "1e3"}, {"--max-new-tokens", "whole number"});
  refused({"--temperature", "nan"}, {"--temperature", "nan"});
  refused({"--seed", "-1"}, {"--seed", "-1", "18446744073709551615"});
  refused({"--seed", "18446744073709551616"}, {"--seed", "18446744073709551615"});
  refused({"--set", "parallel.pp_size=9"}, {"parallel.pp_size", "9"});
  check_refused(bench.command({"generate", "--model", "made/final", "--prompt", std::string(70, 'a')}), 2,
                {"--prompt", "64"});
}

TEST_CASE("eval of what is not there is refused") {
  const Workbench bench;
  check_refused(bench.command({"eval", "config.yaml", "--set", "run.dir=run"}), 2, {"run/checkpoints"});
  check_refused(bench.command({"eval", "config.yaml"}), 2, {"run.dir"});
  check_refused(bench.command({"eval", "config.yaml", "--set", "run.dir=run", "--set", "data.eval=[]"}), 2,
                {"data.eval"});
}

}  // namespace collie::test
