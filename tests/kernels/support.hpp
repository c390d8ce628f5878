// Shared by the kernels' tests: random inputs, implementations to test, comparison by norm.
#pragma once

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/random.hpp"
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

// Makes the tensors of one test on one implementation. Where `strided`, tensors of rank 2 and 3 are column
// ranges of wider ones. Outputs start as NaN, and padding must stay as it was.
class Bench {
 public:
  Bench(Operations& operations, bool strided) : ops(operations), strided_(strided) {}

  Tensor input(const Values& values) {
    Tensor x = make(values.shape, values.shape.rank() >= 2);
    ops.upload(values.data, x);
    return x;
  }
  Tensor output(const Shape& shape) {
    Tensor x = make(shape, shape.rank() >= 2);
    ops.fill(x, std::numeric_limits<double>::quiet_NaN());
    return x;
  }
  // For what must be contiguous, such as log_sum_exp.
  Tensor dense_input(const Values& values) {
    Tensor x = make(values.shape, false);
    ops.upload(values.data, x);
    return x;
  }
  Tensor dense_output(const Shape& shape) {
    Tensor x = make(shape, false);
    ops.fill(x, std::numeric_limits<double>::quiet_NaN());
    return x;
  }
  // NaN, or what `values` says where the operation is to accumulate.
  Tensor output(const Values& values, bool accumulate) {
    return accumulate ? input(values) : output(values.shape);
  }

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
  static constexpr float padding = 12345;
  struct Wide {
    Tensor backing;
  };

  Tensor make(const Shape& shape, bool may_be_strided) {
    if (!strided_ || !may_be_strided) return ops.empty(shape, Category::activations);
    const int64_t inner = shape.rank() == 3 ? shape[1] * shape[2] : shape[1];
    Tensor backing =
        ops.empty({shape[0], inner + static_cast<int64_t>(before + after)}, Category::activations);
    ops.fill(backing, padding);
    wide_.push_back({backing});
    return backing.columns(before, static_cast<int64_t>(before) + inner).reshape(shape);
  }

  bool strided_;
  std::vector<Wide> wide_;
};

// What one test computes on one implementation: any number of outputs.
using Outputs = std::vector<std::vector<float>>;
using Computation = std::function<Outputs(Bench&)>;

// An implementation of the operation table that this program tests.
struct Implementation {
  std::string name;  // "cpu, 2 threads"
  std::shared_ptr<Operations> operations;
  std::function<void()> before = [] {};  // called before each use
};
// All of them must give the same bits. Each program that is linked with the suite defines it.
const std::vector<Implementation>& implementations();

// Runs the computation on the reference, then on every implementation, dense and strided, and compares:
// within 1e-5 by norm, nothing written beside the outputs, bitwise the same on all implementations.
void conforms(const Computation& computation);

}  // namespace collie::test
