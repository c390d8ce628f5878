// The configuration of a run, as the user writes it. The values shown are the defaults; std::optional members
// have none.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/option.hpp"
#include "io/metric_options.hpp"

namespace collie {

struct RunSection {
  std::string name, dir;
  uint64_t seed = 42;
  double stall_timeout_s = 600;
  bool operator==(const RunSection&) const = default;
};

struct ModelSection {
  std::string path;  // may be empty when from_scratch
  bool from_scratch = false;
  nlohmann::json config =
      nlohmann::json::object();   // Hugging Face config.json keys; they override path/config.json
  int64_t resize_vocabulary = 0;  // 0: as many tokens as the folder's model has
  std::string dtype = "float32";
  std::string save_dtype = "auto";  // of final/; auto: dtype
  std::string recompute = "none";
  std::vector<std::string> frozen;
  std::string dropout = "0.0";  // or "config": config.json's rates
  bool operator==(const ModelSection&) const = default;
};

struct TokenizerSection {
  std::string path;  // empty: the model's folder
  std::string kind = "auto";
  bool operator==(const TokenizerSection&) const = default;
};

struct DataSource {
  std::string path;  // glob
  std::string format = "text";
  double weight = 1.0;
  std::string text, prompt, completion;             // jsonl: keys of a record
  std::string messages, tools, chat_template;       // chat: keys of a record; a file
  std::string tokens, labels;                       // tokens: keys of a record
  std::string add_bos = "auto", add_eos = "auto";   // auto | true | false
  int line = 0;                                     // in the configuration file, for messages
  bool operator==(const DataSource& other) const {  // equal wherever they were written
    return path == other.path && format == other.format && weight == other.weight && text == other.text &&
           prompt == other.prompt && completion == other.completion && messages == other.messages &&
           tools == other.tools && chat_template == other.chat_template && tokens == other.tokens &&
           labels == other.labels && add_bos == other.add_bos && add_eos == other.add_eos;
  }
};

struct DataSection {
  std::vector<DataSource> train, eval;
  int64_t sequence_length = 256;
  std::string packing = "auto";  // auto | true | samples | false
  std::string too_long = "cut";  // cut | drop | refuse
  bool shuffle = true;
  int64_t max_bad_lines = 0;
  bool operator==(const DataSection&) const = default;
};

struct TrainSection {
  std::optional<int64_t> steps, epochs;
  int64_t micro_batch_size = 4, gradient_accumulation_steps = 4;
  double clip_grad_norm = 1.0, clip_grad_value = 0;
  std::string loss = "cross_entropy";
  std::vector<std::string> trainable;         // patterns of the only tensors that are trained; empty: all
  std::string clip_grad_norm_mode = "exact";  // of fused updates
  bool operator==(const TrainSection&) const = default;
};

// The limit for one run: pipeline stages, replicas, token shards and matrix shards together.
constexpr int64_t most_ranks = 16384;

struct ParallelSection {
  int dp_size = 1, tp_size = 1, pp_size = 1, cp_size = 1;
  bool sequence_parallel = false;
  int zero_stage = 0;
  std::string offload = "none";
  int64_t bucket_elements = int64_t{4} << 20;  // fewest gradient elements that are reduced together
  std::string schedule = "1f1b";
  int virtual_stages = 1;                // 1: the schedule's own number
  std::string partition = "parameters";  // or empty when a list is given
  std::vector<int> partition_list;
  bool operator==(const ParallelSection&) const = default;
};

// Parameters that are updated in another way than the rest.
struct OptimizerGroup {
  std::vector<std::string>
      match;             // globs; a parameter is in the first group that matches its Hugging Face name
  std::string name;      // empty: that of OptimizerConfig
  OptionValues options;  // those that are given; "lr_scale" may be among them
  bool operator==(const OptimizerGroup&) const = default;
};

struct OptimizerConfig {
  std::string name = "adamw";
  OptionValues options;  // those that are given: "lr", "weight_decay", ... (io/optimizer_options.hpp)
  bool master = true;
  bool fused_update = false;  // inside backward
  std::string grad_dtype = "float32", state_dtype = "float32", rounding = "nearest";
  std::vector<OptimizerGroup> groups;
  bool decay_norms_and_biases = false;
  double ema_decay = 0;  // of the callback ema, which has it in the configuration; 0: there is none
  bool operator==(const OptimizerConfig& other) const;  // compares the values in force
};

struct LearningRateConfig {
  std::string name = "cosine";
  OptionValues options;  // those that are given: "warmup_steps", ... (io/learning_rate_options.hpp)
  bool operator==(const LearningRateConfig& other) const;  // compares the values in force
};

// Numbers by pattern. The first that matches counts, so the order is kept.
struct PatternNumbers {
  std::vector<std::pair<std::string, double>> items;
  bool operator==(const PatternNumbers&) const = default;
};

// The names and defaults are those of Hugging Face's peft.
struct PeftSection {
  std::string type = "none";  // none | lora | adalora | ia3 | adapter | ...
  std::string path;           // of an adapter to go on from; empty: a new one
  int64_t r = 8;
  double lora_alpha = 8, lora_dropout = 0;
  std::vector<std::string> target_modules;     // patterns, or all-linear; empty: attention's, as in peft
  PatternNumbers rank_pattern, alpha_pattern;  // by regular expressions
  nlohmann::json layers_to_transform = nlohmann::json::array();  // numbers of blocks; empty: all
  std::vector<std::string> feedforward_modules;
  std::vector<std::string> modules_to_save;
  std::string bias = "none";  // none | all | lora_only
  bool use_rslora = false, use_dora = false;
  std::string init_lora_weights = "true";  // true | gaussian | false
  double loraplus_lr_ratio = 1;
  // Of AdaLoRA. rank_pattern has, in a folder whose ranks have been chosen, that of each matrix, by its name.
  int64_t target_r = 8, init_r = 12, tinit = 0, tfinal = 0, deltaT = 1;
  double beta1 = 0.85, beta2 = 0.85, orth_reg_weight = 0.5;
  std::optional<int64_t> total_step;          // none: the run's
  std::string adapter_config = "seq_bn";      // seq_bn | double_seq_bn | par_bn
  double reduction_factor = 0, scaling = 0;   // 0: that of adapter_config
  std::string non_linearity = "auto";         // auto | relu | silu | gelu | gelu_new
  std::optional<int64_t> num_virtual_tokens;  // of those that the kinds below train
  std::string prompt_tuning_init = "RANDOM";  // RANDOM | TEXT | SAMPLE_VOCAB
  std::string prompt_tuning_init_text;
  std::optional<int64_t> encoder_hidden_size;  // none: the embedding's, or of a prefix the keys'
  int64_t encoder_num_layers = 2;
  double encoder_dropout = 0;
  std::string encoder_reparameterization_type = "MLP";  // MLP | LSTM
  bool prefix_projection = false;
  bool operator==(const PeftSection&) const = default;
};

// Of the frozen model under adapters. The defaults but the kind are those of QLoRA.
struct QuantizationSection {
  std::string kind = "none";  // none | nf4 | fp4 | int8
  bool double_quant = true;
  int64_t block_size = 64;                      // of nf4 and fp4
  std::string compute_dtype = "auto";           // auto: model.dtype
  std::vector<std::string> skip = {"lm_head"};  // patterns of the ends of names
  bool operator==(const QuantizationSection&) const = default;
};

// A set of samples that is evaluated by itself (docs/evaluation.md).
struct EvalSet {
  std::string name;
  std::string kind = "perplexity";  // perplexity | classification | generation
  DataSource source;  // where its samples are; `prompt` is a template where the kind is not perplexity
  std::string format = "auto";        // in the place of the source's (source_of())
  std::vector<std::string> options;   // classification: templates of the answers to choose from
  std::string options_column;         // or the key of a record's list of them
  std::string label;                  // key of the right one: its number, from 0, or its text
  std::string method = "likelihood";  // likelihood | text
  std::string score = "sum";          // of a likelihood: sum | mean | bytes
  std::string delimiter = " ";        // between a prompt and an option
  std::string reference;              // generation: a key or a template of the text that is wanted
  int64_t max_new_tokens = 128;
  double temperature = 0, top_p = 1, min_p = 0, repetition_penalty = 1;
  int64_t top_k = 0;
  uint64_t seed = 42;
  std::vector<std::string> stop;  // texts that end one that is generated
  int64_t num_beams = 1;
  int64_t batch_size = 16;            // texts that are generated at a time
  int64_t limit = 0;                  // samples from the front; 0: all
  std::vector<MetricConfig> metrics;  // empty: those of the kind
  bool predictions = false;           // are kept as JSONL
  bool operator==(const EvalSet&) const = default;
};

struct EvalSection {
  int64_t every_n_steps = 50, every_n_epochs = 0;
  bool at_start = false, at_end = true;
  std::vector<EvalSet> sets;
  bool operator==(const EvalSection&) const = default;
};

struct CheckpointSection {
  int64_t every_n_steps = 100, every_n_epochs = 0;
  double every_n_minutes = 0;
  int64_t keep_last = 2, keep_every = 0, keep_best = 0;
  std::string best_metric = "eval_loss", best_mode = "auto";
  std::string max_shard_size = "50GB";  // of a file in final/ (io/weight_shards.hpp)
  bool operator==(const CheckpointSection&) const = default;
};

struct MonitorSection {
  std::string console = "auto";
  bool tensorboard = true, csv = true, trace = false, summary = true;
  std::string prometheus;        // HOST:PORT; empty: nothing is served
  bool prometheus_open = false;  // the address may be one that other machines reach
  double peak_flops = 0;         // per second, of one device; 0: as known of GPUs, or measured
  bool measure_peak = false;
  bool operator==(const MonitorSection&) const = default;
};

// One of the run's callbacks: its name, and the options that were given.
struct CallbackConfig {
  std::string name;
  OptionValues options = {};
  bool operator==(const CallbackConfig&) const = default;
};

struct TlsSection {
  std::string certificate, key, ca;
  bool operator==(const TlsSection&) const = default;
};

struct ClusterSection {
  std::vector<std::string> nodes;
  bool trusted_network = false;
  std::string secret_file;  // empty: COLLIE_ENGINE_SECRET, or the user's own file
  TlsSection tls;
  bool operator==(const ClusterSection&) const = default;
};

struct DeviceSection {
  std::string kind = "auto";
  int threads = 0;
  std::string graphs = "off";
  bool operator==(const DeviceSection&) const = default;
};

// The place where the configuration was read, for messages. Two configurations are equal wherever they come
// from.
struct ConfigFile {
  std::string path;  // empty: built by a host program
  // For each key that was given, keys in model.config included: the beginning of a message about it,
  // "FILE:LINE: optimizer.name" or "--set optimizer.name".
  std::map<std::string, std::string> places;
  // The same for any key; it is the key alone if the key was not given.
  std::string place(const std::string& key) const;
  bool operator==(const ConfigFile&) const { return true; }
};

struct Config {
  RunSection run;
  ModelSection model;
  TokenizerSection tokenizer;
  DataSection data;
  TrainSection train;
  ParallelSection parallel;
  OptimizerConfig optimizer;
  LearningRateConfig lr_scheduler;
  PeftSection peft;
  QuantizationSection quantization;
  EvalSection eval;
  CheckpointSection checkpoint;
  MonitorSection monitor;
  std::vector<CallbackConfig> callbacks;
  std::vector<std::string> plugins;
  ClusterSection cluster;
  DeviceSection device;
  ConfigFile file;
  bool operator==(const Config&) const = default;
};

// The value of a key in force, as YAML; "" for an unknown one.
std::string value_of_key(const Config& config, const std::string& key);

// Reads CONFIG.yaml, then lays each "key.path=value" of `settings` over it, in their order. The value, which
// is YAML, replaces what was there. Numbers in the path are list indices, and the index after the last
// appends ("data.train.0.path=corpus/*.txt"). Parsing is strict: an unknown or ill-typed key throws UserError
// "FILE:LINE: key.path: what was found; what would be right" ("--set key.path: ..." for a setting). Values
// that the schema knows but the engine does not have yet are refused as "not supported yet". `warnings`
// collects, once each, what a user would miss. Missing keys have their defaults. require_training and its
// like ask for the keys that a command cannot do without.
//
// `plugins` are loaded before anything else is read (io/plugins.hpp). PluginSource::settings refuses those
// that FILE itself names, for a file that is no program of the user's own but part of a run's folder.
enum class PluginSource : uint8_t { file_and_settings, settings };
Config load_config(const std::string& file, const std::vector<std::string>& settings,
                   std::vector<std::string>& warnings,
                   PluginSource plugins = PluginSource::file_and_settings);

// Reads what to_yaml wrote in another process. Loads no plugins.
Config parse_config(const std::string& yaml);

// Makes the same checks for a configuration that a host program built. Loads no plugins.
void check_config(const Config& config, std::vector<std::string>& warnings);

// Throws a UserError that names the first key that training needs and the configuration lacks: run.name,
// run.dir, model.path (or model.config from scratch), a tokenizer, data.train, train.steps or train.epochs.
void require_training(const Config& config);

// The same for evaluation alone. It needs a model (model.path, or run.dir if the model is from scratch: then
// the run's latest checkpoint), a tokenizer, and data.eval or eval.sets.
void require_eval(const Config& config);

// The values of all keys that change what is computed, {"optimizer": {"lr": 0.001, ...}, ...}. A resumed run
// must have the same ones.
nlohmann::json fingerprint(const Config& config);
// The fingerprint() that an earlier version recorded, as this one would have: keys that it did not know are
// added, with what the schema says of older runs, else with their defaults. Nothing else changes.
nlohmann::json complete_fingerprint(nlohmann::json recorded);

SetKind kind_of(const EvalSet& set);
// The data source of a set, with the format that auto stands for: text, or jsonl of other kinds than
// perplexity.
DataSource source_of(const EvalSet& set);

// All keys as YAML with their defaults, each with its meaning and its valid values. A star marks the keys of
// fingerprint(). `names` lists, by key path, the registered names for keys whose values come from a registry.
// docs/configuration.md has the result.
std::string describe_keys(const std::map<std::string, std::vector<std::string>>& names);

// All keys with their values in force, as YAML that load_config reads back to an equal Config.
std::string to_yaml(const Config& config);

}  // namespace collie
