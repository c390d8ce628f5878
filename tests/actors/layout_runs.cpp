#include "tests/actors/layout_runs.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "actors/cluster.hpp"
#include "models/pieces.hpp"
#include "tests/actors/threaded_config.hpp"

namespace collie::test {
namespace {

// The first state after one step is the gradient, or its square, times a factor of the rule, or, if the rule
// sees whole matrices or quantises, means or maxima of its squares. A state that starts as the weight is
// another weight, and a parameter without states tells nothing.
void read_gradients(const RunPlan& plan, LayoutOutcome& outcome) {
  const auto checkpoint =
      latest_checkpoint((std::filesystem::path(plan.config.run.dir) / "checkpoints").string());
  if (!checkpoint || checkpoint->step() != 1) throw RunError("the first checkpoint is not of step 1");
  const auto account = std::make_shared<MemoryAccount>();
  const ParameterGroups groups(plan.config.optimizer);
  for (const NamedTensor& tensor : tensors_of(model_parameters(plan.model))) {
    std::vector<StateDeclaration> states = groups.of(tensor.name, tensor.shape).optimizer->states(tensor);
    std::erase_if(states, [](const StateDeclaration& state) { return state.starts_as_weight; });
    if (states.empty() || !plan.model.trains(tensor.name)) continue;
    const bool of_lines = states.back().shape != StateShape::elements;
    const StateDeclaration& state = of_lines ? states.back() : states.front();
    const Shape of_state = state_shape(state, tensor);
    Tensor moment = Tensor::host(of_state, DType::f32, account, Category::workspace);
    checkpoint->read(tensor.name, state.name, of_state,
                     std::vector<int64_t>(static_cast<size_t>(of_state.rank()), 0), moment);
    outcome.gradients[tensor.name] = {moment.data<float>(), moment.data<float>() + moment.numel()};
  }
}

}  // namespace

void run_to_the_end(RunPlan plan, LayoutOutcome& outcome) {
  ThreadedConfig config;
  if (!plan.config.cluster.nodes.empty()) add_cluster_support(config, plan.config.cluster);
  caf::actor_system system(config);
  caf::scoped_actor self(system);
  spawn_run(system, std::move(plan), caf::actor_cast<caf::actor>(self));
  bool ended = false;
  while (!ended)
    self->receive([](const RunStarted&) {},
                  [&](const StepFinished& step) {
                    outcome.losses.push_back(step.loss.value_or(0.0));
                    outcome.norms.push_back(step.grad_norm);
                  },
                  [](const EvaluationFinished&) {}, [](const CheckpointSaved&) {},
                  [&](const RunEnded& end) {
                    if (end.exit_code != 0) throw RunError("{}", end.message);
                    outcome.summary = end.summary;
                    ended = true;
                  },
                  caf::after(std::chrono::seconds(120)) >> [] { throw RunError("the run says nothing"); });
}

std::string LayoutOptions::name() const {
  return fmt::format("dp{} tp{} pp{} cp{} {} zero{}{}{}", dp, tp, pp, cp, schedule, zero,
                     sequence_parallel ? " sp" : "",
                     processes > 1 ? fmt::format(" over {} processes", processes) : "");
}

bool LayoutOptions::every_option_counts() const {
  return (pp > 1 || schedule == LayoutOptions().schedule) && (dp * cp > 1 || zero == 0) &&
         (tp > 1 || !sequence_parallel);
}

std::string MathsOptions::name() const {
  return fmt::format(
      "{}{}{}, {}, {}{}{}, {} sequences a step in micro-batches of {}, {}{}, gradients {}, states {}, "
      "rounded "
      "{}",
      family, dropout ? " with dropout" : "",
      peft == "none" ? "" : " with " + peft + (quantisation == "none" ? "" : " of " + quantisation),
      optimizer, tied ? "tied" : "untied", packing ? ", packed" : "", masked ? ", masked" : "",
      sequences_per_step, micro_batch_size, dtype, master ? " with masters" : "", grad_dtype, state_dtype,
      rounding);
}

OptimizerConfig optimizer_config(const std::string& name) {
  OptimizerConfig config;
  const std::string optimizer = name.substr(0, name.find(" averaged"));
  config.options.set("lr", 3e-3);
  if (optimizer != "mixed") config.name = optimizer;
  if (optimizer == "sgd") config.options = {{"lr", 0.1}, {"momentum", 0.9}, {"nesterov", true}};
  if (optimizer == "adamw_schedule_free") config.options = {{"lr", 3e-3}, {"weight_decay", 0.1}};
  if (optimizer == "lion") config.options = {{"lr", 1e-3}, {"weight_decay", 0.1}};
  if (optimizer == "adafactor")
    config.options = {{"lr", 2e-2}, {"relative_step", false}, {"beta1", 0.9}, {"weight_decay", 0.1}};
  if (optimizer == "muon") config.options = {{"lr", 3e-3}};
  if (optimizer == "adalomo") config.options = {{"lr", 2e-2}, {"weight_decay", 0.1}};
  if (optimizer == "lomo") config.options = {{"lr", 0.1}};
  if (optimizer == "plain sgd") {
    config.name = "sgd";
    config.options = {{"lr", 0.1}};
  }
  if (optimizer == "adalomo after backward") {
    config.name = "adalomo";
    config.options = {{"lr", 2e-2}, {"weight_decay", 0.1}};
  }
  if (optimizer == "adamw_8bit inside backward") config.name = "adamw_8bit";
  config.fused_update =
      optimizer == "adalomo" || optimizer == "lomo" || optimizer == "adamw_8bit inside backward";
  if (optimizer == "adan") config.options.set("weight_decay", 0.02);
  // An estimate every three steps, so that a resume falls on one and between two.
  if (optimizer == "sophia")
    config.options = {{"lr", 1e-3}, {"weight_decay", 0.1}, {"hessian_interval", int64_t{3}}};
  if (optimizer == "mixed")
    config.groups = {{{"*norm*", "*.bias"}, "sgd", {{"lr", 0.1}}},
                     {{"*embed_tokens*"}, "", {{"lr_scale", 0.5}, {"weight_decay", 0.0}}},
                     {{"*.mlp.*"}, "adam", {{"lr", 3e-3}}},
                     {{"*_proj.weight"}, "lion", {{"lr", 1e-3}, {"weight_decay", 0.1}}}};
  return config;
}

// Eight blocks, four heads, bytes as tokens.
static nlohmann::json model_config(const MathsOptions& maths) {
  if (maths.family == "gpt2")
    return {{"model_type", "gpt2"}, {"n_embd", maths.in_blocks ? 64 : 32},
            {"n_inner", 48},        {"n_layer", 8},
            {"n_head", 4},          {"vocab_size", 260},
            {"n_positions", 64},    {"tie_word_embeddings", maths.tied}};
  if (maths.family == "moss" || maths.family == "codegen" || maths.family == "gptj")
    return {{"model_type", maths.family},
            {"n_embd", 32},
            {"n_inner", 48},
            {"n_layer", 8},
            {"n_head", 4},
            {"n_positions", 64},
            {"rotary_dim", 4},
            {"vocab_size", 260},
            {"resid_pdrop", 0.1},
            {"tie_word_embeddings", maths.tied}};
  if (maths.family == "falcon")
    return {{"model_type", "falcon"},
            {"hidden_size", 32},
            {"ffn_hidden_size", 48},
            {"num_hidden_layers", 8},
            {"num_attention_heads", 4},
            {"num_kv_heads", 2},
            {"new_decoder_architecture", true},
            {"num_ln_in_parallel_attn", maths.packing ? 1 : 2},
            {"vocab_size", 260},
            {"max_position_embeddings", 64},
            {"tie_word_embeddings", maths.tied}};
  if (maths.family == "chatglm")
    return {{"model_type", "chatglm"},
            {"hidden_size", 32},
            {"ffn_hidden_size", 48},
            {"num_layers", 8},
            {"num_attention_heads", 4},
            {"kv_channels", 8},
            {"multi_query_group_num", 2},
            {"padded_vocab_size", 260},
            {"seq_length", 64},
            {"add_qkv_bias", true},
            {"tie_word_embeddings", maths.tied}};
  // The blank is the W of a question (write_texts()), and its end starts the answer.
  if (maths.family == "chatglm_6b")
    return {{"model_type", "chatglm"},   {"hidden_size", 32},
            {"inner_hidden_size", 48},   {"num_layers", 8},
            {"num_attention_heads", 4},  {"vocab_size", 260},
            {"max_sequence_length", 64}, {"position_encoding_2d", true},
            {"bos_token_id", int{'?'}},  {"gmask_token_id", int{'W'}},
            {"mask_token_id", int{'w'}}, {"tie_word_embeddings", maths.tied}};
  nlohmann::json object = {{"model_type", maths.family},
                           {"hidden_size", 32},
                           {"intermediate_size", 48},
                           {"num_hidden_layers", 8},
                           {"num_attention_heads", 4},
                           {"num_key_value_heads", 2},
                           {"vocab_size", 260},
                           {"max_position_embeddings", 64},
                           {"tie_word_embeddings", maths.tied}};
  if (maths.family.starts_with("gemma") || maths.family.starts_with("glm")) object["head_dim"] = 8;
  // Windows that documents exceed, on some blocks or on all.
  for (const char* family : {"gemma2", "gemma3_text", "mistral", "starcoder2"})
    if (maths.family == family) object["sliding_window"] = 10;
  if (maths.family == "gpt_neox" || maths.family == "internlm") object.erase("num_key_value_heads");
  if (maths.family == "llama") object.update({{"attention_bias", true}, {"mlp_bias", true}});
  // Documents of more than 12 tokens have other angles than shorter ones.
  if (maths.family == "phi3")
    object.update({{"resid_pdrop", 0.1},
                   {"attention_dropout", 0.1},
                   {"original_max_position_embeddings", 12},
                   {"rope_scaling",
                    {{"type", "longrope"},
                     {"short_factor", {1.0, 1.2, 1.5, 2.0}},
                     {"long_factor", {1.5, 2.0, 4.0, 8.0}}}}});
  if (maths.in_blocks) object.update({{"head_dim", 128}, {"intermediate_size", 512}, {"vocab_size", 272}});
  return object;
}

PeftSection peft_section(const std::string& peft) {
  PeftSection section;
  if (peft == "none") return section;
  if (peft == "ia3") {
    section.type = "ia3";
    return section;
  }
  if (peft.ends_with("_bn")) {
    section.type = "adapter";
    section.adapter_config = peft;
    return section;
  }
  if (peft == "prompt" || peft == "prefix") {
    section.type = peft + "_tuning";
    section.num_virtual_tokens = 3;
    return section;
  }
  if (peft == "ptuning" || peft == "ptuning_lstm") {
    section.type = "p_tuning";
    section.num_virtual_tokens = 3;
    section.encoder_hidden_size = 6;
    if (peft == "ptuning") return section;
    section.encoder_reparameterization_type = "LSTM";
    section.encoder_dropout = 0.2;
    return section;
  }
  if (peft == "prefix_mlp") {
    section.type = "prefix_tuning";
    section.num_virtual_tokens = 3;
    section.prefix_projection = true;
    return section;
  }
  if (peft == "adalora" || peft == "adalora_all") {
    section.type = "adalora";
    section.init_r = 4;
    section.target_r = 2;
    section.total_step = 4;
    section.tfinal = 1;
    section.lora_alpha = 0.5;
    section.init_lora_weights = "false";
    if (peft == "adalora") return section;
    section.tfinal = 0;
    // So that E is no vector of so few elements that its gradient's rounding in bfloat16 is a matter of luck.
    section.init_r = 8;
    section.target_r = 3;
    section.target_modules = {"all-linear"};
    section.lora_dropout = 0.1;
    section.bias = "lora_only";
    return section;
  }
  section.type = "lora";
  section.r = 4;
  section.init_lora_weights = "false";  // else A's first gradient is zero
  if (peft == "lora") return section;
  // What adapters add is of the size of the weights. With several times that (peft's lora_alpha of 8 and this
  // start) eight blocks amplify the rounding of every sum, and no order of sums is within 1e-5 of another.
  section.lora_alpha = 0.5;
  section.r = 3;
  section.target_modules = {"all-linear"};
  if (peft == "pissa" || peft == "olora") {
    section.init_lora_weights = peft;
    return section;
  }
  section.use_dora = peft == "dora_all";
  section.lora_dropout = 0.1;
  section.use_rslora = true;
  section.bias = "lora_only";
  section.rank_pattern = {{{".*\\.1\\..*", 5}}};
  return section;
}

void write_base(const TemporaryFolder& folder, const MathsOptions& maths) {
  MathsOptions plain = maths;
  plain.peft = "none";
  plain.dtype = "float32";
  Config config = layout_config(folder, plain, {}, 1);
  config.run.dir = (folder / "base").string();
  config.model.save_dtype = "bfloat16";  // the same weights for runs of either dtype
  LayoutOutcome ignored;
  run_to_the_end(plan_training(std::move(config), ExistingRun::refuse), ignored);
}

Config layout_config(const TemporaryFolder& folder, const MathsOptions& maths, const LayoutOptions& layout,
                     int64_t steps) {
  Config config;
  config.run.name = "layout";
  config.run.dir = (folder / "run").string();
  config.run.stall_timeout_s = 60;
  config.model.from_scratch = true;
  config.model.config = model_config(maths);
  config.model.dropout = maths.dropout ? "config" : "0.0";
  config.model.dtype = maths.dtype;
  config.peft = peft_section(maths.peft);
  if (maths.peft != "none") {
    config.model.from_scratch = false;
    config.model.config = nlohmann::json::object();
    config.model.path = (folder / "base/final").string();
    config.quantization.kind = maths.quantisation;
  }
  config.model.frozen = maths.frozen;
  config.optimizer = optimizer_config(maths.optimizer);
  if (maths.optimizer.ends_with(" averaged")) config.callbacks = {{"ema", {{"decay", 0.6}}}};
  config.optimizer.master = maths.master;
  config.optimizer.grad_dtype = maths.grad_dtype;
  config.optimizer.state_dtype = maths.state_dtype;
  config.optimizer.rounding = maths.rounding;
  config.tokenizer.kind = "byte";
  DataSource source;
  source.path = (folder / "train.txt").string();
  if (maths.masked) {
    source.path = (folder / "train.jsonl").string();
    source.format = "jsonl";
    source.prompt = "question";
    source.completion = "answer";
  }
  config.data.train = {source};
  config.data.sequence_length = 33;  // odd, so that nothing divides it
  config.data.packing = maths.packing ? "true" : "false";
  if (maths.family == "chatglm_6b") config.data.sequence_length = 41;  // its documents stay whole
  config.train.steps = steps;
  config.train.micro_batch_size = maths.micro_batch_size;
  config.train.gradient_accumulation_steps = maths.sequences_per_step / maths.micro_batch_size / layout.dp;
  config.train.clip_grad_norm = maths.clip_grad_norm;
  config.train.clip_grad_norm_mode = maths.clip_grad_norm_mode;
  config.train.clip_grad_value = maths.clip_grad_value;
  config.parallel.dp_size = layout.dp;
  config.parallel.tp_size = layout.tp;
  config.parallel.pp_size = layout.pp;
  config.parallel.cp_size = layout.cp;
  config.parallel.schedule = layout.schedule;
  config.parallel.zero_stage = layout.zero;
  config.parallel.sequence_parallel = layout.sequence_parallel;
  config.parallel.offload = layout.offload;
  config.model.recompute = layout.recompute;
  config.parallel.bucket_elements = 20'000;  // a few blocks
  config.lr_scheduler = {"constant", {{"warmup_steps", int64_t{4}}}};
  config.checkpoint.every_n_steps = 0;
  config.monitor.console = "none";
  config.monitor.tensorboard = config.monitor.csv = false;
  config.device.kind = layout.device;
  config.device.threads = 1;
  config.device.graphs = layout.graphs;
  return config;
}

void write_texts(const TemporaryFolder& folder) {
  std::string text, pairs;
  for (int i = 0; i < 260; ++i) {
    text += fmt::format("The {}th collie herds sheep. ", i * i);
    pairs += fmt::format("{{\"question\": \"What is {} times {}?\", \"answer\": \" It is {}.\"}}\n", i, i + 7,
                         i * (i + 7));
  }
  folder.write("train.txt", text);
  folder.write("eval.txt", text.substr(0, 400));
  folder.write("train.jsonl", pairs);
}

LayoutOutcome run_layouts(const MathsOptions& maths,
                          const std::vector<std::pair<LayoutOptions, int64_t>>& until,
                          const NodeAddresses& nodes) {
  const TemporaryFolder folder;
  write_texts(folder);
  if (maths.peft != "none") write_base(folder, maths);
  LayoutOutcome outcome;
  for (const auto& [layout, steps] : until) {
    Config config = layout_config(folder, maths, layout, steps);
    if (layout.processes > 1) config.cluster.nodes = {nodes.begin(), nodes.begin() + layout.processes};
    RunPlan plan = plan_training(std::move(config), ExistingRun::resume);
    run_to_the_end(plan, outcome);
    if (steps == 1) read_gradients(plan, outcome);
  }
  return outcome;
}

LayoutOutcome run_halves(const MathsOptions& maths, const LayoutOptions& first, const LayoutOptions& then,
                         const NodeAddresses& nodes) {
  return run_layouts(maths, {{first, 1}, {first, layout_steps / 2}, {then, layout_steps}}, nodes);
}

LayoutOutcome run_one_rank(const MathsOptions& maths) {
  return run_layouts(maths, {{LayoutOptions{}, 1}, {LayoutOptions{}, layout_steps}});
}

double loss_difference(const LayoutOutcome& a, const LayoutOutcome& b) {
  if (a.losses.size() != b.losses.size()) return INFINITY;
  double largest = 0;
  for (size_t i = 0; i < a.losses.size(); ++i) {
    const double difference = std::abs(a.losses[i] - b.losses[i]) / std::abs(b.losses[i]);
    largest = difference >= largest ? difference : std::isnan(difference) ? INFINITY : largest;
  }
  return largest;
}

double gradient_difference(const LayoutOutcome& a, const LayoutOutcome& b, std::string& parameter) {
  double largest = 0;
  for (const auto& [name, expected] : b.gradients) {
    const auto& found = a.gradients.at(name);
    double difference = 0, norm = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const double x = found[i], y = expected[i];
      difference += (x - y) * (x - y);
      norm += y * y;
    }
    const double relative = std::sqrt(difference) / std::max(std::sqrt(norm), 1e-30);
    if (relative <= largest) continue;
    largest = relative;
    parameter = name;
  }
  return largest;
}

