// Shared by the kernels' tests: random inputs, implementations to test, comparison by norm.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "kernels/host_data.hpp"
#include "kernels/operations.hpp"

namespace collie::test {

// Host values of one tensor.
struct Values {
  Shape shape;
  std::vector<float> data;
};

// Normal numbers, different for every `seed`.
inline Values random_values(const Shape& shape, uint64_t seed, double deviation = 1, double mean = 0) {
  const RandomStream stream(random_key(seed, "kernels test"));
  Values values{shape, std::vector<float>(static_cast<size_t>(shape.numel()))};
  for (size_t i = 0; i < values.data.size(); ++i)
    values.data[i] = static_cast<float>(mean + deviation * stream.normal(i));
  return values;
}

inline std::vector<int32_t> random_integers(size_t count, int64_t bound, uint64_t seed) {
  const RandomStream stream(random_key(seed, "kernels test integers"));
  std::vector<int32_t> values(count);
  for (size_t i = 0; i < count; ++i)
    values[i] = static_cast<int32_t>(stream.below(static_cast<uint64_t>(bound), i));
  return values;
}

// |a - b| / |b| over all elements; infinite where a value is not finite.
inline double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i])) return std::numeric_limits<double>::infinity();
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return difference == 0 ? 0 : std::sqrt(difference / norm);
}

// Of matrices that the conformance suite computes with.
struct RowsAndWidth {
  int64_t rows, width;
};
inline const std::vector<RowsAndWidth> matrix_sizes{{0, 8},   {1, 1},     {3, 7},     {17, 16}, {5, 33},
                                                    {64, 64}, {129, 172}, {2, 40000}, {700, 65}};

inline constexpr Activation all_activations[] = {Activation::silu, Activation::gelu,    Activation::gelu_tanh,
                                                 Activation::relu, Activation::sigmoid, Activation::tanh};

// What `f` says when it throws std::logic_error; "" when it does not throw.
inline std::string complaint(const std::function<void()>& f) {
  try {
    f();
  } catch (const std::logic_error& error) {
    return error.what();
  }
  return "";
}

inline bool says(const std::string& message, const std::string& part) {
  return message.find(part) != std::string::npos;
}

// Which formats beside the table's dtype() a test uses.
struct Formats {
  bool bfloat16_inputs = false;          // inputs are rounded to bfloat16 first, whatever the table's dtype
  bool full_precision_gradients = true;  // weights' gradients are of accumulation_dtype()
};

// Makes the tensors of one test on one implementation. Where `strided`, tensors of rank 2 and 3 are column
// ranges of wider ones. Outputs start as NaN, and padding must stay as it was.
class Bench {
 public:
  Bench(Operations& operations, bool strided, const Formats& formats = {})
      : ops(operations), strided_(strided), formats_(formats) {}

  Tensor input(const Values& values) { return filled(make(values.shape, true, ops.dtype()), values); }
  Tensor output(const Shape& shape) { return poisoned(make(shape, true, ops.dtype())); }
  Tensor dense_input(const Values& values) { return filled(make(values.shape, false, ops.dtype()), values); }
  Tensor dense_output(const Shape& shape) { return poisoned(make(shape, false, ops.dtype())); }
  // NaN, or what `values` says where the operation is to accumulate.
  Tensor output(const Values& values, bool accumulate) {
    return accumulate ? input(values) : output(values.shape);
  }
  // The same for a weight's gradient.
  Tensor gradient(const Values& values, bool accumulate) {
    Tensor x =
        make(values.shape, true, formats_.full_precision_gradients ? ops.accumulation_dtype() : ops.dtype());
    return accumulate ? filled(x, values) : poisoned(x);
  }
  // What is always accumulation_dtype(): tables, row-strided, and statistics, which must be contiguous.
  Tensor table(const Values& values) {
    return filled(make(values.shape, true, ops.accumulation_dtype()), values);
  }
  Tensor statistics(const Values& values) {
    return filled(make(values.shape, false, ops.accumulation_dtype()), values);
  }
  Tensor statistics(const Shape& shape) { return poisoned(make(shape, false, ops.accumulation_dtype())); }

