// How fast the update of each elementwise rule is beside a copy that reads and writes as many bytes, in
// turns:
//
//   bench_updates [threads]
//
// float32 weights, gradients and states of 16 million elements. A rule reads the gradient, and reads and
// writes the weight and its states; the copy moves half of these bytes from one place to another.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <vector>

#include "kernels/operations.hpp"

namespace {

using namespace collie;

constexpr int64_t elements = int64_t{16} << 20;
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

void measure(Operations& operations, const ElementwiseRule& declared) {
  const ElementwiseUpdateRule rule = declared.with(with_defaults(declared.options, {}));
  const auto made = [&](int64_t count) {
    Tensor x = operations.empty({count}, Category::workspace);
    operations.fill(x, 0.01);
    return x;
  };
  UpdateTensors range{made(elements), made(elements), {}, {}};
  for (size_t i = 0; i < rule.states.size(); ++i) range.states.push_back(made(elements));
  ElementwiseUpdate step{rule.formula, rule.factors(1e-4, 10), {}, {}};
  if (rule.recall) rule.recall(rule.memory, step.factors);
  const int64_t moved = elements * static_cast<int64_t>(3 + 2 * rule.states.size());  // read or written
  const Tensor from = made(moved / 2);
  Tensor to = made(moved / 2);
  std::vector<double> updates, copies;
  for (int turn = 0; turn < turns; ++turn) {
    updates.push_back(seconds_of([&] { operations.update({&range, 1}, step); }));
    copies.push_back(seconds_of([&] { operations.copy(from, to); }));
  }
  const double gigabytes = 4e-9 * static_cast<double>(moved);
  fmt::print("{:<22} {:>6.1f} ms {:>6.1f} GB/s   copy {:>6.1f} GB/s   {:>4.0f} %\n", declared.name,
             1e3 * median(updates), gigabytes / median(updates), gigabytes / median(copies),
             100 * median(copies) / median(updates));
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  const auto operations = collie::make_cpu_operations(threads, std::make_shared<collie::MemoryAccount>());
  for (const collie::ElementwiseRule& rule : collie::elementwise_rules()) measure(*operations, rule);
  return 0;
}
