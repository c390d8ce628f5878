#include "kernels/quantise.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/divide.hpp"
#include "base/error.hpp"
#include "kernels/dynamic_map.hpp"

namespace collie {
namespace {

constexpr float least_scale = 1e-38F;  // what bitsandbytes divides by at least
constexpr size_t most_block_size = 4096;

float largest_of(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) {
    if (std::isnan(value)) return value;
    largest = std::max(largest, std::abs(value));
  }
  return largest;
}

// The codes in ascending order of what they stand for, and the numbers half-way between two of them. A number
// half-way gets the lower one.
struct ShortMap {
  std::array<uint8_t, short_codes> codes{};
  std::array<float, short_codes - 1> midpoints{};
};

// Of the two zeros of fp4 the one without a sign is the lower.
ShortMap make_short_map(QuantisedKind kind) {
  const std::array<float, short_codes>& values = values_of_codes(kind);
  ShortMap map;
  std::iota(map.codes.begin(), map.codes.end(), uint8_t{0});
  std::stable_sort(map.codes.begin(), map.codes.end(),
                   [&](uint8_t a, uint8_t b) { return values[a] < values[b]; });
  for (size_t i = 0; i < map.midpoints.size(); ++i)
    map.midpoints[i] = (values[map.codes[i]] + values[map.codes[i + 1]]) / 2;
  return map;
}

const ShortMap& short_map(QuantisedKind kind) {
  static const ShortMap normal = make_short_map(QuantisedKind::nf4),
                        real = make_short_map(QuantisedKind::fp4);
  return kind == QuantisedKind::nf4 ? normal : real;
}

uint8_t short_code(const ShortMap& map, float x) {
  size_t below = 0;
  for (const float midpoint : map.midpoints) below += midpoint < x ? 1 : 0;
  return map.codes[below];
}

// The same of numbers that are at most a block. A midpoint at a time, so that compilers compare several
// numbers at once.
void write_short_codes(const ShortMap& map, std::span<const float> scaled, std::span<uint8_t> codes) {
  std::array<int32_t, most_block_size> below;
  std::fill_n(below.begin(), scaled.size(), 0);
  for (const float midpoint : map.midpoints)
    for (size_t i = 0; i < scaled.size(); ++i) below[i] += midpoint < scaled[i] ? 1 : 0;
  for (size_t i = 0; i < scaled.size(); ++i) codes[i] = map.codes[static_cast<size_t>(below[i])];
}

// --- scales of scales

// bitsandbytes' function for the CPU finds the code of x in [-1, 1] in a table of as many numbers, of which
// it takes the nearest to x: near 0 its codes are coarser than the map's.
constexpr size_t table_size = 65536;

std::vector<uint8_t> make_scale_table() {
  const DynamicMap& map = dynamic_map(true);
  std::vector<uint8_t> table(table_size);
  for (size_t i = 0; i < table_size; ++i) {
    const float x = 2.0F * (static_cast<float>(i) / static_cast<float>(table_size - 1)) - 1.0F;
    table[i] = static_cast<uint8_t>(std::lower_bound(map.midpoints.begin(), map.midpoints.end() - 1, x) -
                                    map.midpoints.begin());
  }
  return table;
}

uint8_t scale_code(float x) {
  static const std::vector<uint8_t> table = make_scale_table();
  const float clamped = std::isnan(x) ? 0.0F : std::clamp(x, -1.0F, 1.0F);
  const float place = (clamped + 1.0F) * 0.5F * static_cast<float>(table_size - 1) + 0.5F;
  return table[static_cast<size_t>(place)];
}

// --- PyTorch's sum of float32 numbers on one thread, whose order decides the last bits of the offset: eight
// lanes of four accumulators each, which are emptied into others every so many additions (a cascade), one
// level after another.
constexpr size_t lanes = 8, accumulators = 4, levels = 4, width = lanes * accumulators;
using Partial = std::array<float, width>;

void add_to(Partial& sum, const Partial& other) {
  for (size_t i = 0; i < width; ++i) sum[i] += other[i];
}

Partial cascade_sum(std::span<const float> rows) {
  const size_t count = rows.size() / width;
  const auto logarithm = static_cast<size_t>(count > 1 ? std::bit_width(count - 1) : 0);
  const size_t power = std::max<size_t>(4, logarithm / levels), step = size_t{1} << power;
  std::array<Partial, levels> sums{};
  const auto add_row = [&](size_t row) {
    for (size_t i = 0; i < width; ++i) sums[0][i] += rows[row * width + i];
  };
  size_t row = 0;
  while (row + step <= count) {
    for (size_t i = 0; i < step; ++i) add_row(row++);
    for (size_t level = 1; level < levels; ++level) {
      add_to(sums[level], sums[level - 1]);
      sums[level - 1] = {};
      if ((row & ((step - 1) << (level * power))) != 0) break;
    }
  }
  while (row < count) add_row(row++);
  for (size_t level = 1; level < levels; ++level) add_to(sums[0], sums[level]);
  return sums[0];
}

float sum_of(std::span<const float> values) {
  const size_t vectors = values.size() / lanes, in_rows = vectors / accumulators * accumulators;
  Partial partial = cascade_sum(values.first(in_rows * lanes));
  for (size_t vector = in_rows; vector < vectors; ++vector)
    for (size_t lane = 0; lane < lanes; ++lane) partial[lane] += values[vector * lanes + lane];
  for (size_t k = 1; k < accumulators; ++k)
    for (size_t lane = 0; lane < lanes; ++lane) partial[lane] += partial[k * lanes + lane];
  float sum = 0;
  for (size_t i = vectors * lanes; i < values.size(); ++i) sum += values[i];
  for (size_t lane = 0; lane < lanes; ++lane) sum += partial[lane];
  return sum;
}

// --- whole matrices

// Of a number of elements that begin a block, or a row of int8; codes one a byte.
void encode_run(const Quantisation& quantisation, std::span<const float> values, int64_t length,
                std::span<uint8_t> codes, float* scales) {
  for (size_t begin = 0; begin < values.size(); begin += static_cast<size_t>(length)) {
    const size_t count = std::min(static_cast<size_t>(length), values.size() - begin);
    const auto from = values.subspan(begin, count);
    const auto to = codes.subspan(begin, count);
    *scales++ = quantisation.is_in_blocks()
                    ? encode_block(quantisation.kind, from, static_cast<int64_t>(count) == length, to)
                    : encode_row(from, to);
  }
}

// Two codes in a byte; a last one without a second is beside the code of 0.
void pack(const Quantisation& quantisation, std::span<const uint8_t> codes, uint8_t* packed) {
  if (!quantisation.is_in_blocks()) {
    std::copy(codes.begin(), codes.end(), packed);
    return;
  }
  for (size_t i = 0; i < codes.size(); i += 2) {
    const uint8_t second = i + 1 < codes.size() ? codes[i + 1] : short_code(short_map(quantisation.kind), 0);
    *packed++ = static_cast<uint8_t>(codes[i] << 4 | second);
  }
}

}  // namespace

