// What a configuration says once it is read, and that writing it gives it back.
#include <limits>

#include "base/error.hpp"
#include "io/config.hpp"
#include "io/config_schema.hpp"
#include "io/config_tree.hpp"
#include "io/learning_rate_options.hpp"
#include "io/optimizer_options.hpp"
#include "kernels/update_rule.hpp"
#include "tests/catch.hpp"
#include "tests/io/scratch_folder.hpp"

using namespace collie;
using collie::test::ScratchFolder;

namespace {

Config load(const std::string& yaml, const std::vector<std::string>& settings = {}) {
  const ScratchFolder folder;
  std::vector<std::string> warnings;
  return load_config(folder.write("c.yaml", yaml), settings, warnings);
}

std::vector<std::string> warnings_of(const std::string& yaml) {
  const ScratchFolder folder;
  std::vector<std::string> warnings;
  load_config(folder.write("c.yaml", yaml), {}, warnings);
  return warnings;
}

// The block of the design document, section 5.
constexpr const char* kDesign = R"(
run:        {name: quickstart, dir: runs/quickstart, seed: 42, stall_timeout_s: 600}
model:      {path: DIR, from_scratch: false, config: {}, resize_vocabulary: 0, dtype: float32, save_dtype: auto, recompute: none, frozen: [], dropout: 0.0}
            # config: Hugging Face config.json keys; dtype: float32 | bfloat16, what is stored and computed in
tokenizer:  {path: DIR, kind: auto}           # auto | byte; default: the model's folder
data:
  train:    [{path: "glob", format: text, weight: 1.0}]
  eval:     [{path: "glob", format: text}]
  sequence_length: 256
  packing: auto
  too_long: cut
  max_bad_lines: 0
  shuffle: true
train:      {steps: 200, epochs: null, micro_batch_size: 4, gradient_accumulation_steps: 4, clip_grad_norm: 1.0, clip_grad_norm_mode: exact, clip_grad_value: 0, trainable: [], loss: cross_entropy}
parallel:   {dp_size: 1, tp_size: 1, pp_size: 2, cp_size: 1, sequence_parallel: false, zero_stage: 0, offload: none,
             bucket_elements: 4194304, schedule: 1f1b, virtual_stages: 1, partition: parameters}
optimizer:  {name: adamw, lr: 3.0e-4, betas: [0.9, 0.95], eps: 1.0e-8, weight_decay: 0.1, master: true, fused_update: false, grad_dtype: float32, state_dtype: float32, rounding: nearest, decay_norms_and_biases: false, groups: []}
lr_scheduler: {name: cosine, warmup_steps: 20, warmup_ratio: null, min_lr_ratio: 0.1}
peft:       {type: none, path: null, r: 8, lora_alpha: 8, lora_dropout: 0, target_modules: [], rank_pattern: {}, alpha_pattern: {},
             layers_to_transform: [], feedforward_modules: [], modules_to_save: [], bias: none, use_rslora: false, use_dora: false, init_lora_weights: true,
             adapter_config: seq_bn, reduction_factor: 0, scaling: 0, non_linearity: auto, loraplus_lr_ratio: 1,
             init_r: 12, target_r: 8, tinit: 0, tfinal: 0, deltaT: 1, beta1: 0.85, beta2: 0.85, orth_reg_weight: 0.5,
             total_step: null,
             num_virtual_tokens: null, prompt_tuning_init: RANDOM, prompt_tuning_init_text: null,
             encoder_reparameterization_type: MLP, encoder_hidden_size: null, encoder_num_layers: 2, encoder_dropout: 0,
             prefix_projection: false}
quantization: {kind: none, double_quant: true, block_size: 64, compute_dtype: auto, skip: [lm_head]}
eval:       {every_n_steps: 50, every_n_epochs: 0, at_start: false, at_end: true, sets: []}
checkpoint: {every_n_steps: 100, every_n_epochs: 0, every_n_minutes: 0.0, keep_last: 2, keep_every: 0, max_shard_size: 50GB, keep_best: 0, best_metric: eval_loss, best_mode: auto}
monitor:    {console: auto, tensorboard: true, csv: true, trace: false, summary: true, prometheus: null, prometheus_open: false, peak_flops: 0,
             measure_peak: false}
callbacks:  []
plugins:    []
cluster:    {nodes: [], trusted_network: false, secret_file: null, tls: {certificate: null, key: null, ca: null}}
device:     {kind: auto, threads: 0, graphs: off}
)";

