// Measures every operation of a GPU at the shapes of a training step, in bytes or floating-point operations
// per second. It also prints them as shares of the GPU's own limits: a large copy, and a large product of the
// same dtype by the same table.
//
//   bench_gpu_ops [--shape qwen2.5-1.5b,qwen2.5-7b] [--dtype float32,bfloat16] [--only TEXT] [--json]
//
// Exits with 1 if there is no GPU.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/error.hpp"
#include "bench/gpu.hpp"
#include "bench/operation_rates.hpp"
#include "bench/shapes.hpp"

namespace {

using namespace collie;
using namespace collie::bench;

struct Options {
  std::vector<std::string> shapes = {"qwen2.5-1.5b", "qwen2.5-7b"}, dtypes = {"float32", "bfloat16"};
  int64_t tokens = 8192, document = 1024;
  int gpu = 0;
  std::string only;
  bool json = false;
};

DType dtype_named(const std::string& name) {
  if (name == "float32") return DType::f32;
  if (name == "bfloat16") return DType::bf16;
  throw UserError("--dtype: there is no '{}'; known: float32, bfloat16", name);
}

void measure(const Options& options, const std::string& dtype_name) {
  constexpr int64_t copied_bytes = int64_t{1} << 30, edge = 8192;
  const DType dtype = dtype_named(dtype_name);
  const auto operations =
      gpu_backend()->make_operations(dtype, options.gpu, std::make_shared<MemoryAccount>());
  const Timing timing;
  const Ceilings ceilings = measure_ceilings(*operations, timing, copied_bytes, edge);
  if (options.json)
    fmt::print("{}\n", nlohmann::json{{"dtype", dtype_name},
                                      {"ceiling_bytes_per_second", ceilings.bytes_per_second},
                                      {"ceiling_flops_per_second", ceilings.flops_per_second}}
                           .dump());
  else
    fmt::print(
        "\n{}: a copy of 1 GiB at {:.0f} GB/s (read and written), a product of {} x {} at {:.1f} TFLOP/s\n",
        dtype_name, 1e-9 * ceilings.bytes_per_second, edge, edge, 1e-12 * ceilings.flops_per_second);
  for (const std::string& shape : options.shapes) {
    const ModelConfig model = parse_model_config(model_shape(shape).config, shape);
    if (!options.json)
      fmt::print("{}, {} tokens in documents of {}\n", shape, options.tokens, options.document);
    for (const OperationCase& operation :
         operation_cases(model, *operations, options.tokens, options.document)) {
      if (operation.name.find(options.only) == std::string::npos) continue;
      const OperationRate rate = rate_of(operation, *operations, timing, ceilings);
      if (options.json) {
        nlohmann::json line = to_json(rate);
        line.update({{"dtype", dtype_name}, {"model", shape}});
        fmt::print("{}\n", line.dump());
      } else {
        fmt::print("  {}\n", to_text(rate));
      }
      std::fflush(stdout);
    }
  }
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{"Measures the operations of a GPU."};
  app.option_defaults()->always_capture_default();
  app.add_option("--shape", options.shapes, "Of models")->delimiter(',');
  app.add_option("--dtype", options.dtypes, "")->delimiter(',');
  app.add_option("--tokens", options.tokens, "In a micro-batch");
  app.add_option("--document", options.document, "Tokens that see each other");
  app.add_option("--gpu", options.gpu, "Its number");
  app.add_option("--only", options.only, "Operations whose names contain this");
  app.add_flag("--json", options.json, "A line an operation");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  use_gpus();
  const GpuReport report = gpu_report();
  if (report.gpus.empty()) throw RunError("there is no GPU to measure: {}", report.why_none);
  if (options.gpu < 0 || options.gpu >= static_cast<int>(report.gpus.size()))
    throw UserError("--gpu: there is no {}; there are {}", options.gpu, report.gpus.size());
  fmt::print(stderr, "{}, {}\n", report.gpus[static_cast<size_t>(options.gpu)].name, report.driver);
  for (const std::string& dtype : options.dtypes) measure(options, dtype);
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
