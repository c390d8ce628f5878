#include "kernels/cpu/bfloat16_product.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/log.hpp"
#include "kernels/cpu/convert.hpp"
#include "kernels/cpu/product_block.hpp"

namespace collie::cpu {

namespace {

constexpr const char* variable = "COLLIE_ENGINE_BFLOAT16_PRODUCTS";

Bfloat16Products choose_products() {
  const bool can = has_native_products();
  const char* const value = std::getenv(variable);
  const std::string wanted = value == nullptr ? "" : value;
  if (!wanted.empty() && wanted != "native" && wanted != "from_floats")
    throw UserError("{}: '{}' found; 'native' or 'from_floats' would be right", variable, wanted);
  if (wanted == "native" && !can)
    throw UserError("{}: native, but this processor has neither avx512_bf16 nor AMX; 'from_floats' is right",
                    variable);
  const bool native = wanted.empty() ? can : wanted == "native";
  log::debug("bfloat16 matrices are multiplied {}", native ? "by oneDNN" : "as floats, by OpenBLAS");
  return native ? Bfloat16Products::native : Bfloat16Products::from_floats;
}

Bfloat16Products& chosen_products() {
  static Bfloat16Products chosen = choose_products();
  return chosen;
}

// A block of C at its place.
struct Place {
  int64_t row, column, m, n;
};

ProductBlock block_of(const Bfloat16Product& x, const Place& at, int64_t first, int64_t terms) {
  const bool a_transposed = x.form == GemmForm::tn, b_transposed = x.form == GemmForm::nt;
  const Bfloat16Block a = a_transposed
                              ? Bfloat16Block{x.a + first * x.a_stride + at.row, terms, at.m, x.a_stride}
                              : Bfloat16Block{x.a + at.row * x.a_stride + first, at.m, terms, x.a_stride};
  const Bfloat16Block b = b_transposed
                              ? Bfloat16Block{x.b + at.column * x.b_stride + first, at.n, terms, x.b_stride}
                              : Bfloat16Block{x.b + first * x.b_stride + at.column, terms, at.n, x.b_stride};
  return {x.form, at.m, at.n, terms, a, b, nullptr, false};
}

// C as dense floats: in its place if it is that already, else in a buffer of the thread.
class DenseFloats {
 public:
  DenseFloats(const Bfloat16Product& x, const Place& at)
      : place_(x.c + (at.row * x.c_stride + at.column)), stride_(x.c_stride), at_(at) {
    in_place_ = !x.c.narrow && (x.c_stride == at.n || at.m == 1);
    if (in_place_) {
      data = static_cast<float*>(place_.data);
      return;
    }
    thread_local std::vector<float> buffer;
    if (buffer.size() < static_cast<size_t>(at.m * at.n)) buffer.resize(static_cast<size_t>(at.m * at.n));
    data = buffer.data();
  }
  void load() const {
    if (in_place_) return;
    for (int64_t i = 0; i < at_.m; ++i) convert(place_ + i * stride_, {data + i * at_.n, false}, at_.n);
  }
  void store() const {
    if (in_place_) return;
    for (int64_t i = 0; i < at_.m; ++i) convert({data + i * at_.n, false}, place_ + i * stride_, at_.n);
  }

  float* data;

 private:
  Elements place_;
  int64_t stride_;
  Place at_;
  bool in_place_;
};

void multiply_place(const Bfloat16Product& x, const Place& at, bool native) {
  const DenseFloats c(x, at);
  if (x.accumulate) c.load();
  const int64_t most_terms = native ? native_limits.terms : float_limits.terms;
  for (int64_t first = 0; first < x.k; first += most_terms) {
    ProductBlock block = block_of(x, at, first, std::min(most_terms, x.k - first));
    block.c = c.data;
    block.accumulate = x.accumulate || first > 0;
    if (native)
      multiply_natively(block);
    else
      multiply_from_floats(block);
  }
  c.store();
}

}  // namespace

Bfloat16Products bfloat16_products() {
  return chosen_products();
}

void use_bfloat16_products(Bfloat16Products way) {
  chosen_products() = way;
}

void multiply_bfloat16(const Bfloat16Product& x) {
  const bool native = bfloat16_products() == Bfloat16Products::native;
  const BlockLimits& most = native ? native_limits : float_limits;
  for (int64_t column = 0; column < x.n; column += most.n)
    for (int64_t row = 0; row < x.m; row += most.m)
      multiply_place(x, {row, column, std::min(most.m, x.m - row), std::min(most.n, x.n - column)}, native);
}

}  // namespace collie::cpu