// A value other than the default for every key that has more than one yet.
Config everything_changed() {
  Config c;
  c.run = {"a name: with #signs", "runs/\"x\" \n\t\xc3\xa9", std::numeric_limits<uint64_t>::max(), 1.5};
  c.model.path = "models/llama";
  c.model.from_scratch = true;
  c.model.config =
      nlohmann::json::parse(R"({"architectures": ["LlamaForCausalLM"], "rope_theta": 1e6, "hidden_size": 64,
      "rms_norm_eps": 1e-06, "tie_word_embeddings": false, "pad_token_id": null, "rope_scaling": {"type": "yes", "": 1},
      "big": 18446744073709551615, "low": -9223372036854775808, "text": "3e-4", "<<": {"1": "null", "a b": []}})");
  c.tokenizer = {"~/tokenizer", "byte"};
  c.data.train.resize(3);
  c.data.train[0].path = "data/*.txt";
  c.data.train[1].path = "[ab]";
  c.data.train[1].format = "jsonl";
  c.data.train[1].text = "true";
  c.data.train[2].path = "talk";
  c.data.train[2].format = "chat";
  c.data.train[2].messages = "conversation";
  c.data.train[2].add_eos = "true";
  c.data.eval.resize(1);
  c.data.eval[0].path = "- x";
  c.data.eval[0].format = "jsonl";
  c.data.eval[0].prompt = "the question";
  c.data.eval[0].completion = "answer";
  c.data.max_bad_lines = 3;
  c.data.sequence_length = 7;
  c.data.packing = "false";
  c.data.too_long = "drop";
  c.data.shuffle = false;
  c.peft = {"lora",
            "adapters/mine",
            3,
            1.5,
            0.25,
            {"q_proj", "*.0.*"},
            PatternNumbers{{{"b.*", 4}, {"a.*b", 5}}},
            PatternNumbers{{{"q", 0.5}}},
            nlohmann::json::array({1, 0}),
            {"down_proj"},
            {"lm_head"},
            "all",
            true,
            true,
            "gaussian",
            2.5,
            3,
            5,
            10,
            11,
            2,
            0.5,
            0.75,
            0.25,
            100,
            "par_bn",
            8,
            0.5,
            "gelu",
            7,
            "TEXT",
            "a text",
            24,
            3,
            0.125,
            "LSTM",
            true};
  c.quantization = {"fp4", false, 128, "bfloat16", {"o_proj"}};
  c.train = {1000000000, 3, 1, 9, 1e-300, 5e-324, "my loss", {"*.bias", "[01]"}};
  c.parallel.dp_size = 4;
  c.parallel.tp_size = 2;
  c.parallel.pp_size = 3;
  c.parallel.cp_size = 5;
  c.parallel.sequence_parallel = true;
  c.parallel.zero_stage = 3;
  c.parallel.offload = "optimizer";
  c.parallel.bucket_elements = 1;
  c.cluster = {
      {"127.0.0.1:5001", "[::1]:5002"}, true, "my secret", {"node.pem", "node.key", "authority.pem"}};
  c.parallel.schedule = "my schedule.csv";
  c.parallel.virtual_stages = 2;
  c.parallel.partition = "";
  c.parallel.partition_list = {2, 0, 4, 1, 1, 1};
  c.optimizer.name = "null";
  OptimizerDeclaration declaration;  // as a host program's
  declaration.options = elementwise_rule("adamw").options;
  declaration.options.push_back({"nesterov", false, ""});
  optimizer_declarations().add("null", declaration);
  c.optimizer.options = {{"lr", 0.1 + 0.2},
                         {"betas", std::vector<double>{0.999999999999, 5e-324}},
                         {"eps", 1.0 / 3},
                         {"weight_decay", 1e22},
                         {"nesterov", true}};
  c.optimizer.groups = {{{"*norm*", "a: b"}, "adamw", {{"lr_scale", 0.1}, {"eps", 5e-324}}},
                        {{"[x]"}, "", {{"lr", 1e-7}, {"nesterov", false}}}};
  c.optimizer.master = false;
  c.optimizer.fused_update = true;
  c.train.clip_grad_norm_mode = "previous";
  c.optimizer.grad_dtype = "bfloat16";
  c.optimizer.state_dtype = "bfloat16";
  c.optimizer.rounding = "stochastic";
  c.optimizer.decay_norms_and_biases = true;
  c.model.resize_vocabulary = 300;
  c.model.dtype = "bfloat16";
  c.model.save_dtype = "float16";
  c.model.recompute = "full";
  c.model.frozen = {"*norm*", "model.layers.[0-3].*"};
  c.model.dropout = "config";
  OptionDeclaration schedule = learning_rate_declarations().find("linear");
  schedule.options.push_back({.name = "shape", .initial = "null", .doc = "", .choices = {"null", "1"}});
  schedule.options.push_back({.name = "tail", .initial = int64_t{0}, .doc = "", .unset = true});
  learning_rate_declarations().add("on", schedule);
  c.lr_scheduler = {
      "on", {{"warmup_ratio", 0.1 + 0.2}, {"min_lr_ratio", 1.0}, {"shape", "1"}, {"tail", int64_t{1} << 60}}};
  EvalSet set;
  set.name = "held_out";
  set.source.path = "x";
  set.limit = 3;
  c.eval = {0, 2, true, false, {set}};
  c.checkpoint = {0, 1, 2.5, 1, 7, 3, "eval/set/accuracy", "max", "5000000"};
  c.monitor.console = "plain";
  c.monitor.tensorboard = c.monitor.csv = false;
  c.monitor.trace = true;
  c.monitor.summary = false;
  c.monitor.prometheus = "127.0.0.1:9464";
  c.monitor.prometheus_open = true;
  c.monitor.peak_flops = 2.5e12;
  c.monitor.measure_peak = true;
  c.callbacks = {{"print_samples"},
                 {"2"},
                 {"time_limit", {{"minutes", 1.5}}},
                 {"mine", {{"a", true}, {"b", std::string("x")}, {"c", int64_t{3}}}}};
  c.plugins = {"mine.so", "3"};
  c.device = {"cpu", 5, "auto"};
  return c;
}

}  // namespace

