#include "bench/training_run.hpp"

#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <mutex>

#include "actors/caf_types.hpp"
#include "actors/engine.hpp"
#include "base/bytes.hpp"
#include "bench/random_text.hpp"
#include "bench/shapes.hpp"
#include "io/files.hpp"
#include "kernels/gpu.hpp"
#include "plan/model_work.hpp"
#include "runtime/gpu_peaks.hpp"
#include "runtime/summary.hpp"

namespace collie::bench {

namespace {

struct Scratch {
  std::string path = (std::filesystem::temp_directory_path() / "collie-bench-XXXXXX").string();
  Scratch() {
    if (::mkdtemp(path.data()) == nullptr) throw RunError("{}: cannot be made", path);
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

// One step more than is measured: the run is ended during that step.
int64_t planned_steps(const TrainingSettings& settings) {
  return settings.warmup + settings.steps + 1;
}

Config config_of(const TrainingSettings& settings, const std::string& folder) {
  Config config;
  config.run.name = "bench";
  config.run.dir = folder + "/run";
  config.model.from_scratch = true;
  config.model.config = model_shape(settings.shape).config;
  config.model.dtype = settings.dtype;
  config.tokenizer.path = folder;
  config.data.train.emplace_back().path = folder + "/text.txt";
  config.data.sequence_length = settings.sequence_length;
  config.train.steps = planned_steps(settings);
  config.train.micro_batch_size = settings.micro_batch_size;
  config.train.gradient_accumulation_steps = settings.gradient_accumulation_steps;
  config.checkpoint.every_n_steps = 0;
  config.monitor.console = "none";
  config.device.kind = settings.device;
  std::vector<std::string> warnings;
  check_config(config, warnings);
  const std::string file = folder + "/config.yaml";
  write_file_durably(file, to_yaml(config));
  return load_config(file, settings.settings, warnings);
}

// Writes one document with so many whole windows that every step has its own.
void write_data(const Config& config, const std::string& folder) {
  const int64_t vocabulary = config.model.config.at("vocab_size");
  const int64_t sequences = config.train.micro_batch_size * config.train.gradient_accumulation_steps *
                            config.parallel.dp_size * *config.train.steps;
  write_character_tokenizer(folder, vocabulary);
  write_random_text(folder + "/text.txt", vocabulary, sequences * config.data.sequence_length, 1);
}

// Keeps the accounts of the plan's ranks, which the engine makes.
struct Accounts {
  std::mutex mutex;
  std::vector<std::shared_ptr<MemoryAccount>> all;
};

void keep_accounts(RunPlan& plan, const std::shared_ptr<Accounts>& accounts) {
  plan.on_account = [accounts](const std::shared_ptr<MemoryAccount>& account) {
    const std::lock_guard lock(accounts->mutex);
    accounts->all.push_back(account);
  };
}

// The memory in use on GPUs, by their driver.
class DriverMemory {
 public:
  explicit DriverMemory(int gpus) {
    for (int gpu = 0; gpu < gpus; ++gpu) before_.push_back(used(gpu));
    most_ = before_;
  }
  void look() {
    for (size_t gpu = 0; gpu < most_.size(); ++gpu)
      most_[gpu] = std::max(most_[gpu], used(static_cast<int>(gpu)));
  }
  std::vector<size_t> grown() const {
    std::vector<size_t> bytes;
    for (size_t gpu = 0; gpu < most_.size(); ++gpu) bytes.push_back(most_[gpu] - before_[gpu]);
    return bytes;
  }

 private:
  static size_t used(int gpu) {
    const GpuMemory memory = gpu_backend()->memory(gpu);
    return memory.total_bytes - memory.free_bytes;
  }
  std::vector<size_t> before_, most_;
};

int gpus_used(const RunPlan& plan) {
  return plan.device.kind == DeviceKind::cuda ? std::min(plan.device.gpus, plan.layout.grid.ranks()) : 0;
}

std::optional<double> peak_of(const TrainingSettings& settings, int gpus, DType dtype) {
  if (settings.peak_tflops > 0) return settings.peak_tflops;
  if (gpus == 0) return std::nullopt;
  const auto one = peak_tflops(gpu_report().gpus.front().name, dtype);
  return one ? std::optional(*one * gpus) : std::nullopt;
}

double flops_of_step(const RunPlan& plan) {
  const int64_t length = plan.config.data.sequence_length, sequences = plan.sizes.sequences();
  return work_of_step(plan.model.architecture, sequences * length, sequences * (length * (length + 1) / 2))
      .total();
}

// Runs `plan` until the measured steps are done. A run that ends by itself would write its weights, which
// takes longer than all steps. So it is killed, together with its actors.
void run(RunPlan plan, const TrainingSettings& settings, DriverMemory& memory, TrainingFigures& figures) {
  caf::actor_system_config config;
  config.set("scheduler.policy", caf::atom("sharing"));  // the command's setting
  add_message_types(config);
  caf::actor_system system(config);
  caf::scoped_actor self(system);
  const double start_s = steady_seconds();
  const int64_t last = settings.warmup + settings.steps;
  const caf::actor trainer = spawn_run(system, std::move(plan), caf::actor_cast<caf::actor>(self));
  bool measured = false;
  while (!measured)
    self->receive(
        [&](const StepFinished& step) {
          memory.look();
          if (step.step == 1)
            figures.seconds_before_first_step = steady_seconds() - start_s - static_cast<double>(step.step_s);
          if (step.step > settings.warmup) figures.step_s.push_back(static_cast<double>(step.step_s));
          if (step.loss) figures.last_loss = static_cast<double>(*step.loss);
          figures.tokens_per_step = step.tokens;
          figures.graphs = step.graphs;
          measured = step.step == last;
        },
        [](const RunStarted&) {}, [](const CheckpointSaved&) {}, [](const EvaluationFinished&) {},
        [](const RunEnded& end) {
          throw RunError("the run ended after step {}{}{}", end.step, end.message.empty() ? "" : ": ",
                         end.message);
        });
  caf::anon_send_exit(trainer, caf::exit_reason::kill);
}

void check_settings(const TrainingSettings& settings) {
  for (const auto& [name, value, least] :
       {std::tuple("--steps", settings.steps, 1), std::tuple("--warmup", settings.warmup, 0)})
    if (value < least) throw UserError("{}: {} is too few; at least {} is right", name, value, least);
}

}  // namespace

double TrainingFigures::median_step_s() const {
  std::vector<double> sorted = step_s;
  std::sort(sorted.begin(), sorted.end());
  const size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

double TrainingFigures::tokens_per_second() const {
  return static_cast<double>(tokens_per_step) / median_step_s();
}

std::optional<double> TrainingFigures::model_flops_utilisation() const {
  if (!peak_tflops) return std::nullopt;
  return flops_per_step / median_step_s() / (*peak_tflops * 1e12);
}

TrainingFigures measure_training(const TrainingSettings& settings) {
  check_settings(settings);
  const Scratch scratch;
  const Config config = config_of(settings, scratch.path);
  write_data(config, scratch.path);
  RunPlan plan = plan_training(config, ExistingRun::refuse);
  const int gpus = gpus_used(plan);
  TrainingFigures figures;
  figures.shape = settings.shape;
  figures.device = plan.device.description;
  figures.dtype = config.model.dtype;
  figures.parameters = parameter_count(plan.model);
  figures.ranks = plan.layout.grid.ranks();
  figures.flops_per_step = flops_of_step(plan);
  figures.peak_tflops = peak_of(settings, gpus, config.model.dtype == "bfloat16" ? DType::bf16 : DType::f32);
  const auto accounts = std::make_shared<Accounts>();
  keep_accounts(plan, accounts);
  DriverMemory memory(gpus);
  run(std::move(plan), settings, memory, figures);
  for (const auto& account : accounts->all) figures.peak_bytes.push_back(account->peak_total());
  figures.driver_bytes = memory.grown();
  return figures;
}

nlohmann::json to_json(const TrainingFigures& figures, const TrainingSettings& settings) {
  const auto mfu = figures.model_flops_utilisation();
  return {{"engine", "collie-engine"},
          {"shape", figures.shape},
          {"parameters", figures.parameters},
          {"device", figures.device},
          {"ranks", figures.ranks},
          {"dtype", figures.dtype},
          {"sequence_length", settings.sequence_length},
          {"micro_batch_size", settings.micro_batch_size},
          {"gradient_accumulation_steps", settings.gradient_accumulation_steps},
          {"set", settings.settings},
          {"tokens_per_step", figures.tokens_per_step},
          {"step_s", figures.step_s},
          {"median_step_s", figures.median_step_s()},
          {"tokens_per_second", figures.tokens_per_second()},
          {"flops_per_step", figures.flops_per_step},
          {"peak_tflops", figures.peak_tflops ? nlohmann::json(*figures.peak_tflops) : nlohmann::json()},
          {"mfu", mfu ? nlohmann::json(*mfu) : nlohmann::json()},
          {"peak_bytes_by_account", figures.peak_bytes},
          {"peak_bytes_by_driver", figures.driver_bytes},
          {"seconds_before_first_step", figures.seconds_before_first_step},
          {"graphs",
           {{"launched", figures.graphs.launched},
            {"made", figures.graphs.made},
            {"updated", figures.graphs.updated}}},
          {"last_loss", figures.last_loss}};
}

std::string to_text(const TrainingFigures& figures) {
  const auto [fastest, slowest] = std::minmax_element(figures.step_s.begin(), figures.step_s.end());
  std::string text = fmt::format(
      "{}: {} parameters, {} rank(s), {}, on {}\n"
      "  a step: {} tokens, {:.3g} floating-point operations; median {:.4f} s of {} ({:.4f} to {:.4f})\n"
      "  {:.0f} tokens/s, {:.2f} TFLOP/s",
      figures.shape, figures.parameters, figures.ranks, figures.dtype, figures.device,
      figures.tokens_per_step, figures.flops_per_step, figures.median_step_s(), figures.step_s.size(),
      *fastest, *slowest, figures.tokens_per_second(),
      figures.flops_per_step / figures.median_step_s() / 1e12);
  if (const auto mfu = figures.model_flops_utilisation())
    text += fmt::format(", MFU {:.1f} % of {:.0f} TFLOP/s", 100 * *mfu, *figures.peak_tflops);
  text += fmt::format("\n  {:.1f} s before the first step, last loss {:.4f}\n",
                      figures.seconds_before_first_step, figures.last_loss);
  if (figures.graphs.launched > 0)
    text += fmt::format("  graphs: {} launched, {} made, {} updated\n", figures.graphs.launched,
                        figures.graphs.made, figures.graphs.updated);
  for (size_t rank = 0; rank < figures.peak_bytes.size(); ++rank)
    text += fmt::format("  peak memory of rank {} by its account: {}\n", rank,
                        human_bytes(figures.peak_bytes[rank]));
  for (size_t gpu = 0; gpu < figures.driver_bytes.size(); ++gpu)
    text += fmt::format("  most in use on GPU {} by its driver, less what was before: {}\n", gpu,
                        human_bytes(figures.driver_bytes[gpu]));
  return text;
}

}  // namespace collie::bench
