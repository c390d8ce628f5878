#include "io/config_check.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/json_text.hpp"
#include "io/learning_rate_options.hpp"
#include "io/optimizer_options.hpp"
#include "io/weight_shards.hpp"

namespace collie {

namespace config {

namespace {

constexpr const char* kSourceExample = "a list of sources is wanted, such as [{path: \"data/*.txt\"}]";

// The keys of a source that belong to one format, and their values.
struct Column {
  const char* format;
  const char* name;
  const std::string& value;
};

bool is_built_in(const std::string& format) {
  return format == "text" || format == "jsonl" || format == "chat" || format == "tokens";
}

void check_columns(const DataSource& source, const std::string& path, const Places& places) {
  constexpr const char* kWanted = "either text: KEY, or prompt: KEY and completion: KEY, is wanted";
  const Column columns[] = {{"jsonl", "text", source.text},
                            {"jsonl", "prompt", source.prompt},
                            {"jsonl", "completion", source.completion},
                            {"chat", "messages", source.messages},
                            {"chat", "tools", source.tools},
                            {"chat", "chat_template", source.chat_template},
                            {"tokens", "tokens", source.tokens},
                            {"tokens", "labels", source.labels}};
  std::string given;
  for (const auto& [format, name, value] : columns) {
    if (value.empty()) continue;
    if (!is_built_in(source.format)) continue;  // it takes which it wants
    if (source.format != format) {
      std::vector<std::string> same;
      for (const Column& column : columns)
        if (std::string(column.format) == format) same.push_back(column.name);
      const std::string last = same.back();
      same.pop_back();
      throw UserError("{}: found with format {}; {} and {} belong to format {}", places.of(join(path, name)),
                      source.format, fmt::join(same, ", "), last, format);
    }
    given += (given.empty() ? "" : ", ") + std::string(name);
  }
  if (source.format == "jsonl" && given != "text" && given != "prompt, completion")
    throw UserError("{}: found {} with format jsonl; {}", places.of(path),
                    given.empty() ? "none of text, prompt, completion" : given, kWanted);
}

void check_weight(const DataSource& source, const std::string& list, const std::string& place) {
  constexpr double least = 1e-6, most = 1e6;
  if (list != "data.train" && source.weight != 1)
    throw UserError(
        "{}: found {}; an evaluation reads every document once, so that only data.train has weights", place,
        source.weight);
  if (source.weight > most || (source.weight > 0 && source.weight < least))
    throw UserError("{}: found {}; a weight from {} to {}, or 0, is wanted", place, source.weight, least,
                    most);
}

void check_sources(std::vector<DataSource>& sources, const std::string& list, const Places& places) {
  for (size_t i = 0; i < sources.size(); ++i) {
    const std::string path = source_path(list, i);
    for (const Key& key : source_schema(sources[i], path)) key.check(places.of(key.path));
    if (sources[i].path.empty())
      throw UserError("{}: missing; a file or a pattern such as data/*.txt is wanted",
                      places.of(path + ".path"));
    check_columns(sources[i], path, places);
    check_weight(sources[i], list, places.of(path + ".weight"));
  }
}

// A key of another kind than the set's would do nothing.
void check_keys_of_kind(EvalSet& set, const std::string& path, const Places& places) {
  EvalSet initial;
  const std::vector<Key> keys = set_schema(set, path), of_initial = set_schema(initial, path);
  for (size_t i = 0; i < keys.size(); ++i) {
    const std::string name = keys[i].path.substr(path.size() + 1);
    const std::vector<std::string> kinds = kinds_with_key(name);
    if (kinds.empty() || keys[i].yaml() == of_initial[i].yaml()) continue;
    if (std::find(kinds.begin(), kinds.end(), set.kind) == kinds.end())
      throw UserError("{}: found in a set of kind {}; it belongs to kind {}", places.of(keys[i].path),
                      set.kind, fmt::join(kinds, " and kind "));
    const bool generates = set.kind == "generation" || set.method == "text";
    if (kinds.size() > 1 && name != "predictions" && !generates)
      throw UserError("{}: found with method {}, which generates nothing; method: text does",
                      places.of(keys[i].path), set.method);
    if (set.method == "text" && (name == "score" || name == "delimiter"))
      throw UserError("{}: found with method text, which has no scores; method: likelihood does",
                      places.of(keys[i].path));
  }
}

void need_in_set(const std::string& value, const std::string& path, const char* name, const char* wanted,
                 const Places& places) {
  if (value.empty()) throw UserError("{}: missing; {} is wanted", places.of(join(path, name)), wanted);
}

void check_set_of_samples(const EvalSet& set, const std::string& path, const Places& places) {
  if (set.format != "auto" && set.format != "jsonl")
    throw UserError("{}: found {} in a set of kind {}; jsonl is wanted", places.of(join(path, "format")),
                    set.format, set.kind);
  need_in_set(set.source.prompt, path, "prompt", "a key of a record, or a text with keys in braces", places);
  if (set.kind == "generation")
    return need_in_set(set.reference, path, "reference", "the key of the text that is right, or a template",
                       places);
  need_in_set(set.label, path, "label", "the key of the right option's number or text", places);
  if (set.options.empty() == set.options_column.empty())
    throw UserError("{}: found {}; one of options: [TEXT, ...] and options_column: KEY is wanted",
                    places.of(join(path, "options")), set.options.empty() ? "none" : "both");
  if (set.options.size() == 1)
    throw UserError("{}: found one option; two at least are something to choose from",
                    places.of(join(path, "options")));
}

// Its name is a part of names of metrics and of files.
void check_set_name(const EvalSet& set, const std::string& place) {
  constexpr size_t longest = 100;
  const bool plain = !set.name.empty() && set.name.size() <= longest && set.name.front() != '.' &&
                     std::all_of(set.name.begin(), set.name.end(), [](unsigned char c) {
                       return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
                     });
  if (!plain)
    throw UserError(
        "{}: found '{}'; a name of letters, digits, _, - and . is wanted, at most {} characters, since files "
        "have it",
        place, shortened(set.name), longest);
  if (set.name == "data.eval")
    throw UserError("{}: found data.eval, which is what data.eval is called; another name is wanted", place);
}

// Columns of a source of perplexity are checked as those of data.eval are.
void check_set_source(EvalSet& set, const std::string& path, const Places& places) {
  need_in_set(set.source.path, path, "path", "a file or a pattern such as data/*.jsonl", places);
  if (set.kind != "perplexity") return check_set_of_samples(set, path, places);
  DataSource source = source_of(set);
  check_columns(source, path, places);
}

void check_metrics(const EvalSet& set, const std::string& path, const Places& places) {
  const auto place = [&](const std::string& key) { return places.of(key); };
  std::set<std::string> names;
  for (size_t i = 0; i < set.metrics.size(); ++i) {
    const std::string section = source_path(path + ".metrics", i);
    check_metric(set.metrics[i], kind_of(set), section, place);
    if (!names.insert(set.metrics[i].name).second)
      throw UserError("{}: found {} a second time; the numbers of a set need names of their own",
                      places.of(section + ".name"), set.metrics[i].name);
    if (find_metric(set.metrics[i].name, kind_of(set), section).right_tokens)
      throw UserError("{}: {} is not supported yet, as no pass counts right tokens",
                      places.of(section + ".name"), set.metrics[i].name);
  }
}

void check_sets(std::vector<EvalSet>& sets, const Places& places) {
  std::set<std::string> names;
  for (size_t i = 0; i < sets.size(); ++i) {
    const std::string path = source_path("eval.sets", i);
    for (const Key& key : set_schema(sets[i], path)) key.check(places.of(key.path));
    check_set_name(sets[i], places.of(path + ".name"));
    if (!names.insert(sets[i].name).second)
      throw UserError("{}: found '{}' a second time; each set has a name of its own",
                      places.of(path + ".name"), sets[i].name);
    check_keys_of_kind(sets[i], path, places);
    check_set_source(sets[i], path, places);
    check_metrics(sets[i], path, places);
  }
}

// With virtual_stages 1 a schedule has its own number of stages per rank, which only the schedules know. For
// the schedules named here it is one.
bool is_number_of_stages_known(const ParallelSection& parallel) {
  return parallel.virtual_stages > 1 || parallel.schedule == "gpipe" || parallel.schedule == "1f1b" ||
         parallel.schedule == "zb_h1";
}

void check_partition_size(const ParallelSection& parallel, const Places& places) {
  if (!is_number_of_stages_known(parallel)) return;
  const int64_t stages = int64_t{parallel.pp_size} * parallel.virtual_stages;
  const auto given = static_cast<int64_t>(parallel.partition_list.size());
  if (parallel.partition.empty() && given != stages)
    throw UserError(
        "{}: found {} numbers; one for each of the {} stages (pp_size x virtual_stages) is wanted",
        places.of("parallel.partition"), given, stages);
}

void check_ranks(const ParallelSection& parallel, const Places& places) {
  const auto ranks =
      checked_product({parallel.dp_size, parallel.tp_size, parallel.pp_size, parallel.cp_size});
  if (!ranks || *ranks > most_ranks)
    throw UserError(
        "{}: found {}, with pp_size {}, tp_size {} and cp_size {}; at most {} ranks, their product, are "
        "wanted",
        places.of("parallel.dp_size"), parallel.dp_size, parallel.pp_size, parallel.tp_size, parallel.cp_size,
        most_ranks);
}

// The keys of the values that stand elsewhere than at their defaults.
std::vector<std::string> changed_keys(const Config& config, const std::string& section) {
  Config given = config, initial;
  const std::vector<Key> keys = schema(given), defaults = schema(initial);
  std::vector<std::string> changed;
  for (const Key& key : keys) {
    if (key.path.rfind(section, 0) != 0) continue;
    const Key* const other = find_key(defaults, key.path);
    if (other != nullptr && other->yaml() != key.yaml()) changed.push_back(key.path);
  }
  return changed;
}

// The keys of peft, beside type and path, that each kind of adapter has.
const std::set<std::string>& keys_of_adapters(const std::string& type) {
  static const std::map<std::string, std::set<std::string>> keys = {
      {"lora",
       {"r", "lora_alpha", "lora_dropout", "target_modules", "rank_pattern", "alpha_pattern",
        "layers_to_transform", "modules_to_save", "bias", "use_rslora", "use_dora", "init_lora_weights",
        "loraplus_lr_ratio"}},
      {"adalora",
       {"init_r", "target_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "total_step",
        "lora_alpha", "lora_dropout", "target_modules", "layers_to_transform", "modules_to_save", "bias",
        "init_lora_weights"}},
      {"ia3", {"target_modules", "feedforward_modules", "layers_to_transform", "modules_to_save"}},
      {"adapter", {"adapter_config", "reduction_factor", "scaling", "non_linearity", "modules_to_save"}},
      {"prompt_tuning", {"num_virtual_tokens", "prompt_tuning_init", "prompt_tuning_init_text"}},
      {"p_tuning",
       {"num_virtual_tokens", "encoder_reparameterization_type", "encoder_hidden_size", "encoder_num_layers",
        "encoder_dropout"}},
      {"prefix_tuning", {"num_virtual_tokens", "prefix_projection", "encoder_hidden_size"}}};
  return keys.at(type);
}

// A kind of adapter that has the key.
std::string kind_with_key(const std::string& key) {
  for (const char* kind : {"lora", "adalora", "ia3", "adapter", "prompt_tuning", "p_tuning", "prefix_tuning"})
    if (keys_of_adapters(kind).count(key) > 0) return kind;
  return "lora";
}

// A key that says nothing to the kind of adapter is a mistake.
void check_peft_keys_of_type(const Config& config, const Places& places) {
  const std::set<std::string>& own = keys_of_adapters(config.peft.type);
  for (const std::string& key : changed_keys(config, "peft.")) {
    const std::string whole = key.substr(std::string("peft.").size()),
                      name = whole.substr(0, whole.find('.'));
    if (name == "type" || name == "path" || own.count(name) > 0) continue;
    throw UserError("{}: given, but peft.type is {}, which has no such key; its keys are {}", places.of(key),
                    config.peft.type, fmt::join(own, ", "));
  }
}

// Keys that peft knows and ignores without what they are for.
void check_encoder(const Config& config, const Places& places) {
  const PeftSection &peft = config.peft, initial;
  const auto needs = [&](bool given, const char* key, const char* what) {
    if (given) throw UserError("{}: given, but {} is wanted with it", places.of(key), what);
  };
  if (peft.type == "prefix_tuning" && !peft.prefix_projection)
    needs(peft.encoder_hidden_size.has_value(), "peft.encoder_hidden_size", "peft.prefix_projection: true");
  if (peft.type != "p_tuning" || peft.encoder_reparameterization_type == "LSTM") return;
  constexpr const char* lstm = "peft.encoder_reparameterization_type: LSTM";
  needs(peft.encoder_num_layers != initial.encoder_num_layers, "peft.encoder_num_layers", lstm);
  needs(peft.encoder_dropout != initial.encoder_dropout, "peft.encoder_dropout", lstm);
}

void check_rank_allocation(const Config& config, const Places& places) {
  const PeftSection& peft = config.peft;
  if (peft.type != "adalora") return;
  for (const auto& [key, beta] : {std::pair("peft.beta1", peft.beta1), std::pair("peft.beta2", peft.beta2)})
    if (beta >= 1)
      throw UserError("{}: found {}; a number above 0 and below 1 is wanted", places.of(key), beta);
  if (peft.target_r >= peft.init_r)
    throw UserError("{}: found {}, but peft.init_r is {}, and ranks are lost; less than that is wanted",
                    places.of("peft.target_r"), peft.target_r, peft.init_r);
  if (peft.init_lora_weights != "true" && peft.init_lora_weights != "false")
    throw UserError("{}: found {}, but adalora begins in a way of its own; true is right",
                    places.of("peft.init_lora_weights"), peft.init_lora_weights);
}

void check_prompt_text(const Config& config, const Places& places) {
  const PeftSection& peft = config.peft;
  if (peft.prompt_tuning_init == "TEXT" && peft.prompt_tuning_init_text.empty())
    throw UserError("{}: missing; peft.prompt_tuning_init is TEXT, which needs the text",
                    places.of("peft.prompt_tuning_init_text"));
  if (peft.prompt_tuning_init != "TEXT" && !peft.prompt_tuning_init_text.empty())
    throw UserError("{}: given, but peft.prompt_tuning_init is {}; TEXT is wanted with it",
                    places.of("peft.prompt_tuning_init_text"), peft.prompt_tuning_init);
}

void check_peft(const Config& config, const Places& places) {
  const PeftSection& peft = config.peft;
  if (peft.type == "none" && peft.path.empty()) {
    std::vector<std::string> keys = changed_keys(config, "peft.");
    // Whoever gives a key as it is by default, and no type, means adapters, too.
    if (config.file.places.count("peft.type") == 0)
      for (const auto& [key, place] : config.file.places)
        if (key.starts_with("peft.") && key != "peft.path") keys.push_back(key);
    if (!keys.empty())
      throw UserError("{}: given, but peft.type is none; peft.type: {} is wanted with it",
                      places.of(keys.front()), kind_with_key(keys.front().substr(5)));
    return;
  }
  if (peft.path.empty()) check_peft_keys_of_type(config, places);
  check_prompt_text(config, places);
  check_encoder(config, places);
  if (peft.path.empty()) check_rank_allocation(config, places);
  for (const auto& [pattern, rank] : peft.rank_pattern.items)
    if (rank < 1 && peft.type == "lora")
      throw UserError("{}.{}: found {}; a whole number from 1 to 65536 is wanted",
                      places.of("peft.rank_pattern"), shortened(pattern), rank);
    else if (rank != std::floor(rank))
      throw UserError("{}: found {} for '{}'; a whole number is wanted", places.of("peft.rank_pattern"), rank,
                      shortened(pattern));
  for (const nlohmann::json& block : peft.layers_to_transform)
    if (!block.is_number_integer() || block < 0)
      throw UserError("{}: found {} in the list; the numbers of blocks, from 0, are wanted",
                      places.of("peft.layers_to_transform"), in_short(block));
}

void check_quantization(const Config& config, const Places& places) {
  const QuantizationSection& quantization = config.quantization;
  if (quantization.kind == "none") {
    if (const std::vector<std::string> keys = changed_keys(config, "quantization."); !keys.empty())
      throw UserError("{}: given, but quantization.kind is none; nf4, fp4 or int8 is wanted with it",
                      places.of(keys.front()));
    return;
  }
  if (const int64_t size = quantization.block_size; (size & (size - 1)) != 0)
    throw UserError("{}: found {}; 32, 64, 128, 256, 512, 1024, 2048 or 4096 is wanted",
                    places.of("quantization.block_size"), size);
  if (quantization.kind == "int8" && quantization.block_size != QuantizationSection().block_size)
    throw UserError("{}: found {}, but int8 has one scale a row, and no blocks; nf4 or fp4 has them",
                    places.of("quantization.block_size"), quantization.block_size);
  if (quantization.compute_dtype != "auto" && quantization.compute_dtype != config.model.dtype)
    throw UserError("{}: found {}, but products are computed in model.dtype, {}; auto is right",
                    places.of("quantization.compute_dtype"), quantization.compute_dtype, config.model.dtype);
}

void check_monitor(const MonitorSection& monitor, const Places& places) {
  if (monitor.prometheus_open && monitor.prometheus.empty())
    throw UserError("{}: true, but monitor.prometheus has no address; HOST:PORT is wanted there",
                    places.of("monitor.prometheus_open"));
}

void check_between_keys(const Config& config, const Places& places) {
  check_monitor(config.monitor, places);
  check_ranks(config.parallel, places);
  check_partition_size(config.parallel, places);
  shard_bytes_of(config.checkpoint.max_shard_size, places.of("checkpoint.max_shard_size"));
  const auto place = [&](const std::string& key) { return places.of(key); };
  check_options(config.optimizer, place);
  check_options(config.lr_scheduler, place);
  check_peft(config, places);
  check_quantization(config, places);
  // A micro-batch counts its tokens in 32 bits (io/batch.hpp).
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (config.train.micro_batch_size > kMost / config.data.sequence_length)
    throw UserError("{}: found {} with sequences of {} tokens; a micro-batch of at most {} tokens is wanted",
                    places.of("train.micro_batch_size"), config.train.micro_batch_size,
                    config.data.sequence_length, kMost);
  // The most sequences an epoch may have (io/sequence_order.cpp).
  constexpr int64_t kMostSequences = std::numeric_limits<uint32_t>::max();
  const auto sequences = checked_product(
      {config.train.micro_batch_size, config.train.gradient_accumulation_steps, config.parallel.dp_size});
  if (!sequences || *sequences > kMostSequences)
    throw UserError(
        "{}: found {}, with micro-batches of {} sequences and {} replicas; a step of at most {} sequences is "
        "wanted",
        places.of("train.gradient_accumulation_steps"), config.train.gradient_accumulation_steps,
        config.train.micro_batch_size, config.parallel.dp_size, kMostSequences);
  if (!config.model.config.is_object())
    throw UserError("{}: found JSON of type {}; a map is wanted", places.of("model.config"),
                    config.model.config.type_name());
}

void add_once(std::vector<std::string>& all, const std::string& text) {
  if (std::find(all.begin(), all.end(), text) == all.end()) all.push_back(text);
}

// Throws "FILE: key: missing; ..."
[[noreturn]] void refuse_missing(const Config& config, const std::string& path, const std::string& wanted) {
  Origin file;
  file.file = config.file.path;
  throw UserError("{}: missing; {}", file.place(path), wanted);
}

void require_tokenizer(const Config& config) {
  if (config.model.path.empty() && config.tokenizer.path.empty() && config.tokenizer.kind == "auto")
    refuse_missing(config, "tokenizer.path",
                   "a folder with a tokenizer is wanted, or tokenizer.kind: byte (there is no model.path to "
                   "take it from)");
}

void require_model(const Config& config) {
  if (!config.model.path.empty()) return;
  if (!config.model.from_scratch)
    refuse_missing(
        config, "model.path",
        "a folder with a Hugging Face model is wanted, or model.from_scratch: true with model.config");
  if (config.model.config.empty())
    refuse_missing(config, "model.config",
                   "from scratch and with no model.path, the keys of a Hugging Face config.json are wanted");
}

}  // namespace

std::string Places::of(const std::string& path) const {
  if (const auto exact = origins_.find(path); exact != origins_.end()) return exact->second.place(path);
  for (std::string section = path; section.find('.') != std::string::npos;) {
    section.resize(section.rfind('.'));
    const auto found = origins_.find(section);
    if (found != origins_.end() && !found->second.from_setting) return found->second.place(path);
  }
  return file_.place(path);
}

std::string source_path(const std::string& list, size_t index) {
  return fmt::format("{}.{}", list, index);
}

void check_all(const Config& config, const Places& places, std::vector<std::string>& warnings) {
  Config copy = config;  // the table holds pointers to members that could be changed through it
  for (const Key& key : schema(copy)) {
    key.check(places.of(key.path));
    if (auto* const* sources = std::get_if<std::vector<DataSource>*>(&key.target))
      check_sources(**sources, key.path, places);
    if (auto* const* sets = std::get_if<std::vector<EvalSet>*>(&key.target)) check_sets(**sets, places);
    if (!key.warning_if_true.empty() && key.yaml() == "true")
      add_once(warnings, fmt::format("{}: {}", key.path, key.warning_if_true));
  }
  check_between_keys(config, places);
}

}  // namespace config

void check_config(const Config& config, std::vector<std::string>& warnings) {
  config::Origin file;
  file.file = config.file.path;
  config::check_all(config, config::Places(file), warnings);
}

void require_training(const Config& config) {
  using namespace config;
  if (config.run.name.empty()) refuse_missing(config, "run.name", "a name for the run is wanted");
  if (config.run.dir.empty())
    refuse_missing(config, "run.dir", "the folder that the run is to be written to is wanted");
  require_model(config);
  require_tokenizer(config);
  if (config.data.train.empty()) refuse_missing(config, "data.train", kSourceExample);
  if (!config.train.steps && !config.train.epochs)
    refuse_missing(config, "train.steps",
                   "train.steps or train.epochs (or both: whichever ends first) is wanted");
}

void require_eval(const Config& config) {
  using namespace config;
  require_model(config);
  require_tokenizer(config);
  if (config.model.from_scratch && config.run.dir.empty())
    refuse_missing(
        config, "run.dir",
        "the model is from scratch: the folder of the run whose latest checkpoint is evaluated is wanted");
  if (config.data.eval.empty() && config.eval.sets.empty())
    refuse_missing(config, "data.eval", std::string(kSourceExample) + ", or eval.sets");
}

SetKind kind_of(const EvalSet& set) {
  if (set.kind == name_of(SetKind::classification)) return SetKind::classification;
  return set.kind == name_of(SetKind::generation) ? SetKind::generation : SetKind::perplexity;
}

DataSource source_of(const EvalSet& set) {
  DataSource source = set.source;
  source.format = set.format != "auto" ? set.format : set.kind == "perplexity" ? "text" : "jsonl";
  return source;
}

}  // namespace collie
