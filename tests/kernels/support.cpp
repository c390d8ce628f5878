#include "tests/kernels/support.hpp"

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
  static const auto reference = new_reference();
  const Outputs expected = run(computation, *reference, false);
  for (const bool strided : {false, true}) {
    INFO((strided ? "strided" : "dense"));
    {
      INFO("reference");
      compare(run(computation, *reference, strided), expected);
    }
    Outputs first;
    for (const Implementation& each : implementations()) {
      INFO(each.name);
      each.before();
      const Outputs found = run(computation, *each.operations, strided);
      compare(found, expected);
      if (first.empty()) first = found;
      CHECK(same_bits(found, first));
    }
  }
}

}  // namespace collie::test