  std::vector<float> read(const Tensor& x) {
    std::vector<float> values(static_cast<size_t>(x.numel()));
    ops.download(x, values);
    return values;
  }

  // Whether no operation wrote beside its tensor's columns.
  bool padding_intact() {
    for (const Wide& wide : wide_) {
      const std::vector<float> values = read(wide.backing);
      const auto width = static_cast<size_t>(wide.backing.dim(1));
      for (size_t i = 0; i < values.size(); ++i) {
        const size_t column = i % width;
        if ((column < before || column >= width - after) && values[i] != padding) return false;
      }
    }
    return true;
  }

  Operations& ops;

 private:
  static constexpr size_t before = 3, after = 5;
  static constexpr float padding = 12352;  // a bfloat16, too
  struct Wide {
    Tensor backing;
  };

  Tensor filled(Tensor x, const Values& values) {
    std::vector<float> numbers = values.data;
    if (formats_.bfloat16_inputs)
      for (float& number : numbers) number = host::from_bf16(host::to_bf16(number));
    ops.upload(numbers, x);
    return x;
  }
  Tensor poisoned(Tensor x) {
    ops.fill(x, std::numeric_limits<double>::quiet_NaN());
    return x;
  }

  Tensor make(const Shape& shape, bool may_be_strided, DType dtype) {
    if (!strided_ || !may_be_strided || shape.rank() < 2)
      return ops.empty(shape, dtype, Category::activations);
    const int64_t inner = shape.rank() == 3 ? shape[1] * shape[2] : shape[1];
    Tensor backing =
        ops.empty({shape[0], inner + static_cast<int64_t>(before + after)}, dtype, Category::activations);
    ops.fill(backing, padding);
    wide_.push_back({backing});
    return backing.columns(before, static_cast<int64_t>(before) + inner).reshape(shape);
  }

  bool strided_;
  Formats formats_;
  std::vector<Wide> wide_;
};

// float64 [n] of the table, with these values to the bit.
inline Tensor doubles(Operations& ops, const std::vector<double>& values) {
  const Shape shape{static_cast<int64_t>(values.size())};
  const Tensor on_host =
      Tensor::host(shape, DType::f64, std::make_shared<MemoryAccount>(), Category::workspace);
  std::copy(values.begin(), values.end(), on_host.data<double>());
  Tensor x = ops.empty(shape, DType::f64, Category::workspace);
  ops.from_host(on_host, x);
  return x;
}

// What operations add to a loss_sum of 0.
inline double cross_entropy(Operations& ops, Tensor& logits, std::span<const int32_t> labels,
                            double gradient_scale) {
  Tensor loss_sum = doubles(ops, {0});
  ops.cross_entropy(logits, labels, gradient_scale, loss_sum);
  return ops.read(loss_sum).value().front();
}
inline double cross_entropy_from_statistics(Operations& ops, Tensor& logits, std::span<const int32_t> labels,
                                            int64_t first, const Tensor& statistics, double gradient_scale) {
  Tensor loss_sum = doubles(ops, {0});
  ops.cross_entropy_from_statistics(logits, labels, first, statistics, gradient_scale, loss_sum);
  return ops.read(loss_sum).value().front();
}

inline std::vector<double> block_sums_of_squares(Operations& ops, const Tensor& x) {
  const int64_t blocks = (x.numel() + reduction_block - 1) / reduction_block;
  Tensor sums = ops.empty({blocks}, DType::f64, Category::workspace);
  ops.block_sums_of_squares(x, sums);
  return ops.read(sums).value();
}

// What one test computes on one implementation: any number of outputs.
using Outputs = std::vector<std::vector<float>>;
using Computation = std::function<Outputs(Bench&)>;