TEST_CASE("the defaults are those of the design") {
  Config expected;
  expected.run.name = "quickstart";
  expected.run.dir = "runs/quickstart";
  expected.model.path = expected.tokenizer.path = "DIR";
  expected.data.train.resize(1);
  expected.data.train[0].path = "glob";
  expected.data.eval = expected.data.train;
  expected.train.steps = 200;
  expected.parallel.pp_size = 2;
  const Config config = load(kDesign);
  CHECK(to_yaml(config) == to_yaml(expected));
  CHECK((config == expected));
}

TEST_CASE("the design names every key of the schema, in its order") {
  config::Node root = config::parse_yaml(kDesign, {}, "");
  Config config;
  std::vector<std::string> sections, names;
  for (const config::Entry& entry : root.entries) sections.push_back(entry.key);
  for (const config::Key& key : config::schema(config)) {
    const std::string section = key.path.substr(0, key.path.find('.'));
    if (names.empty() || names.back() != section) names.push_back(section);
    CAPTURE(key.path);
    config::Node* node = &root;
    for (size_t begin = 0; begin < key.path.size();) {
      const size_t end = std::min(key.path.find('.', begin), key.path.size());
      node = node->find(key.path.substr(begin, end - begin));
      REQUIRE(node != nullptr);
      begin = end + 1;
    }
  }
  CHECK(names == sections);
}

TEST_CASE("an empty configuration is all defaults, and empty sections and lists are too") {
  CHECK((load("") == Config{}));
  CHECK((load("# nothing but a comment\n") == Config{}));
  CHECK((load("optimizer:\ndata:\n  train:\ncallbacks:\nmodel: {config: }\n") == Config{}));
}

TEST_CASE("what is written is read back equal, for every key") {
  const Config changed = everything_changed();
  CHECK((load(to_yaml(Config{})) == Config{}));
  const std::string yaml = to_yaml(changed);
  INFO(yaml);
  const Config again = parse_config(yaml);  // which loads no plugins
  CHECK(to_yaml(again) == yaml);
  CHECK((again == changed));

  Config copy = changed, defaults;
  const std::vector<config::Key> keys = config::schema(copy), default_keys = config::schema(defaults);
  for (const config::Key& key : keys) {
    const bool single = key.only_value || key.valid.size() == 1;
    const config::Key* const by_default = config::find_key(default_keys, key.path);
    INFO("everything_changed() has to change " << key.path);
    CHECK((single || by_default == nullptr || key.yaml() != by_default->yaml()));
  }
}

TEST_CASE("written configurations do not mistake one type for another") {
  Config config;
  config.model.config = {{"float", 3.0},   {"int", 3},          {"text", "3"},
                         {"word", "True"}, {"exponent", "1e5"}, {"dot", "."}};
  const Config again = load(to_yaml(config));
  CHECK(again.model.config["float"].is_number_float());
  CHECK(again.model.config["int"].is_number_integer());
  for (const char* key : {"text", "word", "exponent", "dot"}) CHECK(again.model.config[key].is_string());
  CHECK(to_yaml(config).find("lr: 3.0e-04\n") != std::string::npos);
  CHECK(to_yaml(config).find("stall_timeout_s: 600.0\n") != std::string::npos);
}

