#include "plan/run_plan.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/error.hpp"
#include "base/failpoint.hpp"
#include "base/log.hpp"
#include "base/processors.hpp"
#include "base/quote.hpp"
#include "io/callback_options.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"
#include "io/model_folder.hpp"
#include "io/plugins.hpp"
#include "kernels/cpu/bfloat16_product.hpp"
#include "models/pieces.hpp"
#include "models/quantised_weights.hpp"
#include "models/weights_io.hpp"
#include "optim/parameter_groups.hpp"
#include "optim/precision.hpp"
#include "optim/state_blocks.hpp"
#include "peft/adapter_config.hpp"
#include "peft/adapter_folder.hpp"
#include "peft/model_of_config.hpp"
#include "peft/quantised_base.hpp"
#include "peft/virtual_tokens.hpp"
#include "plan/base_model.hpp"
#include "plan/blank_check.hpp"
#include "plan/checkpoint_metadata.hpp"
#include "plan/companion_files.hpp"
#include "plan/data_order.hpp"
#include "plan/data_resume.hpp"
#include "plan/evaluated_metrics.hpp"
#include "plan/evaluation_sets.hpp"
#include "plan/existing_run.hpp"
#include "plan/kept_checkpoints.hpp"
#include "plan/prompt_start.hpp"
#include "plan/rank_schedule.hpp"
#include "plan/resume_check.hpp"
#include "plan/start_adapter.hpp"
#include "plan/stored_quantisation.hpp"
#include "runtime/sinks/sink.hpp"
#include "schedule/schedules.hpp"

