#include "kernels/quantised_matrix.hpp"

#include "base/divide.hpp"
#include "base/error.hpp"

namespace collie {
namespace {

constexpr std::array<float, short_codes> normal_codes = {
    -1.0F,
    -0.6961928009986877F,
    -0.5250730514526367F,
    -0.39491748809814453F,
    -0.28444138169288635F,
    -0.18477343022823334F,
    -0.09105003625154495F,
    0.0F,
    0.07958029955625534F,
    0.16093020141124725F,
    0.24611230194568634F,
    0.33791524171829224F,
    0.44070982933044434F,
    0.5626170039176941F,
    0.7229568362236023F,
    1.0F,
};

// The lowest code but one is a denormal number of that format; the others are not in the order of their bits.
constexpr std::array<float, short_codes> make_float_codes() {
  constexpr std::array<float, short_codes / 2> magnitudes = {0, 0.0625F, 8, 12, 4, 6, 2, 3};
  std::array<float, short_codes> values{};
  for (size_t i = 0; i < magnitudes.size(); ++i) {
    values[i] = magnitudes[i] / 12;
    values[magnitudes.size() + i] = i == 0 ? 0 : -values[i];
  }
  return values;
}
constexpr std::array<float, short_codes> float_codes = make_float_codes();

}  // namespace

std::string_view name(QuantisedKind kind) {
  switch (kind) {
    case QuantisedKind::none:
      return "none";
    case QuantisedKind::nf4:
      return "nf4";
    case QuantisedKind::fp4:
      return "fp4";
    case QuantisedKind::int8:
      return "int8";
  }
  COLLIE_ASSERT(false, "unknown kind {}", static_cast<int>(kind));
  return {};
}

const std::array<float, short_codes>& values_of_codes(QuantisedKind kind) {
  COLLIE_ASSERT(kind == QuantisedKind::nf4 || kind == QuantisedKind::fp4, "there are no 4-bit codes of {}",
                name(kind));
  return kind == QuantisedKind::nf4 ? normal_codes : float_codes;
}

int64_t QuantisedMatrix::code_bytes(const Quantisation& quantisation, int64_t columns) {
  return quantisation.is_in_blocks() ? divide_up(columns, int64_t{2}) : columns;
}

// Where rows are no whole number of blocks, a row may begin with the last element of one.
int64_t QuantisedMatrix::blocks_of_row(const Quantisation& quantisation, int64_t whole_columns, int64_t first,
                                       int64_t columns) {
  if (!quantisation.is_in_blocks()) return 1;
  if (columns == 0) return 0;
  const int64_t size = quantisation.block_size;
  const int64_t before = whole_columns % size == 0 ? first % size : size - 1;
  return divide_up(before + columns, size);
}

}  // namespace collie
