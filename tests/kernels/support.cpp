#include "tests/kernels/support.hpp"

#include <cstring>
#include <map>
#include <tuple>
#include <utility>

#include "tests/catch.hpp"

namespace collie::test {

namespace {

std::unique_ptr<Operations> new_reference() {
  return make_reference_operations(std::make_shared<MemoryAccount>());
}

Outputs run(const Computation& computation, Operations& ops, bool strided, const Formats& formats) {
  Bench bench(ops, strided, formats);
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

void compare(const Outputs& found, const Outputs& expected, double tolerance) {
  REQUIRE(found.size() == expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    INFO("output " << i << " of " << found[i].size() << " elements");
    CHECK(relative_error(found[i], expected[i]) <= tolerance);
  }
}

}  // namespace

void conforms(const Computation& computation) {
  static const auto reference = new_reference();
  std::map<bool, Outputs> expected;  // by whether inputs are bfloat16 numbers
  std::map<std::tuple<DType, bool, std::string>, Outputs> first;
  for (const Implementation& each : implementations()) {
    INFO(each.name);
    const bool narrow = each.operations->dtype() == DType::bf16;
    const Formats formats{narrow, each.full_precision_gradients};
    if (expected.count(narrow) == 0) {
      INFO("reference");
      expected[narrow] = run(computation, *reference, false, formats);
      compare(run(computation, *reference, true, formats), expected[narrow], 1e-12);
    }
    for (const bool strided : {false, true}) {
      INFO((strided ? "strided" : "dense"));
      each.before();
      const Outputs found = run(computation, *each.operations, strided, formats);
      compare(found, expected[narrow], narrow ? 1e-2 : 1e-5);
      const auto& same = first.emplace(
          std::tuple{each.operations->dtype(), each.full_precision_gradients, each.products}, found);
      CHECK(same_bits(found, same.first->second));
    }
  }
}

void on_every_table(const std::function<void(Operations&)>& f) {
  {
    INFO("reference");
    f(*new_reference());
  }
  for (const Implementation& each : implementations()) {
    INFO(each.name);
    each.before();
    f(*each.operations);
  }
}

}  // namespace collie::test