namespace collie {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// The place of a run's tokenised data: its folder, if that folder can be written to.
fs::path cache_folder(const RunPlan& plan) {
  const std::string& folder = plan.config.run.dir;
  const bool elsewhere = folder.empty() || (plan.existing == ExistingRun::ignore && !fs::exists(folder)) ||
                         (fs::exists(folder) && !is_writable_folder(folder));
  return elsewhere ? fs::temp_directory_path() / "collie-engine-cache" : fs::path(folder) / "cache";
}

int threads_of(const Config& config) {
  return config.device.threads > 0 ? config.device.threads : usable_processors();
}

// A failure to write the data is an input error, because the run has not begun. The message names run.dir if
// the data are cached there.
std::shared_ptr<const Dataset> open_data(const RunPlan& plan, const std::vector<DataSource>& sources,
                                         const std::string& name) {
  const fs::path cache = cache_folder(plan);
  try {
    return open_dataset(sources, *plan.tokenizer, cache,
                        {.name = name,
                         .tokenizer_folder = tokenizer_folder(plan.config),
                         .max_bad_lines = plan.config.data.max_bad_lines,
                         .threads = threads_of(plan.config),
                         .shows_progress = plan.config.monitor.console != "none"});
  } catch (const RunError& error) {
    throw UserError("{}: {}", cache.filename() == "cache" ? "run.dir" : name, error.what());
  }
}

void resolve_tokenizer(RunPlan& plan) {
  const Config& config = plan.config;
  const std::string folder = tokenizer_folder(config);
  if (config.tokenizer.kind != "byte" && folder.empty())
    throw UserError(
        "tokenizer.path: nothing to read a tokenizer from; give tokenizer.path, model.path or "
        "tokenizer.kind: byte");
  plan.tokenizer = load_tokenizer(folder, config.tokenizer.kind);
}

// The folder's config.json, overridden by model.config.
ModelKeys model_keys(const Config& config) {
  const ModelSection& section = config.model;
  ModelKeys keys;
  keys.object = json::object();
  keys.where = config.file.place("model.config");
  if (!section.path.empty()) {
    if (!may_be_there(section.path)) throw UserError("model.path: there is no folder '{}'", section.path);
    if (!entry_exists(fs::path(section.path) / "config.json") &&
        entry_exists(fs::path(section.path) / adapter_config_name))
      throw UserError(
          "model.path: '{}' holds an adapter and no model; its adapter_config.json names its model, and "
          "--adapter "
          "or peft.path takes the adapter",
          section.path);
    keys = read_model_keys(section.path);
    if (!section.config.empty()) keys.where += " with model.config";
  }
  keys.object.update(section.config);
  for (const auto& [key, ignored] : section.config.items())
    keys.origins[key] = {config.file.place("model.config." + key), true};
  return keys;
}

// Some files say that they are tied but hold a head that differs from the embedding. They are not tied: the
// model was trained with that head and gets it, as in transformers 5. If model.config itself has the key, the
// model gets the one matrix.
void untie(ModelConfig& model, const ModelSection& section) {
  constexpr const char* key = "tie_word_embeddings";
  if (section.config.contains(key))
    return log::warn(
        "{}: its lm_head.weight is ignored, as model.config.{} is true, though it is another matrix than the "
        "embedding",
        section.path, key);
  log::warn(
      "{}/config.json: {} is true, but the folder's lm_head.weight is another matrix than the embedding; "
      "both "
      "are loaded, untied",
      section.path, key);
  model.tie_word_embeddings = false;
}

void say_ignored_dropout(const ModelSpec& model, const std::string& where) {
  const DropoutRates& rates = model.architecture.dropout;
  if (model.dropout || !rates.any()) return;
  log::warn(
      "{}: its dropout rates (embedding {}, attention {}, residual {}) are ignored; model.dropout: config "
      "applies them",
      where, rates.embedding, rates.attention, rates.residual);
}

void resize_vocabulary(const Config& config, ModelConfig& model) {
  const int64_t tokens = config.model.resize_vocabulary;
  if (tokens == 0 || tokens == model.vocab_size) return;
  if (config.model.from_scratch)
    throw UserError("{}: given beside model.from_scratch; model.config.vocab_size is right for a new model",
                    config.file.place("model.resize_vocabulary"));
  log::info("resizing the vocabulary of {} tokens to {}", model.vocab_size, tokens);
  model.stored_vocab_size = model.vocab_size;
  model.vocab_size = tokens;
}

void resolve_model(RunPlan& plan) {
  const ModelSection& section = plan.config.model;
  ModelKeys keys = model_keys(plan.config);
  const std::string where = keys.where;
  use_stored_quantisation(plan.config, keys);
  if (section.from_scratch && !keys.object.contains("vocab_size"))
    keys.object["vocab_size"] = plan.tokenizer->vocab_size();
  ModelConfig architecture = parse_model_config(keys);
  resize_vocabulary(plan.config, architecture);
  plan.model = model_of_config(plan.config, architecture);
  if (!plan.adapters.empty()) plan.model = with_adapters(plan.model, plan.adapters);
  if (plan.purpose == Purpose::train) {
    check_quantised_is_frozen(plan.config, plan.model);
    say_ignored_dropout(plan.model, where);
    choose_prompt_start(plan);
  }
  if (plan.model.architecture.tie_word_embeddings && !section.from_scratch &&
      has_own_head(section.path, plan.model.architecture))
    untie(plan.model.architecture, section);
  plan.model_json = to_hugging_face(plan.model.architecture);
  // transformers 5 reads dtype, earlier ones torch_dtype.
  for (const char* key : {"dtype", "torch_dtype"})
    plan.model_json[key] = section.save_dtype == "auto" ? section.dtype : section.save_dtype;
  if (plan.tokenizer->vocab_size() > plan.model.architecture.vocab_size)
    throw UserError(
        "{}: vocab_size is {}, but the tokenizer has {} tokens; it must be at least that, and "
        "model.resize_vocabulary adds rows for them",
        section.resize_vocabulary > 0 ? plan.config.file.place("model.resize_vocabulary") : where,
        plan.model.architecture.vocab_size, plan.tokenizer->vocab_size());
  const bool own_tokenizer =
      !section.from_scratch && plan.config.tokenizer.path.empty() && plan.config.tokenizer.kind != "byte";
  set_special_ids(keys.object, own_tokenizer, *plan.tokenizer, plan.model_json);
  if (const BlankTokens& blanks = plan.model.architecture.blanks; blanks.exist())
    plan.model_json["bos_token_id"] =
        blanks.start;  // a part of the model, whatever the tokenizer begins with
  plan.stop_ids = stop_ids(plan.config, *plan.tokenizer);
  plan.kept_files = kept_files(plan.config);
}

// `ranks_here`: the number of ranks in this process, which share its threads.
void resolve_layout(RunPlan& plan, int ranks_here) {
  const ParallelSection& parallel = plan.config.parallel;
  Layout& layout = plan.layout;
  layout.grid = {parallel.pp_size, parallel.dp_size, parallel.cp_size, parallel.tp_size};
  layout.schedule = parallel.schedule;
  layout.virtual_stages = schedule::stages_per_rank(parallel.schedule, parallel.virtual_stages);
  layout.stages = layout.grid.pipeline * layout.virtual_stages;
  layout.rank_of_stage =
      schedule::rank_of_stage(layout.schedule, layout.grid.pipeline, layout.virtual_stages);
  if (plan.model.prompt.encoder.kind == EncoderKind::projection && layout.stages > 1)
    throw UserError(
        "{}: {} stages (parallel.pp_size, parallel.virtual_stages), but one computes the whole prefix for "
        "all "
        "blocks; 1, or peft.prefix_projection: false, is right",
        plan.config.file.place("peft.prefix_projection"), layout.stages);
  // A matrix that is frozen is on both stages, and nothing is exchanged for it.
  layout.tied = plan.model.architecture.tie_word_embeddings && model_parameters(plan.model).front().trainable;
  if (layout.tied && plan.purpose == Purpose::train) {
    const Parameter embedding = model_parameters(plan.model).front();
    const ParameterGroups optimizers(plan.config.optimizer);
    layout.tied_average = optimizers.of(embedding.name, embedding.shape).optimizer->average().has_value();
  }
  check_shard(plan.model.architecture,
              {0, parallel.tp_size, parallel.sequence_parallel, 0, parallel.cp_size});
  check_loss_shards(plan.config.train.loss, *losses().find(plan.config.train.loss)(), parallel.tp_size);
  // Measuring takes data, so a valid partition is used until then.
  const std::string how = parallel.partition == "measured" ? "uniform" : parallel.partition;
  set_ranges(plan, parallel.partition_list.empty()
                       ? partition_stages(plan.model.architecture, layout.stages, how)
                       : partition_stages(plan.model.architecture, parallel.partition_list));
  if (static_cast<int>(plan.ranges.size()) != layout.stages)
    throw UserError("parallel.partition: lists {} stages, the layout has {}", plan.ranges.size(),
                    layout.stages);
  plan.threads_per_rank = std::max(1, threads_of(plan.config) / ranks_here);
}

void resolve_device(RunPlan& plan) {
  const bool elsewhere = plan.existing == ExistingRun::ignore;  // only the plan is wanted
  plan.device = elsewhere ? planned_device(plan.config.device) : choose_device(plan.config.device);
  if (dtype_of(plan.config.model) == DType::bf16 && plan.device.kind == DeviceKind::cpu)
    cpu::bfloat16_products();  // refuses a wrong setting of the environment
}

void resolve_common(RunPlan& plan) {
  resolve_device(plan);
  resolve_tokenizer(plan);
  resolve_model(plan);
  const ParallelSection& parallel = plan.config.parallel;
  resolve_layout(plan, parallel.pp_size * parallel.dp_size * parallel.cp_size * parallel.tp_size);
}

void check_sequence_length(const RunPlan& plan) {
  if (plan.config.data.sequence_length > plan.model.architecture.max_position_embeddings)
    throw UserError(
        "data.sequence_length: {} is longer than the model's max_position_embeddings, {}; at most that is "
        "right",
        plan.config.data.sequence_length, plan.model.architecture.max_position_embeddings);
  if (plan.config.data.sequence_length > plan.model.positions())
    throw UserError(
        "{}: {} virtual tokens before windows of {} (data.sequence_length) leave no room in the model's {} "
        "positions (max_position_embeddings); at most {} do",
        plan.config.file.place("peft.num_virtual_tokens"), plan.model.prompt.tokens,
        plan.config.data.sequence_length, plan.model.architecture.max_position_embeddings,
        plan.model.architecture.max_position_embeddings - plan.config.data.sequence_length);
}

void open_evaluation_data(RunPlan& plan) {
  const Config& config = plan.config;
  if (!config.data.eval.empty()) {
    plan.evaluation_order =
        evaluation_order(open_data(plan, config.data.eval, "data.eval"), config.data.sequence_length,
                         packing_of(config.data, config.data.eval));
    check_blanks(plan.model.architecture.blanks, *plan.evaluation_order, config);
  }
  if (plan.model.architecture.blanks.exist() && !config.eval.sets.empty())
    throw UserError(
        "{}: sets of models whose documents have a blank (model_type chatglm with "
        "position_encoding_2d) are not supported yet; data.eval is",
        config.file.place("eval.sets"));
  plan.evaluation_sets = plan_evaluation_sets(
      plan, [&](const auto& sources, const std::string& name) { return open_data(plan, sources, name); });
}

// The run ends at whichever limit comes first; epochs count from the data's position.
void count_steps(RunPlan& plan) {
  const TrainSection& train = plan.config.train;
  plan.total_steps = train.steps.value_or(std::numeric_limits<int64_t>::max());
  if (train.epochs)
    plan.total_steps =
        std::min(plan.total_steps, last_step_of_epoch(*plan.order, plan.sizes, plan.origin, *train.epochs));
}

void open_training_data(RunPlan& plan) {
  const Config& config = plan.config;
  plan.order = training_order(config, open_data(plan, config.data.train, "data.train"));
  check_blanks(plan.model.architecture.blanks, *plan.order, config);
  plan.sizes = {config.train.micro_batch_size, config.train.gradient_accumulation_steps,
                config.parallel.dp_size, 0};
  plan.steps_per_epoch = steps_per_epoch(*plan.order, plan.sizes);
  count_steps(plan);
}

// The lists of a step are made and simulated before anything is allocated.
void check_schedule(const RunPlan& plan) {
  tasks_of(training_program, plan.layout, static_cast<int>(plan.sizes.gradient_accumulation_steps));
}

void check_fused_update(const Config& config, const ParameterGroups& optimizers) {
  const bool fuses = config.optimizer.fused_update;
  if (!fuses && config.train.clip_grad_norm_mode == "previous")
    throw UserError("{}: previous is for optimizer.fused_update, which is false; exact is right",
                    config.file.place("train.clip_grad_norm_mode"));
  for (const ParameterGroups::Group& group : optimizers.all())
    if (fuses && !group.optimizer->updates_in_parts())
      throw UserError(
          "{}: {} needs all gradients at a time, and does not update inside backward; false, or another "
          "optimizer than adamw_schedule_free, muon and sophia is right",
          config.file.place("optimizer.fused_update"), group.rule);
}

void check_names(const Config& config) {
  find_plugins(config.plugins);  // first, since others may be names of their pieces
  const auto place = [&](const std::string& key) { return config.file.place(key); };
  check_options(config.optimizer, place);
  const ParameterGroups optimizers(config.optimizer);
  const Precision precision = precision_of(config.optimizer, config.model.dtype, 0);
  for (const ParameterGroups::Group& group : optimizers.all()) {
    if (precision.stochastic && !group.optimizer->rounds_stochastically())
      throw UserError("{}: stochastic is not what every optimizer here can do; nearest is right",
                      place("optimizer.rounding"));
    if (precision.narrow_states && !group.optimizer->takes_narrow_states())
      throw UserError("{}: bfloat16 is not what every optimizer here can do; float32 is right",
                      place("optimizer.state_dtype"));
  }
  check_fused_update(config, optimizers);
  check_options(config.lr_scheduler, place);
  const std::unique_ptr<Loss> loss = losses().find(config.train.loss, place("train.loss"))();
  for (const ParameterGroups::Group& group : optimizers.all())
    if (group.optimizer->estimate_interval() > 0) check_loss_curvature(config.train.loss, *loss, group.rule);
  check_callbacks(config, place);
  if (!schedule::names_a_file(config.parallel.schedule))
    schedule::schedules().find(config.parallel.schedule, place("parallel.schedule"));
}

void check_parameter_groups(const RunPlan& plan) {
  for (const auto& [key, patterns] : {std::pair("model.frozen", &plan.config.model.frozen),
                                      std::pair("train.trainable", &plan.config.train.trainable)})
    if (!patterns->empty()) check_trained(plan.model, *patterns, plan.config.file.place(key));
  std::vector<std::string> names;
  for (const NamedTensor& tensor : tensors_of(model_parameters(plan.model))) names.push_back(tensor.name);
  check_groups(plan.config.optimizer, plan.config.file, names);
}

// Of every rank. Blocks do not depend on how the layers are partitioned.
void check_state_blocks(const RunPlan& plan) {
  const ParallelSection& parallel = plan.config.parallel;
  const ParameterGroups optimizers(plan.config.optimizer);
  const DataSharding sharding{0, plan.layout.grid.data_ranks(), parallel.zero_stage,
                              parallel.bucket_elements};
  for (const StageRange& range : plan.ranges)
    for (int tensor = 0; tensor < parallel.tp_size; ++tensor)
      check_blocks(
          stage_parameters(plan.model, range, {tensor, parallel.tp_size, parallel.sequence_parallel}), range,
          sharding, optimizers, plan.config.file.place("optimizer.name"));
}

// Adapters that a command names are used in place of those that the configuration would train.
void use_adapters(RunPlan& plan, std::vector<AdapterChoice> adapters) {
  plan.adapters = std::move(adapters);
  if (!plan.adapters.empty()) plan.config.peft = {};
}

void use_checkpoint(RunPlan& plan) {
  const std::string base = plan.model.has_adapters() ? plan.config.model.path : "";
  plan.weights = {WeightOrigin::Kind::checkpoint, plan.checkpoint->path(), base, {}, plan.weights.start};
}

// A run that mixed its sources does so from its own places on.
void go_on_in_data(RunPlan& plan) {
  const SequenceOrder& planned = *plan.order;
  std::vector<MixturePhase> phases =
      resumed_phases(planned, plan.checkpoint->metadata(), plan.checkpoint->path());
  if (phases == planned.mixture().phases()) return;
  plan.order =
      std::make_shared<const SequenceOrder>(planned.shared_dataset(), planned.settings(), std::move(phases));
  plan.steps_per_epoch = steps_per_epoch(*plan.order, plan.sizes);
}

// The data continue at the checkpoint's position, whatever sizes the steps had before it.
void go_on_from_checkpoint(RunPlan& plan) {
  const json& metadata = plan.checkpoint->metadata();
  use_checkpoint(plan);
  plan.origin = {plan.checkpoint->step(), metadata.at("position").get<int64_t>()};
  // Earlier versions did not write these keys.
  plan.estimated_step = metadata.value("estimated_step", int64_t{0});
  plan.last_norm = metadata.value("gradient_norm", 0.0);
  plan.steps_without_targets = metadata.value("steps_without_targets", int64_t{0});
  plan.skipped_steps = metadata.value("skipped_steps", int64_t{0});
  go_on_in_data(plan);
  count_steps(plan);
}

// Whose weights final/ has once the run has ended.
int64_t step_of_final(const RunPlan& plan) {
  const std::vector<EvaluatedCheckpoint> best = best_first(plan.evaluated);
  return final_is_best(plan.config) && !best.empty() ? best.front().step : plan.checkpoint->step();
}

// A run that continues does so from its newest complete checkpoint, or from the chosen one.
void resolve_existing_run(RunPlan& plan, const std::vector<std::string>& allowed_changes,
                          const CheckpointChoice& from) {
  if (plan.existing != ExistingRun::resume || !plan.folder_seen.marker) return;
  const fs::path folder = plan.config.run.dir;
  plan.checkpoint = over_base(plan, open_checkpoint(checkpoints_of(plan.config), from));
  if (!plan.checkpoint) return check_never_saved(plan);
  if (is_chosen(from)) find_later_steps(plan);
  keep_reach_of_decay(plan);
  check_unchanged(plan, allowed_changes);
  check_checkpoint(plan);
  memory_of(*plan.checkpoint, ParameterGroups(plan.config.optimizer));  // refuses that of others
  go_on_from_checkpoint(plan);
  find_evaluated_checkpoints(plan);
  // The final model of an earlier, shorter run may still be there.
  plan.already_finished = plan.checkpoint->step() >= plan.total_steps && plan.later_checkpoints.empty() &&
                          step_of_model_folder((folder / "final").string()) == step_of_final(plan);
  if (plan.already_finished) return;
  check_nothing_foreign(plan);
  warn_of_another_length(plan);
  warn_of_best_that_go(plan);
}

// This comes last, because it takes time and is only worthwhile for a valid plan.
void measure_partition(RunPlan& plan) {
  if (plan.config.parallel.partition != "measured") return;
  if (plan.device.kind == DeviceKind::cuda && plan.device.gpus == 0)
    throw UserError(
        "parallel.partition: measured, but the run's device is {}; 'parameters', 'uniform' or a list is "
        "right here",
        plan.device.description);
  partition_by_time(plan);
}

// What an adapter in peft.path was is kept by the run that began with it, and a resume does not need it
// again.
void complete_training_adapters(Config& config, ExistingRun existing) {
  const std::string resolved = (fs::path(config.run.dir) / resolved_config_name).string();
  if (existing == ExistingRun::resume && !config.peft.path.empty() && entry_exists(resolved)) {
    std::vector<std::string> ignored;
    const PeftSection began = load_config(resolved, {}, ignored).peft;
    if (began.path == config.peft.path) return complete_adapter_config(config, began);
  }
  complete_adapter_config(config);
}

// The weights are random or the model folder's. Those of a folder are checked against the model before
// anything is allocated for them.
void resolve_weights(RunPlan& plan) {
  failpoint("plan.weights");
  if (plan.config.model.from_scratch) return;
  plan.weights = {WeightOrigin::Kind::folder, plan.config.model.path, "", {}, ""};
  for (const AdapterChoice& choice : plan.adapters)
    plan.weights.adapters.push_back({choice.name, choice.folder});
  if (plan.adapters.empty() && !plan.config.peft.path.empty())
    plan.weights.adapters.push_back({"", plan.config.peft.path});
  const auto surplus = check_weights(plan.config.model.path, plan.model.base());
  if (!surplus.empty()) log::warn("{}", surplus_warning(plan.config.model.path, surplus));
  check_stored_quantisation(plan.config.model.path, plan.model);
}

// Those that are read: a checkpoint has its own. with_adapters() has checked what a command names.
void check_adapter_folders(const RunPlan& plan) {
  if (plan.adapters.empty())
    for (const AdapterOrigin& origin : plan.weights.adapters) AdapterFolder(origin).check(plan.model);
}

// The weights of the run's checkpoint that `from` means, or those that the run began with.
void choose_weights(RunPlan& plan, const CheckpointChoice& from) {
  const Config& config = plan.config;
  const bool needs_run =
      from.kind != CheckpointChoice::Kind::automatic && from.kind != CheckpointChoice::Kind::base;
  if (needs_run && config.run.dir.empty())
    throw UserError("{}: missing; --checkpoint {} is of the run in that folder", config.file.place("run.dir"),
                    to_string(from));
  if (!config.run.dir.empty()) plan.checkpoint = open_checkpoint(checkpoints_of(config), from);
  if (plan.checkpoint) {
    check_adapters_of_run(plan);
    plan.checkpoint = over_base(plan, plan.checkpoint);
    check_checkpoint(plan);
    warn_of_another_model(plan);
    return use_checkpoint(plan);
  }
  if (needs_run)
    throw UserError("--checkpoint {}: '{}' holds no checkpoint; run the training first", to_string(from),
                    checkpoints_of(config));
  if (config.model.from_scratch)
    throw UserError(
        "model.from_scratch: there is nothing to read weights from, {}; run the training first or give "
        "model.path",
        from.kind == CheckpointChoice::Kind::base
            ? "as --checkpoint base means model.path"
            : fmt::format("'{}' holds no checkpoint", checkpoints_of(config)));
  // The model that adapters were to be trained for has none yet.
  if (config.peft.path.empty() && plan.adapters.empty()) plan.model = plan.model.without_adapters();
  resolve_weights(plan);
  check_adapter_folders(plan);
}

}  // namespace