// One step of a rule with options; those that are not given are at their defaults. The lr is at its highest.
inline ElementwiseUpdate step_of(const std::string& rule, const OptionValues& options, int64_t step,
                                 const Tensor& gradient_factor = {}, const Rounding& rounding = {}) {
  const ElementwiseRule& declared = elementwise_rule(rule);
  const OptionValues values = with_defaults(declared.options, options);
  const ElementwiseUpdateRule update = declared.with(values);
  const double lr = values.number("lr");
  UpdateMemory memory = update.memory;
  for (int64_t each = 1; update.remember && each <= step; ++each) update.remember(memory, lr, each);
  return {update.formula, factors_of(update, lr, step, memory), gradient_factor, rounding};
}
inline int states_of(const ElementwiseUpdate& step) {
  return formula_properties(step.formula).states;
}
inline bool is_wide(const ElementwiseUpdate& step, int state) {
  return (formula_properties(step.formula).wide_states >> static_cast<unsigned>(state) & 1U) != 0;
}

// One step on one range.
inline void update(Operations& ops, const Tensor& weight, const Tensor& gradient,
                   const std::vector<Tensor>& states, const ElementwiseUpdate& step) {
  UpdateTensors range{weight, gradient, states, {}};
  ops.update({&range, 1}, step);
}

// Each built-in rule with options that use all of its formula. There is one for every formula.
struct RuleCase {
  std::string rule;
  OptionValues options;
};
inline const std::vector<RuleCase>& all_rules_to_test() {
  static const std::vector<RuleCase> all{
      {"adamw", {{"lr", 1e-2}, {"betas", std::vector<double>{0.9, 0.95}}, {"weight_decay", 0.1}}},
      // A decay in the gradient, and so in the states, brings the rounding of a bfloat16 weight along.
      {"adam", {{"lr", 1e-2}, {"betas", std::vector<double>{0.9, 0.95}}, {"weight_decay", 0.01}}},
      {"adamw_schedule_free",
       {{"lr", 1e-2}, {"betas", std::vector<double>{0.9, 0.95}}, {"weight_decay", 0.1}, {"r", 0.5}}},
      {"adan", {{"lr", 1e-2}, {"weight_decay", 0.1}}},
      {"adan", {{"lr", 1e-2}, {"weight_decay", 0.1}, {"no_prox", true}}},
      // With these betas no two bfloat16 numbers cancel each other, so that no sign is a matter of rounding.
      {"lion", {{"lr", 1e-2}, {"betas", std::vector<double>{0.85, 0.9}}, {"weight_decay", 0.1}}},
      {"sophia", {{"lr", 1e-2}, {"weight_decay", 0.1}}},
      {"sgd", {{"lr", 1e-2}, {"weight_decay", 0.1}}},
      {"sgd", {{"lr", 1e-2}, {"momentum", 0.9}, {"dampening", 0.2}, {"weight_decay", 0.1}}},
      {"sgd", {{"lr", 1e-2}, {"momentum", 0.9}, {"nesterov", true}, {"weight_decay", 0.1}}},
  };
  return all;
}

// An implementation of the operation table that this program tests.
struct Implementation {
  std::string name;  // "cpu, 2 threads"
  std::shared_ptr<Operations> operations;
  std::function<void()> before = [] {};  // called before each use
  bool full_precision_gradients = true;
  std::string products = "";  // a way of multiplying that rounds otherwise than another does
};
// Those of one dtype whose gradients have one, too, and that multiply in one way, must give the same bits.
// Each program that is linked with the suite defines it.
const std::vector<Implementation>& implementations();

// Runs the computation on the reference, then on every implementation, dense and strided, and compares:
// within 1e-5 by norm (bfloat16: 1e-2, of inputs that are bfloat16 numbers), nothing written beside the
// outputs, bitwise the same on all implementations.
void conforms(const Computation& computation);

// Calls f with the reference and with every implementation.
void on_every_table(const std::function<void(Operations&)>& f);

}  // namespace collie::test