static const std::vector<std::string> all_schedules = {"gpipe", "1f1b", "interleaved_1f1b",
                                                       "zb_h1", "zbv",  "dualpipe_v"};

std::vector<LayoutOptions> all_layouts(const std::vector<int>& processes) {
  std::vector<LayoutOptions> all;
  for (const int dp : {1, 2, 4})
    for (const int tp : {1, 2, 4})
      for (const int pp : {1, 2, 4})
        for (const int cp : {1, 2, 4})
          for (const std::string& schedule : all_schedules)
            for (const int zero : {0, 1, 2, 3})
              for (const bool sequence_parallel : {false, true})
                for (const int count : processes) {
                  const LayoutOptions layout{dp, tp, pp, cp, schedule, zero, sequence_parallel, count};
                  if (layout.ranks() <= 8 && layout.ranks() % count == 0) all.push_back(layout);
                }
  return all;
}

std::vector<std::string> options_of(const LayoutOptions& layout) {
  std::vector<std::string> options = {fmt::format("dp{}", layout.dp), fmt::format("tp{}", layout.tp),
                                      fmt::format("pp{}", layout.pp), fmt::format("cp{}", layout.cp)};
  if (layout.pp > 1) options.push_back(layout.schedule);
  if (layout.dp * layout.cp > 1) options.push_back(fmt::format("zero{}", layout.zero));
  if (layout.tp > 1) options.push_back(fmt::format("sp{}", layout.sequence_parallel));
  options.push_back(fmt::format("{} processes", layout.processes));
  return options;
}