void set_ranges(RunPlan& plan, std::vector<StageRange> ranges) {
  plan.layout.first_trained_stage = first_trained_stage(plan.model, ranges);
  plan.ranges = std::move(ranges);
}

RunPlan plan_training(Config config, ExistingRun existing, const std::vector<std::string>& allowed_changes,
                      const CheckpointChoice& from) {
  require_training(config);
  RunPlan plan;
  plan.config = std::move(config);
  plan.purpose = Purpose::train;
  plan.existing = existing;
  complete_with_callbacks(plan.config);
  complete_training_adapters(plan.config, existing);
  check_can_be_trained(plan.config);
  add_loraplus_group(plan.config);
  check_names(plan.config);
  check_sinks(plan.config);
  look_at_existing_run(plan);  // refuses all that it can before any data are read
  check_chosen_run(plan, from);
  resolve_common(plan);
  check_sequence_length(plan);
  check_parameter_groups(plan);
  check_state_blocks(plan);
  open_training_data(plan);
  open_evaluation_data(plan);
  check_keep_best(plan);
  check_metrics_of_callbacks(plan);
  check_schedule(plan);
  check_rank_schedule(plan);
  resolve_weights(plan);
  if (plan.model.has_adapters() && plan.existing != ExistingRun::ignore)
    plan.base_hash = base_hash(plan, cache_folder(plan));
  resolve_existing_run(plan, allowed_changes, from);
  check_adapter_folders(plan);
  measure_partition(plan);
  return plan;
}

