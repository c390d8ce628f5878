#include "tests/kernels/support.hpp"

#include <tbb/global_control.h>

#include <cstring>

#include "tests/catch.hpp"

namespace collie::test {

namespace {

constexpr double tolerance = 1e-5;

std::unique_ptr<Operations> new_reference() {
  return make_reference_operations(std::make_shared<MemoryAccount>());
}

Outputs run(const Computation& computation, Operations& ops, bool strided) {
  Bench bench(ops, strided);
  Outputs outputs = computation(bench);
  CHECK(bench.padding_intact());
  return outputs;
}

bool same_bits(const Outputs& a, const Outputs& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i].size() != b[i].size() ||
        (!a[i].empty() && std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)) != 0))
      return false;
  return true;
}

void compare(const Outputs& found, const Outputs& expected) {
  REQUIRE(found.size() == expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    INFO("output " << i << " of " << found[i].size() << " elements");
    CHECK(relative_error(found[i], expected[i]) <= tolerance);
  }
}

}  // namespace

void conforms(const Computation& computation) {
  // More threads than processors, where need be.
  const tbb::global_control three(tbb::global_control::max_allowed_parallelism, 3);
  static const auto reference = new_reference();
  static const std::vector<std::unique_ptr<Operations>> cpu = [] {
    std::vector<std::unique_ptr<Operations>> all;
    for (int threads = 1; threads <= 3; ++threads)
      all.push_back(make_cpu_operations(threads, std::make_shared<MemoryAccount>()));
    return all;
  }();
  const Outputs expected = run(computation, *reference, false);
  for (const bool strided : {false, true}) {
    INFO((strided ? "strided" : "dense"));
    {
      INFO("reference");
      compare(run(computation, *reference, strided), expected);
    }
    INFO("cpu");
    const Outputs found = run(computation, *cpu[0], strided);
    compare(found, expected);
    for (size_t i = 1; i < cpu.size(); ++i) {
      INFO(i + 1 << " threads");
      CHECK(same_bits(run(computation, *cpu[i], strided), found));
    }
  }
}

}  // namespace collie::test
