// A plugin with four pieces: an optimizer, a learning-rate schedule, a data set format and a callback.
//
//   plugins: [build/example_plugin.so]
//   data: {train: [{path: "poems/*.txt", format: lines}]}
//   optimizer: {name: signum, lr: 1.0e-4, momentum: 0.9}
//   lr_scheduler: {name: triangle, peak: 0.5}
//   callbacks: [halved]
#include <cmath>
#include <memory>
#include <vector>

#include "base/plugin.hpp"
#include "io/dataset_formats.hpp"
#include "io/document_maker.hpp"
#include "optim/optimizer.hpp"
#include "runtime/callback.hpp"

namespace {

// The sign of a running mean of gradients (Bernstein et al., arXiv 1802.04434): m = β m + (1-β) g;
// w = w - lr · sign(m).
class Signum final : public collie::Optimizer {
 public:
  explicit Signum(double momentum)
      : kept_(static_cast<float>(momentum)), new_(static_cast<float>(1 - momentum)) {}

  std::vector<collie::StateDeclaration> states(const collie::NamedTensor&) const override {
    return {{"exp_avg"}};
  }

  void update(collie::Operations&, std::span<collie::ParameterRange> ranges,
              const collie::UpdateArguments& arguments) override {
    if (!arguments.gradient_factor.has_memory()) return;  // `plan` counts memory, and computes nothing
    const double factor = *arguments.gradient_factor.data<double>();
    if (std::isnan(factor)) return;  // the loss or the gradients are not finite
    for (collie::ParameterRange& range : ranges)
      update(range, static_cast<float>(arguments.lr), static_cast<float>(factor));
  }

 private:
  void update(collie::ParameterRange& range, float lr, float factor) const {
    float* const weight = range.weight.data<float>();
    float* const mean = range.states[0].data<float>();
    const float* const gradient = range.gradient.data<float>();
    for (int64_t i = 0; i < range.weight.numel(); ++i) {
      mean[i] = std::fma(new_, factor * gradient[i], kept_ * mean[i]);
      weight[i] -= lr * static_cast<float>((mean[i] > 0) - (mean[i] < 0));
    }
  }

  float kept_, new_;
};

void add_signum() {
  collie::OptimizerDeclaration declaration;
  declaration.options = {
      collie::learning_rate_option(1e-4),
      {"momentum", 0.9, "of the running mean of gradients", collie::NumberRange::from_to_below(0, 1)}};
  collie::add_optimizer("signum", std::move(declaration), [](const collie::OptionValues& options) {
    return std::make_unique<Signum>(options.number("momentum"));
  });
}

// Up to 1 on a straight line in the share `peak` of the steps, and down to 0 in the rest.
void add_triangle() {
  collie::OptionDeclaration declaration;
  declaration.options = {
      {"peak", 0.5, "share of the steps before the rate's peak", collie::NumberRange::from_to_below(0, 1)}};
  collie::add_learning_rate_schedule(
      "triangle", std::move(declaration), [](const collie::OptionValues& options) {
        return [peak = options.number("peak")](int64_t step, int64_t steps) {
          const double at = static_cast<double>(step) / static_cast<double>(steps);
          return at < peak ? at / peak : (1 - at) / (1 - peak);
        };
      });
}

// Each line of a file that is not blank is a document.
void read_line(const collie::DataFile& file, const collie::DataRecord& record,
               const collie::Tokenizer& tokenizer, const collie::DocumentSink& sink,
               collie::DataFindings& findings) {
  collie::DocumentMaker documents(file, tokenizer, {tokenizer.adds_bos(), true}, findings);
  sink(documents.whole(record.text));
}

// Ends the run when the loss is below half of the first step's.
class Halved final : public collie::Callback {
 public:
  void on_step(const collie::StepFinished& step) override {
    if (!step.loss) return;  // a step without target tokens
    const auto loss = static_cast<double>(*step.loss);
    if (first_ == 0) first_ = loss;
    if (loss < first_ / 2) run().stop("halved: the loss has halved");
  }
  // A resumed run goes on from the same first loss.
  nlohmann::json save_state() const override { return {{"first", first_}}; }
  void load_state(const nlohmann::json& state) override { first_ = state.at("first").get<double>(); }

 private:
  double first_ = 0;
};

void register_pieces() {
  add_signum();
  add_triangle();
  collie::dataset_formats().add("lines", {.read = read_line});
  collie::add_callback("halved", [](const collie::OptionValues&) { return std::make_unique<Halved>(); });
}

}  // namespace

COLLIE_PLUGIN(register_pieces)