RunPlan plan_evaluation(Config config, const CheckpointChoice& from, std::vector<AdapterChoice> adapters) {
  require_eval(config);
  RunPlan plan;
  plan.config = std::move(config);
  use_adapters(plan, std::move(adapters));
  plan.purpose = Purpose::evaluate;
  complete_adapter_config(plan.config);
  losses().find(plan.config.train.loss);
  resolve_common(plan);
  check_sequence_length(plan);
  open_evaluation_data(plan);
  choose_weights(plan, from);
  measure_partition(plan);
  return plan;
}

RunPlan plan_generation(Config config, Generation generation, const CheckpointChoice& from,
                        std::vector<AdapterChoice> adapters) {
  RunPlan plan;
  plan.config = std::move(config);
  use_adapters(plan, std::move(adapters));
  plan.purpose = Purpose::generate;
  complete_adapter_config(plan.config);
  plan.generation = std::move(generation);
  for (const auto& [key, size] : {std::pair("dp_size", plan.config.parallel.dp_size),
                                  std::pair("cp_size", plan.config.parallel.cp_size)})
    if (size != 1)
      throw UserError(
          "parallel.{}: is {}, but one text is generated by one replica, token by token; it must be 1", key,
          size);
  resolve_common(plan);
  choose_weights(plan, from);
  plan.sampling = sampling_of(plan.config, plan.generation.sampling);
  plan.prompt_tokens = plan.tokenizer->encode(plan.generation.prompt, true);
  if (plan.prompt_tokens.empty()) {
    if (!plan.tokenizer->bos())
      throw UserError("--prompt: is empty, and the tokenizer has no BOS token to start from; give some text");
    plan.prompt_tokens.push_back(*plan.tokenizer->bos());
  }
  const auto length = static_cast<int64_t>(plan.prompt_tokens.size());
  if (length >= plan.model.positions())
    throw UserError(
        "--prompt: {} tokens long; the model has {} positions, so at most {} leave room for an answer",
        length, plan.model.positions(), plan.model.positions() - 1);
  check_blank_of_prompt(plan.model.architecture.blanks, plan.prompt_tokens);
  measure_partition(plan);
  return plan;
}