std::vector<size_t> covering_array(const std::vector<std::vector<std::string>>& cases) {
  std::map<std::pair<std::string, std::string>, size_t> numbers;  // of pairs
  std::vector<std::vector<size_t>> pairs(cases.size());
  for (size_t index = 0; index < cases.size(); ++index)
    for (size_t i = 0; i < cases[index].size(); ++i)
      for (size_t j = i + 1; j < cases[index].size(); ++j)
        pairs[index].push_back(
            numbers.emplace(std::pair(cases[index][i], cases[index][j]), numbers.size()).first->second);
  std::vector<bool> missing(numbers.size(), true);
  const auto fresh_of = [&](const std::vector<size_t>& of) {
    return std::count_if(of.begin(), of.end(), [&](size_t pair) { return missing[pair]; });
  };
  std::vector<size_t> chosen;
  while (std::count(missing.begin(), missing.end(), true) > 0) {
    const auto best = std::max_element(
        pairs.begin(), pairs.end(), [&](const auto& a, const auto& b) { return fresh_of(a) < fresh_of(b); });
    chosen.push_back(static_cast<size_t>(best - pairs.begin()));
    for (const size_t pair : *best) missing[pair] = false;
  }
  return chosen;
}

bool LayoutCase::is_possible() const {
  const int64_t micro_batches = maths.sequences_per_step / maths.micro_batch_size / layout.dp;
  return layout.every_option_counts() &&
         (layout.schedule != "dualpipe_v" || micro_batches >= 2 * layout.pp - 1);
}

