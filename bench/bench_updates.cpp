// How fast the update of each optimizer is beside a copy that reads and writes as many bytes, in turns:
//
//   bench_updates [threads [optimizer...]]
//
// float32 weights, gradients and states of a matrix [4096, 4096], or, if the optimizer takes whole matrices,
// [1024, 4096]; adamw_8bit has its codes. An update must read the gradient, and read and write the weight and
// the states; the copy moves half of these bytes from one place to another. An optimizer that reads something
// more than once, or multiplies matrices (muon), is slower than the copy for that.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "optim/optimizer.hpp"
#include "optim/state_blocks.hpp"

using namespace collie;

namespace {

constexpr int turns = 9;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// One tensor with what an optimizer keeps of it.
struct Held {
  Held(Operations& operations, const Optimizer& optimizer)
      : tensor{"weight", {optimizer.takes_matrices() ? 1024 : 4096, 4096}} {
    const auto made = [&](int64_t count, DType dtype, double value) {
      Tensor x = operations.empty({count}, dtype, Category::workspace);
      operations.fill(x, value);
      moved += 2 * static_cast<int64_t>(x.bytes());  // read and written
      return x;
    };
    const int64_t numel = tensor.shape.numel();
    weight = made(numel, DType::f32, 0.01);
    gradient = made(numel, DType::f32, 0.01);
    moved -= static_cast<int64_t>(gradient.bytes());  // read alone
    for (const StateDeclaration& state : optimizer.states(tensor)) {
      const bool of_lines = state.shape == StateShape::rows || state.shape == StateShape::columns;
      const int64_t count = of_lines ? state_shape(state, tensor).numel() : held_numel(state, numel);
      (of_lines ? line_states : states)
          .push_back(made(count, state.codes ? DType::u8 : DType::f32, state.codes ? 0 : 0.01));
    }
  }

  void update(Operations& operations, Optimizer& optimizer, const UpdateArguments& arguments) {
    if (!optimizer.takes_matrices()) {
      ParameterRange range{tensor.name, weight, gradient, states, {}};
      return optimizer.update(operations, {&range, 1}, arguments);
    }
    MatrixRange range;
    range.weight = weight.reshape(tensor.shape);
    range.gradient = gradient.reshape(tensor.shape);
    for (const Tensor& state : states) range.states.push_back(state.reshape(tensor.shape));
    const MatrixPart whole{tensor.shape};
    MatrixShare share{tensor, {range}, line_states, [&](int, int) { return std::vector{whole}; }};
    optimizer.update_matrices(operations, {&share, 1}, {}, arguments);
  }

  NamedTensor tensor;
  Tensor weight, gradient;                  // [numel]
  std::vector<Tensor> states, line_states;  // [numel] or [blocks]; [rows] or [columns]
  int64_t moved = 0;                        // bytes that an update must read or write
};

void measure(Operations& operations, const std::string& name) {
  const auto optimizer = make_optimizer(name, {});
  Held held(operations, *optimizer);
  const UpdateArguments arguments{1e-4, 10, {}, {}, optimizer->memory()};
  Tensor from = operations.empty({held.moved / 8}, Category::workspace);
  Tensor to = operations.empty({held.moved / 8}, Category::workspace);
  for (Tensor* const x : {&from, &to}) operations.fill(*x, 0.01);
  std::vector<double> updates, copies;
  for (int turn = 0; turn < turns; ++turn) {
    updates.push_back(seconds_of([&] { held.update(operations, *optimizer, arguments); }));
    copies.push_back(seconds_of([&] { operations.copy(from, to); }));
  }
  const double gigabytes = 1e-9 * static_cast<double>(held.moved);
  fmt::print("{:<22} {:>8.1f} ms {:>6.1f} GB/s   copy {:>6.1f} GB/s   {:>4.0f} %\n", name,
             1e3 * median(updates), gigabytes / median(updates), gigabytes / median(copies),
             100 * median(copies) / median(updates));
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  const auto operations = make_cpu_operations(threads, std::make_shared<MemoryAccount>());
  std::vector<std::string> names(argv + std::min(argc, 2), argv + argc);
  if (names.empty()) names = optimizer_declarations().names();
  for (const std::string& name : names) measure(*operations, name);
  return 0;
}