int64_t scale_count(const Quantisation& quantisation, int64_t rows, int64_t columns) {
  return quantisation.is_in_blocks() ? divide_up(rows * columns, quantisation.block_size) : rows;
}

int64_t nested_count(const Quantisation& quantisation, int64_t rows, int64_t columns) {
  return quantisation.double_quant ? divide_up(scale_count(quantisation, rows, columns), nested_block) : 0;
}

float encode_block(QuantisedKind kind, std::span<const float> values, bool is_whole,
                   std::span<uint8_t> codes) {
  const ShortMap& map = short_map(kind);
  const float largest = largest_of(values), divisor = std::max(largest, least_scale);
  const float reciprocal = 1.0F / divisor;
  COLLIE_ASSERT(values.size() <= most_block_size, "a block of {}", values.size());
  std::array<float, most_block_size> scaled;
  for (size_t i = 0; i < values.size(); ++i)
    scaled[i] = std::clamp(is_whole ? values[i] * reciprocal : values[i] / divisor, -1.0F, 1.0F);
  write_short_codes(map, std::span(scaled).first(values.size()), codes);
  return is_whole || std::isnan(largest) ? largest : divisor;
}

// To the nearest whole number, of two the even one. PyTorch divides a number by a tensor as a reciprocal and
// a product.
float encode_row(std::span<const float> values, std::span<uint8_t> codes) {
  const float largest = largest_of(values), factor = 1.0F / largest * 127.0F;
  for (size_t i = 0; i < values.size(); ++i) {
    const float nearest = std::nearbyint(values[i] * factor);
    codes[i] = static_cast<uint8_t>(static_cast<int8_t>(std::isfinite(nearest) ? nearest : 0.0F));
  }
  return largest;
}