RunPlan plan_export(Config config, const CheckpointChoice& from, std::vector<AdapterChoice> adapters) {
  RunPlan plan;
  plan.config = std::move(config);
  use_adapters(plan, std::move(adapters));
  plan.purpose = Purpose::evaluate;
  complete_adapter_config(plan.config);
  resolve_tokenizer(plan);
  resolve_model(plan);
  choose_weights(plan, from);
  return plan;
}

json resume_fingerprint(const RunPlan& plan) {
  json print = fingerprint(plan.config);
  print["model"]["config"] = to_hugging_face(plan.model.architecture);
  if (!plan.base_hash.empty()) print["model"]["weights"] = plan.base_hash;
  print["tokenizer"] = plan.tokenizer->fingerprint();
  const Dataset& data = plan.order->dataset();
  print["data"]["packing"] = name_of(plan.order->settings().packing);
  print["data"]["contents"] = data.fingerprint();
  print["data"]["weights"] = words_of_weights(plan.order->mixture().phases().back().weights);
  print["data"]["documents"] = data.document_count();
  print["data"]["tokens"] = data.token_count();
  print["data"]["targets"] = data.target_count();
  print["train"]["sequences_a_step"] = plan.sizes.sequences();
  if (const json plugins = hashes_of(find_plugins(plan.config.plugins)); !plugins.empty())
    print["plugins"] = plugins;
  return print;
}

