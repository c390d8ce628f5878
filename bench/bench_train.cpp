// Measures tokens per second, model FLOPs utilisation and memory when training a model of a known size from
// random weights on random tokens. It is a normal run of the engine, except that nothing is written at its
// end.
//
//   bench_train --shape qwen2.5-1.5b --micro-batch 8 --dtype bfloat16 --device cuda [--set key.path=value]...
//   bench_train --shape qwen2.5-1.5b --print-config
//
// Prints a few lines on standard error and one JSON object on standard output.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/error.hpp"
#include "bench/gpu.hpp"
#include "bench/shapes.hpp"
#include "bench/training_run.hpp"

namespace {

int run(int argc, char** argv) {
  using namespace collie::bench;
  TrainingSettings settings;
  std::string shapes;
  for (const ModelShape& shape : model_shapes()) shapes += (shapes.empty() ? "" : ", ") + shape.name;
  CLI::App app{"Measures training of a model of a known size."};
  app.option_defaults()->always_capture_default();
  app.add_option("--shape", settings.shape, shapes)->required();
  app.add_option("--sequence-length", settings.sequence_length, "");
  app.add_option("--micro-batch", settings.micro_batch_size, "Sequences");
  app.add_option("--accumulation", settings.gradient_accumulation_steps, "Micro-batches a step");
  app.add_option("--steps", settings.steps, "That are measured");
  app.add_option("--warmup", settings.warmup, "Steps before them");
  app.add_option("--dtype", settings.dtype, "model.dtype");
  app.add_option("--device", settings.device, "device.kind");
  app.add_option("--peak", settings.peak_tflops,
                 "TFLOP/s of all that compute, for the MFU; known of A100, H100 and H200 (SXM)");
  app.add_option("--set", settings.settings, "key.path=value of the configuration: the layout, ...")
      ->allow_extra_args(false);
  bool print_config = false;
  app.add_flag("--print-config", print_config, "Print the shape's config.json and stop");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (print_config) {
    fmt::print("{}\n", model_shape(settings.shape).config.dump(1));
    return 0;
  }
  use_gpus();
  const TrainingFigures figures = measure_training(settings);
  fmt::print(stderr, "{}", to_text(figures));
  fmt::print("{}\n", to_json(figures, settings).dump());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const collie::UserError& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