std::vector<std::string> LayoutCase::options() const {
  std::vector<std::string> all = options_of(layout);
  for (const std::string& option :
       {fmt::format("micro-batches of {}", maths.micro_batch_size), maths.dtype, maths.family,
        maths.optimizer, "adapters: " + maths.peft, "quantisation: " + maths.quantisation})
    all.push_back(option);
  return all;
}

std::vector<std::vector<LayoutCase>> covering_cases(const std::vector<LayoutCase>& all) {
  std::vector<std::vector<std::string>> options;
  for (const LayoutCase& each : all) options.push_back(each.options());
  std::map<std::string, std::vector<LayoutCase>> groups;
  for (const size_t index : covering_array(options)) groups[all[index].maths.name()].push_back(all[index]);
  std::vector<std::vector<LayoutCase>> chosen;
  for (auto& [maths, cases] : groups) chosen.push_back(std::move(cases));
  return chosen;
}

static MathsOptions of_family(const std::string& family, bool dropout, MathsOptions maths) {
  maths.family = family;
  maths.dropout = dropout;
  return maths;
}

static MathsOptions with_optimizer(const std::string& optimizer, MathsOptions maths) {
  maths.optimizer = optimizer;
  return maths;
}

static MathsOptions with_adapters(const std::string& peft, MathsOptions maths) {
  maths.peft = peft;
  return maths;
}