TEST_CASE("a long value is written so that it can be read") {
  Config config;
  for (int i = 0; i < 500; ++i)
    config.model.config["key_" + std::to_string(i)] = std::string(20, 'x') + std::to_string(i);
  config.run.name = std::string(4096, 'n');
  CHECK((load(to_yaml(config)) == config));
}

TEST_CASE("numbers are read in every usual form") {
  const auto lr_of = [](const std::string& yaml) { return load(yaml).optimizer.options.number("lr"); };
  CHECK(lr_of("optimizer: {lr: 3e-4}") == 3e-4);
  CHECK(lr_of("optimizer: {lr: 3.0E-4}") == 3e-4);
  CHECK(lr_of("optimizer: {lr: .5}") == 0.5);
  CHECK(lr_of("optimizer: {lr: +1.}") == 1.0);
  CHECK(lr_of("optimizer: {lr: 1}") == 1.0);
  CHECK(load("train: {steps: +12}").train.steps == 12);
  CHECK(load("run: {seed: 18446744073709551615}").run.seed == std::numeric_limits<uint64_t>::max());
}

TEST_CASE("a size of files is a text, or a plain number of bytes") {
  for (const char* size : {"5000000", "'5000000'", "5MB"}) {
    const Config config = parse_config(std::string("checkpoint: {max_shard_size: ") + size + "}");
    CHECK(config.checkpoint.max_shard_size == (size == std::string("5MB") ? "5MB" : "5000000"));
    CHECK(parse_config(to_yaml(config)) == config);
  }
  CHECK_THROWS_AS(parse_config("checkpoint: {max_shard_size: 5.5}"), UserError);
  CHECK_THROWS_AS(parse_config("checkpoint: {max_shard_size: 0}"), UserError);
}

TEST_CASE("anchors, aliases and merge keys are resolved") {
  const Config config = load(R"(
data:
  train: &sources
    - &first {path: a, format: jsonl, text: body}
    - {<<: *first, path: b}
  eval: *sources
)");
  REQUIRE(config.data.train.size() == 2);
  CHECK(config.data.train[1].path == "b");
  CHECK(config.data.train[1].text == "body");
  CHECK((config.data.eval == config.data.train));
}

TEST_CASE("a rule has defaults for keys beside its options, and what is given wins") {
  static const bool added = [] {
    OptimizerDeclaration declaration;
    declaration.options = {learning_rate_option(0.1)};
    declaration.keys = {.master = false, .rounding = "stochastic", .scheduler = "constant"};
    optimizer_declarations().add("with defaults", declaration);
    return true;
  }();
  REQUIRE(added);
  const auto keys_of = [](const std::string& yaml, const std::vector<std::string>& settings = {}) {
    const Config config = load("optimizer: {name: with defaults}\n" + yaml, settings);
    CHECK(parse_config(to_yaml(config)) == config);  // what is in force is written, and read as given
    return fmt::format("{} {} {}", config.optimizer.master, config.optimizer.rounding,
                       config.lr_scheduler.name);
  };
  CHECK(keys_of("model: {dtype: bfloat16}") == "false stochastic constant");
  CHECK(keys_of("") == "false nearest constant");  // nothing is rounded
  const std::string narrow = "model: {dtype: bfloat16}\n";
  CHECK(keys_of(narrow, {"optimizer.rounding=nearest"}) == "false nearest constant");
  CHECK(keys_of(narrow, {"optimizer.master=true"}) == "true nearest constant");
  CHECK(keys_of(narrow + "lr_scheduler: {name: cosine}") == "false stochastic cosine");
  CHECK(keys_of(narrow + "lr_scheduler: {warmup_steps: 5}") == "false stochastic constant");
  CHECK(load("optimizer: {name: adamw_schedule_free}").lr_scheduler.name == "constant");
  CHECK(load("optimizer: {groups: [{match: [a], name: adamw_schedule_free}]}").lr_scheduler.name == "cosine");
  Config built;  // by a host program
  built.optimizer.name = "with defaults";
  set_key_defaults(built, [](const std::string& key) { return key == "optimizer.master"; });
  CHECK(built.optimizer.master);
  CHECK(built.lr_scheduler.name == "constant");
}

TEST_CASE("data sources remember their lines") {
  const Config config = load("data:\n  train:\n    - path: a\n\n    - {path: b}\n");
  CHECK(config.data.train[0].line == 3);
  CHECK(config.data.train[1].line == 5);
}