std::string for_nodes(const RunPlan& plan) {
  std::vector<int> blocks;
  for (const StageRange& range : plan.ranges)
    blocks.push_back(static_cast<int>(range.last_block - range.first_block));
  // The paths are absolute, because nodes may have been started in another folder.
  const auto absolute = [](const std::string& path) {
    return path.empty() ? path : fs::absolute(path).string();
  };
  const WeightOrigin& weights = plan.weights;
  json adapters = json::array();
  for (const AdapterOrigin& origin : weights.adapters)
    adapters.push_back({{"name", origin.name}, {"folder", absolute(origin.folder)}});
  std::vector<AdapterChoice> choices = plan.adapters;
  for (AdapterChoice& choice : choices) choice.folder = absolute(choice.folder);
  Config config = plan.config;
  config.eval.sets.clear();  // the trainer alone reads them, and knows their metrics
  return json{{"plugins", hashes_of(find_plugins(plan.config.plugins))},
              {"config", to_yaml(config)},
              {"model", to_hugging_face(plan.model.architecture)},
              {"stored_vocab_size", plan.model.architecture.stored_vocab_size},
              {"blocks", blocks},
              {"purpose", static_cast<int>(plan.purpose)},
              {"step_hooks", plan.step_hooks},
              {"total_steps", plan.total_steps},
              {"weights",
               {{"kind", static_cast<int>(weights.kind)},
                {"path", absolute(weights.path)},
                {"base", absolute(weights.base)},
                {"start", plan.model.changes_base() ? absolute(start_adapter_folder(plan)) : ""},
                {"adapters", adapters}}},
              {"adapters", to_json(choices)},
              {"prompt_start", plan.model.prompt.start_ids},
              {"has_adapters", plan.model.has_adapters()}}
      .dump();
}

