// A training step of a Llama of 30 million parameters (dim 512, 8 layers, 8 heads, ffn 1408, vocabulary 8192,
// tied; 8 sequences of 256). Measures the share of the process's time that is not spent in the operation
// table, and compares the step with its own matrix products alone. Prints a few lines; no arguments.
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include "actors/caf_types.hpp"
#include "actors/engine.hpp"
#include "base/clock.hpp"
#include "base/random.hpp"
#include "bench/timed_operations.hpp"
#include "tests/runtime/local_pipeline.hpp"

namespace collie {
namespace {

constexpr int64_t sequence_length = 256, sequences = 8, vocabulary = 8192;

const nlohmann::json model_json = {{"model_type", "llama"},      {"hidden_size", 512},
                                   {"intermediate_size", 1408},  {"num_hidden_layers", 8},
                                   {"num_attention_heads", 8},   {"num_key_value_heads", 8},
                                   {"vocab_size", vocabulary},   {"max_position_embeddings", sequence_length},
                                   {"tie_word_embeddings", true}};

// User and system time of the whole process.
double process_cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Scratch {
  std::string path = (std::filesystem::temp_directory_path() / "collie-bench-XXXXXX").string();
  Scratch() {
    if (::mkdtemp(path.data()) == nullptr) throw RunError("{}: cannot be made", path);
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

Config config_of(const std::string& folder, int ranks, int64_t steps) {
  const std::string text_file = folder + "/text.txt";
  const RandomStream stream(1);
  std::ofstream text(text_file);
  for (uint64_t i = 0; i < static_cast<uint64_t>(sequence_length * sequences * steps); ++i)
    text << static_cast<char>('a' + stream.below(26, i));
  text.close();

  Config config;
  config.run.name = "bench";
  config.run.dir = folder + "/run";
  config.model.from_scratch = true;
  config.model.config = model_json;
  config.tokenizer.kind = "byte";
  DataSource source;
  source.path = text_file;
  config.data.train = {source};
  config.data.sequence_length = sequence_length;
  config.train.steps = steps;
  config.train.micro_batch_size = sequences / ranks;
  config.train.gradient_accumulation_steps = ranks;
  config.parallel.pp_size = ranks;
  config.checkpoint.every_n_steps = 0;
  config.monitor.console = "none";
  config.monitor.tensorboard = config.monitor.csv = false;
  config.device.threads = ranks;  // one per rank, so that every operation runs in its caller's thread
  return config;
}

// A real run with all its actors, measured from the first step's record to the last one's.
void print_overhead(int ranks) {
  constexpr int64_t steps = 5;
  const Scratch scratch;
  const auto times = std::make_shared<OperationTimes>();
  RunPlan plan = plan_training(config_of(scratch.path, ranks, steps), ExistingRun::refuse);
  plan.make_operations = [times](int threads, std::shared_ptr<MemoryAccount> account) {
    return std::make_unique<TimedOperations>(make_cpu_operations(threads, std::move(account)), times);
  };
  struct Mark {
    double cpu = 0, operations = 0, wall = 0;
    int64_t calls = 0;
  };
  const auto mark = [&] {
    return Mark{process_cpu_seconds(), 1e-9 * static_cast<double>(times->cpu_ns.load()), steady_seconds(),
                times->calls.load()};
  };
  caf::actor_system_config config;
  config.set("scheduler.policy", caf::atom("sharing"));  // the command's setting
  config.set("scheduler.max-threads", size_t{2});
  add_message_types(config);
  caf::actor_system system(config);
  caf::scoped_actor self(system);
  spawn_run(system, std::move(plan), caf::actor_cast<caf::actor>(self));
  Mark first, last;
  bool ended = false;
  while (!ended)
    self->receive(
        [&](const StepFinished& step) {
          if (step.step == 1) first = mark();
          if (step.step == steps) last = mark();
        },
        [](const RunStarted&) {}, [](const CheckpointSaved&) {},
        [&](const RunEnded& end) {
          if (end.status == RunStatus::failed) throw RunError("{}", end.message);
          ended = true;
        });
  const double cpu = last.cpu - first.cpu, outside = cpu - (last.operations - first.operations);
  fmt::print(
      "{} rank(s): {:.2f} s a step, {:.3f} s of process CPU; outside the operation table {:.2f} ms of it, "
      "{:.3f} % "
      "({} calls a step)\n",
      ranks, (last.wall - first.wall) / (steps - 1), cpu / (steps - 1), 1e3 * outside / (steps - 1),
      100 * outside / cpu, (last.calls - first.calls) / (steps - 1));
}

std::shared_ptr<const StepBatch> random_batch() {
  const RandomStream stream(2);
  auto batch = std::make_shared<StepBatch>();
  MicroBatch& all = batch->micro_batches.emplace_back();
  all.document_starts = {0};
  for (uint64_t i = 0; i < static_cast<uint64_t>(sequences * sequence_length); ++i) {
    all.tokens.push_back(static_cast<int32_t>(stream.below(vocabulary, 2 * i)));
    all.labels.push_back(static_cast<int32_t>(stream.below(vocabulary, 2 * i + 1)));
    all.positions.push_back(static_cast<int32_t>(i % sequence_length));
    if ((i + 1) % sequence_length == 0) all.document_starts.push_back(static_cast<int32_t>(i + 1));
  }
  batch->global_target_tokens = all.target_tokens = static_cast<int64_t>(all.labels.size());
  return batch;
}

ModelWorkerSettings settings_of(int threads) {
  ModelWorkerSettings settings;
  settings.model = parse_model_config(model_json, "bench");
  settings.ranges = partition_stages(settings.model.architecture, 1, "uniform");
  settings.threads = threads;
  return settings;
}

test::LocalPipeline pipeline_of(const ModelWorkerSettings& settings) {
  Layout layout;
  layout.rank_of_stage = {0};
  layout.tied = true;
  return test::LocalPipeline(layout, settings);
}

std::vector<RecordedGemm> gemms_of_a_step(const std::shared_ptr<const StepBatch>& batch) {
  const auto times = std::make_shared<OperationTimes>();
  times->record_gemms = true;
  ModelWorkerSettings settings = settings_of(1);
  settings.make_operations = [times](int threads, std::shared_ptr<MemoryAccount> account) {
    return std::make_unique<TimedOperations>(make_cpu_operations(threads, std::move(account)), times);
  };
  pipeline_of(settings).train(batch, 1e-4);
  return times->gemms;
}

double seconds_of(const std::function<void()>& call) {
  const double start = steady_seconds();
  call();
  return steady_seconds() - start;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// One rank runs whole steps and their products alone, in turn.
void print_ratio(int threads) {
  constexpr int repetitions = 7;
  const auto batch = random_batch();
  const std::vector<RecordedGemm> gemms = gemms_of_a_step(batch);
  double flops = 0;
  const auto operations = make_cpu_operations(threads, std::make_shared<MemoryAccount>());
  std::map<std::string, Tensor> tensors;  // by role and shape
  const auto tensor_of = [&](const char* role, const Shape& shape) -> Tensor& {
    Tensor& tensor = tensors[role + shape.to_string()];
    if (!tensor.defined()) {
      tensor = operations->empty(shape, Category::workspace);
      operations->fill(tensor, 1e-3);
    }
    return tensor;
  };
  const auto products = [&] {
    for (const RecordedGemm& gemm : gemms)
      operations->gemm(gemm.form, tensor_of("a", gemm.a), tensor_of("b", gemm.b), tensor_of("c", gemm.c),
                       gemm.accumulate);
  };
  for (const RecordedGemm& gemm : gemms) {
    const double k = static_cast<double>(gemm.form == GemmForm::tn ? gemm.a[0] : gemm.a[1]);
    flops += 2 * k * static_cast<double>(gemm.c.numel());
  }
  test::LocalPipeline pipeline = pipeline_of(settings_of(threads));
  const auto step = [&] { pipeline.train(batch, 1e-4); };
  step();
  products();
  std::vector<double> step_s, products_s;
  for (int i = 0; i < repetitions; ++i) {
    step_s.push_back(seconds_of(step));
    products_s.push_back(seconds_of(products));
  }
  const double tokens = static_cast<double>(sequences * sequence_length);
  fmt::print(
      "{} thread(s): step {:.3f} s ({:.0f} tokens/s, best {:.0f}), its {} products alone {:.3f} s ({:.0f} "
      "GFLOP/s): "
      "ratio of medians {:.2f}, of the best {:.2f}\n",
      threads, median(step_s), tokens / median(step_s),
      tokens / *std::min_element(step_s.begin(), step_s.end()), gemms.size(), median(products_s),
      1e-9 * flops / median(products_s), median(step_s) / median(products_s),
      *std::min_element(step_s.begin(), step_s.end()) /
          *std::min_element(products_s.begin(), products_s.end()));
}

}  // namespace
}  // namespace collie

int main() {
  collie::print_overhead(1);
  collie::print_overhead(2);
  collie::print_ratio(2);
}