TEST_CASE("settings lie over the file, in their order, and their values are YAML") {
  const std::string file = "train: {steps: 5}\noptimizer: {lr: 1, eps: 0.5}\ndata: {train: [{path: a}]}\n";
  const Config config =
      load(file, {"train.steps=6", "train.steps=7", "train.epochs=2", "run.name=two words", "run.dir=\"5\"",
                  "model.path=a=b", "optimizer.betas=[0.5, 0.25]", "data.train.0.path=b",
                  "data.train.1={path: c, format: jsonl, text: t}", "data.eval.0.path=\"*.txt\"",
                  "model.config.rope_scaling={type: linear, factor: 2.0}", "model.config.hidden_size=64",
                  "callbacks=[x]", "parallel.partition=uniform"});
  CHECK(config.train.steps == 7);
  CHECK(config.train.epochs == 2);
  CHECK(config.run.name == "two words");
  CHECK(config.run.dir == "5");
  CHECK(config.model.path == "a=b");
  CHECK(config.optimizer.options.numbers("betas") == std::vector<double>{0.5, 0.25});
  CHECK(config.optimizer.options.number("lr") == 1.0);
  CHECK(config.data.train[0].path == "b");
  CHECK(config.data.train[1].text == "t");
  CHECK(config.data.eval[0].path == "*.txt");
  CHECK(config.model.config["rope_scaling"]["factor"] == 2.0);
  CHECK(config.model.config["hidden_size"] == 64);
  CHECK((config.callbacks == std::vector<CallbackConfig>{{"x"}}));
  CHECK(config.parallel.partition == "uniform");
}

TEST_CASE("a setting replaces the whole value, and can take one away") {
  const Config config =
      load("optimizer: {lr: 1, eps: 0.5}\ntrain: {steps: 5}\n", {"optimizer={lr: 2}", "train.steps=null"});
  CHECK(options_in_force(config.optimizer).number("lr") == 2.0);
  CHECK(options_in_force(config.optimizer).number("eps") == 1e-8);
  CHECK_FALSE(config.train.steps.has_value());
  CHECK_FALSE(load("train: {steps: 5}", {"train.steps="}).train.steps.has_value());
}

TEST_CASE("a partition is a rule or a list") {
  const Config config = load("parallel: {pp_size: 3, partition: [1, 2, 0]}");
  CHECK(config.parallel.partition.empty());
  CHECK(config.parallel.partition_list == std::vector<int>{1, 2, 0});
  CHECK(load("parallel: {schedule: my.csv}").parallel.schedule == "my.csv");
}

TEST_CASE("nothing is warned of by default") {
  CHECK(warnings_of("").empty());
  std::vector<std::string> warnings;
  check_config(Config{}, warnings);
  CHECK(warnings.empty());
}

TEST_CASE("sets of eval.sets are read, and written so that they read back") {
  const Config config = load(R"(
eval:
  sets:
    - {name: held_out, path: "x/*.txt"}
    - {name: chats, path: c.jsonl, format: chat, messages: turns, limit: 7, metrics: [perplexity]}
    - {name: choice, kind: classification, path: c.jsonl, prompt: "Q: {q}\nA:", options: [A, "{b}", 3], label: l,
       score: bytes, delimiter: "", metrics: [accuracy, {name: f_beta, beta: 0.5, average: per_class}]}
    - {name: said, kind: classification, path: c.jsonl, prompt: q, options_column: o, label: l, method: text,
       stop: ["\n"], max_new_tokens: 3}
    - {name: gsm8k, kind: generation, path: c.jsonl, prompt: q, reference: a, temperature: 0.7, top_k: 5,
       top_p: 0.9, min_p: 0.01, repetition_penalty: 1.1, seed: 7, stop: ["Q:", "\n\n"], batch_size: 4,
       predictions: true}
)");
  REQUIRE(config.eval.sets.size() == 5);
  CHECK(source_of(config.eval.sets[0]).format == "text");
  CHECK(source_of(config.eval.sets[1]).format == "chat");
  CHECK(source_of(config.eval.sets[2]).format == "jsonl");
  CHECK(config.eval.sets[2].options == std::vector<std::string>{"A", "{b}", "3"});
  CHECK(config.eval.sets[2].metrics.at(1).options.number("beta") == 0.5);
  CHECK(config.eval.sets[4].stop == std::vector<std::string>{"Q:", "\n\n"});
  CHECK(kind_of(config.eval.sets[4]) == SetKind::generation);
  const std::string yaml = to_yaml(config);
  INFO(yaml);
  CHECK(load(yaml) == config);
  CHECK(load("{}", {"eval.sets=[{name: a, path: b}]", "eval.sets.0.limit=3"}).eval.sets.at(0).limit == 3);
}