RunPlan plan_of_node(const std::string& text, int ranks_here) {
  const json description = parse_json_object(text, "the trainer's plan");
  check_plugins(description.at("plugins"));  // before the configuration, which may name their pieces
  RunPlan plan;
  plan.config = parse_config(description.at("config").get<std::string>());
  plan.purpose = static_cast<Purpose>(description.at("purpose").get<int>());
  plan.step_hooks = description.at("step_hooks").get<std::vector<std::string>>();
  plan.total_steps = description.at("total_steps").get<int64_t>();
  resolve_device(plan);
  ModelConfig architecture = parse_model_config(description.at("model"), "the trainer's model");
  architecture.stored_vocab_size = description.at("stored_vocab_size").get<int64_t>();
  plan.model = model_of_config(plan.config, architecture);
  plan.adapters = adapter_choices_of(description.at("adapters"));
  if (!plan.adapters.empty()) plan.model = with_adapters(plan.model, plan.adapters);
  if (!description.at("has_adapters").get<bool>()) plan.model = plan.model.without_adapters();
  plan.model.prompt.start_ids = description.at("prompt_start").get<std::vector<int32_t>>();
  plan.config.parallel.partition.clear();  // the run uses the trainer's partition, whatever this key says
  plan.config.parallel.partition_list = description.at("blocks").get<std::vector<int>>();
  resolve_layout(plan, ranks_here);
  const json& weights = description.at("weights");
  plan.weights = {static_cast<WeightOrigin::Kind>(weights.at("kind").get<int>()),
                  weights.at("path").get<std::string>(),
                  weights.at("base").get<std::string>(),
                  {},
                  weights.at("start").get<std::string>()};
  for (const json& origin : weights.at("adapters"))
    plan.weights.adapters.push_back(
        {origin.at("name").get<std::string>(), origin.at("folder").get<std::string>()});
  plan.config.model.path = plan.weights.base.empty() ? plan.weights.path : plan.weights.base;
  if (plan.weights.kind == WeightOrigin::Kind::folder) check_weights(plan.weights.path, plan.model.base());
  if (plan.weights.kind == WeightOrigin::Kind::checkpoint)
    plan.checkpoint = over_base(plan, Checkpoint::open(plan.weights.path));
  return plan;
}

OperationsFactory operations_of(const RunPlan& plan, int rank) {
  return plan.make_operations ? plan.make_operations
                              : operations_on(plan.device, dtype_of(plan.config.model), rank);
}

DeviceChoice device_of(const RunPlan& plan) {
  return plan.make_operations ? DeviceChoice{} : plan.device;
}

}  // namespace collie