void quantise_scales(WholeQuantised& whole, std::span<const float> scales) {
  whole.offset = sum_of(scales) / static_cast<float>(scales.size());
  whole.scale_codes.resize(scales.size());
  std::vector<float> rest(static_cast<size_t>(nested_block));
  for (size_t begin = 0; begin < scales.size(); begin += nested_block) {
    const size_t count = std::min<size_t>(nested_block, scales.size() - begin);
    for (size_t i = 0; i < count; ++i) rest[i] = scales[begin + i] - whole.offset;
    const float largest = largest_of(std::span(rest).first(count));
    whole.nested_scales.push_back(largest);
    for (size_t i = 0; i < count; ++i)
      whole.scale_codes[begin + i] = largest == 0 ? uint8_t{0} : scale_code(rest[i] / largest);
  }
}

WholeQuantised quantise(const Quantisation& quantisation, int64_t rows, int64_t columns,
                        const ReadElements& read, const OnPieces& on_pieces) {
  WholeQuantised whole{quantisation, rows, columns, {}, {}, {}, {}, 0};
  const int64_t length = quantisation.is_in_blocks() ? quantisation.block_size : columns;
  const int64_t elements = whole.elements();
  if (elements == 0) return whole;
  whole.codes.resize(static_cast<size_t>(QuantisedMatrix::code_bytes(quantisation, elements)));
  std::vector<float> scales(static_cast<size_t>(scale_count(quantisation, rows, columns)));
  const int64_t per_byte = quantisation.is_in_blocks() ? 2 : 1;
  const int64_t most = std::max<int64_t>(1, (int64_t{1} << 22) / length) * length;
  const int64_t piece = std::max<int64_t>(1, (int64_t{1} << 14) / length) * length;
  std::vector<float> values;
  for (int64_t begin = 0; begin < elements; begin += most) {
    values.resize(static_cast<size_t>(std::min(most, elements - begin)));
    read(begin, values);
    on_pieces(static_cast<int64_t>(values.size()), piece, [&](int64_t first, int64_t last) {
      std::vector<uint8_t> codes(static_cast<size_t>(last - first));
      encode_run(quantisation, std::span(values).subspan(static_cast<size_t>(first), codes.size()), length,
                 codes, scales.data() + (begin + first) / length);
      pack(quantisation, codes, whole.codes.data() + (begin + first) / per_byte);
    });
  }
  if (quantisation.double_quant)
    quantise_scales(whole, scales);
  else
    whole.scales = std::move(scales);
  return whole;
}

float WholeQuantised::scale(int64_t index) const {
  const auto at = static_cast<size_t>(index);
  if (!quantisation.double_quant) return scales[at];
  const float rest =
      dynamic_map(true).values[scale_codes[at]] * nested_scales[static_cast<size_t>(index / nested_block)];
  return rest + offset;
}

void WholeQuantised::decode(int64_t begin, std::span<float> values) const {
  const auto end = begin + static_cast<int64_t>(values.size());
  COLLIE_ASSERT(begin >= 0 && end <= elements(), "values [{}, {}) of {}", begin, end, elements());
  const int64_t length = quantisation.is_in_blocks() ? quantisation.block_size : columns;
  for (int64_t at = begin; at < end;) {
    const int64_t stop = std::min(end, (at / length + 1) * length);
    const float factor = scale(at / length);
    for (; at < stop; ++at) {
      float& value = values[static_cast<size_t>(at - begin)];
      const auto place = static_cast<size_t>(at);
      if (quantisation.is_in_blocks()) {
        const uint8_t pair = codes[place / 2];
        value = values_of_codes(quantisation.kind)[at % 2 == 0 ? pair >> 4 : pair & 15] * factor;
      } else {
        value = static_cast<float>(static_cast<int8_t>(codes[place])) * factor * scale_of_int8;
      }
    }
  }
}

}  // namespace collie