// What is computed varies from case to case, too: every layout can do all of it.
const std::vector<MathsOptions>& all_maths() {
  static const std::vector<MathsOptions> all = {
      {},                                               // tied, packed
      with_optimizer("sgd", {false, true, true}),       // untied, masked prompts
      with_optimizer("adam", {true, false, true}),      // one document a sequence
      with_optimizer("lion", {true, true, false, 20}),  // micro-batches that four stages do not divide
      with_optimizer("adan", {true, true, true}),
      with_optimizer("sophia", {true, true, false, 20}),
      with_optimizer("mixed", {false, true, false, 32, 2}),
      of_family("gpt2", true, {}),
      with_optimizer("adamw_schedule_free", {true, true, true}),
      of_family("qwen2", false, {false, true, true}),
      of_family("phi3", true, {true, true, true}),
      of_family("internlm2", false, {false, true, false, 20}),
      with_adapters("lora_all", {true, true, true}),
      of_family("gemma2", false, {true, true, true}),
      of_family("gemma3_text", false, {false, true, true}),
      of_family("glm4", false, {true, true, true}),
      of_family("chatglm", false, {false, true, true}),
      of_family("moss", true, {false, true, true}),
      of_family("falcon", false, {true, true, true}),
  };
  return all;
}

// "" where the run is what one rank's is.
std::string complaint_of(const LayoutOutcome& found, const LayoutOutcome& expected, bool bitwise,
                         double loss_tolerance, double gradient_tolerance) {
  if (bitwise && found.losses != expected.losses) return "the losses' bits differ";
  if (bitwise && found.norms != expected.norms) return "the norms' bits differ";
  if (const double difference = loss_difference(found, expected); !(difference <= loss_tolerance))
    return fmt::format("losses differ by {:.2e}", difference);
  std::string parameter;
  if (const double difference = gradient_difference(found, expected, parameter);
      !(difference <= gradient_tolerance))
    return fmt::format("the first gradient of {} differs by {:.2e}", parameter, difference);
  return "";
}

std::string complaint_of_halves(const LayoutOutcome& found, const LayoutOutcome& one_rank,
                                const MathsOptions& maths, const LayoutOptions& first,
                                const LayoutOptions& then) {
  const std::string complaint = complaint_of(found, one_rank, first.bitwise() && then.bitwise(),
                                             maths.loss_tolerance(), maths.gradient_tolerance());
  if (!complaint.empty() || (first.processes == 1 && then.processes == 1)) return complaint;
  LayoutOptions first_here = first, then_here = then;
  first_here.processes = then_here.processes = 1;
  const std::string other = complaint_of(found, run_halves(maths, first_here, then_here), true);
  return other.empty() ? "" : "against one process: " + other;
}

}  // namespace collie::test
